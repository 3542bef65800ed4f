"""A training's process: how it ends, and what it is told. The processes here only look like trainings."""

import signal
import subprocess
import sys
import time

import pytest

from gfl_tf.ablation import plan, trainings
from gfl_tf.ablation.plan import Budget, Training
from gfl_tf.training.stop import StopRequest

pytestmark = pytest.mark.one_stack

FINISH = "import pathlib, sys; pathlib.Path(sys.argv[1].partition('=')[2], 'report.md').write_text('')"
STOPS = "import signal, sys, time; signal.signal(signal.SIGTERM, lambda *_: sys.exit(143)); time.sleep(60)"


@pytest.fixture
def run(tmp_path):
    run = trainings.run_of(tmp_path, Training("atss/joint", 3))
    run.path.mkdir(parents=True)
    return run


def train(run, program, budget=Budget(None), stop=StopRequest()):
    return trainings.train(run, [sys.executable, "-c", program], budget, stop)


def test_a_directory_for_each_row_and_seed(run, tmp_path):
    assert run.path == tmp_path / "atss" / "joint" / "seed_3"


@pytest.mark.parametrize(
    "program, failure",
    [
        (FINISH, ""),
        ("import sys; sys.exit('train: no boxes')", "no boxes"),
        ("import sys; print('W0000 noise', file=sys.stderr); sys.exit('gfl-train: x: y')", "x: y"),
        ("1 / 0", "ZeroDivisionError: division by zero"),
        ("import os; os.kill(os.getpid(), 9)", "ended by SIGKILL, as where the memory is used up"),
        ("import sys; sys.exit(3)", "exit status 3"),
        ("pass", "exit status 0"),  # it said that all is well, and finished nothing
    ],
)
def test_how_it_ends(run, program, failure):
    assert train(run, program) == failure
    assert trainings.state(run) == (plan.MISSING if failure else plan.FINISHED)


def test_it_is_stopped_at_the_end_of_the_budget(run):
    start = time.monotonic()
    assert train(run, STOPS, Budget(1 / 60)) == ""
    assert time.monotonic() - start < 20


def test_it_is_stopped_with_the_ablation(run):
    stop = StopRequest()
    stop.signal = signal.SIGINT
    assert train(run, STOPS, stop=stop) == ""


def test_a_training_stops_when_its_parent_is_killed(tmp_path):
    """As gfl-ablate is, at once: the training is told so by the end of its standard input."""
    child = (
        "import pathlib, sys, time; from gfl_tf.commands import train;\n"
        "def stopped(*_): pathlib.Path(sys.argv[1]).write_text('stopped'); sys.exit()\n"
        "def run():\n"
        "    import signal; signal.signal(signal.SIGTERM, stopped)\n"
        "    pathlib.Path(sys.argv[1]).write_text('running'); time.sleep(60)\n"
        "train.run = run\n"
        "import runpy; runpy.run_module('gfl_tf.commands.train_child', run_name='__main__')\n"
    )
    told = tmp_path / "told"
    command = f"[sys.executable, '-c', {child!r}, {str(told)!r}]"
    parent = f"import subprocess, sys; subprocess.Popen({command}, stdin=subprocess.PIPE).wait()"
    process = subprocess.Popen([sys.executable, "-c", parent])
    _wait_for(told, "running")
    process.kill()
    process.wait()
    _wait_for(told, "stopped")


def _wait_for(path, text):
    end = time.monotonic() + 60
    while not (path.exists() and path.read_text() == text):
        assert time.monotonic() < end, f"not {text}"
        time.sleep(0.02)
