"""Several processes train together: the same model as one, nothing written twice, nothing lost when one dies."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from gfl_tf import compat
from gfl_tf.config_files import load_config
from gfl_tf.training import fit
from tests.training import replicas_script, workers
from tests.training.test_replicas import TOLERANCE, difference

TINY = Path(__file__).parent / "tiny.py"
LOST_SECONDS = 60  # measured: at most 2 where a process was killed, 12 where it was stopped


def command(run_dir, shapes, *fields):
    return [*workers.TRAIN, f"--config={TINY}", f"--run_dir={run_dir}", f"--config.data.directory={shapes}", *fields]


def test_two_workers_train_and_evaluate_as_one_process(tmp_path):
    shapes, together, alone = (tmp_path / name for name in ("shapes", "together", "alone"))
    with workers.started(
        command(together, shapes, "--config.train.epochs=1", "--config.train.milestones=()")
    ) as started:
        config = load_config(TINY)
        config.data.directory = str(shapes)
        config.train.update(epochs=1, milestones=())
        fit.train(config, alone, "one_device")
        (code, said, error), (other_code, other_said, other_error) = workers.finished(started)
    assert code == other_code == 0, error[-3000:] + other_error[-3000:]

    for name in ("last.npz", "best.npz"):
        assert difference(alone / name, together / name) < TOLERANCE
    for folder in ("checkpoints", "evaluation", "logs"):  # worker 0 alone writes
        assert len(os.listdir(together / folder)) == len(os.listdir(alone / folder))
    file = Path("evaluation") / "step-00000005.json"
    evaluations = [json.loads((run / file).read_text()) for run in (alone, together)]
    assert evaluations[0] == evaluations[1] and evaluations[0]["num_images"] == 6
    assert "on 2 CPU devices" in said and "learning rate 0.02 = 0.08 x 4 / 16" in said
    assert re.search(r"worker 1 \(process \d+ on \S+\) has images 3 to 4 of each batch", said)
    assert "No image comes twice in a pass over the images, but for 2 that fill" in said
    assert "worker 1 of 2 is under way" in other_said and "evaluation at step" not in other_said


LONG = ("--config.train.epochs=8", "--config.train.checkpoint_every=2")


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory):
    """(folder of the data, run directory) of a training that nothing stopped."""
    folder = tmp_path_factory.mktemp("unbroken")
    with workers.started(command(folder / "run", folder / "shapes", *LONG)) as started:
        results = workers.finished(started)
    assert [code for code, _, _ in results] == [0, 0], results
    return folder / "shapes", folder / "run"


def wait_for_step(run_dir, step):
    deadline = time.monotonic() + 600
    while time.monotonic() < deadline:
        log = run_dir / "train.log"
        if log.exists() and any(int(found) >= step for found in re.findall(r"step (\d+)/", log.read_text())):
            return
        time.sleep(0.02)
    raise AssertionError(f"step {step} did not come")


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSTOP])
@pytest.mark.parametrize("victim", [0, 1])
def test_a_lost_worker_ends_the_job_which_then_goes_on(unbroken, tmp_path, victim, number, capsys):
    shapes, whole = unbroken
    run = tmp_path / "run"
    with workers.started(command(run, shapes, *LONG)) as started:
        wait_for_step(run, 14)
        start = time.monotonic()
        started[victim].send_signal(number)
        _, error = started[1 - victim].communicate(timeout=LOST_SECONDS)
        with capsys.disabled():
            print(f"\nworker {victim}, {number.name}: {time.monotonic() - start:.1f} s to the end of the other")
    assert started[1 - victim].returncode == 1
    last = error.strip().splitlines()[-1]
    assert f"train: worker {1 - victim} of 2 stops, as another one ended or is not heard of any more" in last
    assert f"Start all of them again: gfl-train --run_dir={run}" in last and "Traceback" not in error
    with workers.started(command(run, shapes, *LONG)) as started:
        (code, said, error), (other_code, _, _) = workers.finished(started)
    assert code == other_code == 0, error[-3000:]
    assert "Going on from step 10." in said
    assert difference(whole / "last.npz", run / "last.npz") == 0


@pytest.mark.slow
def test_sigterm_to_one_worker_saves_and_stops_all(unbroken, tmp_path):
    shapes, whole = unbroken
    run = tmp_path / "run"
    with workers.started(command(run, shapes, *LONG)) as started:
        wait_for_step(run, 12)
        started[1].send_signal(signal.SIGTERM)
        (code, said, error), (other_code, _, _) = workers.finished(started)
    assert code == other_code == 128 + signal.SIGTERM, error[-3000:]
    stopped = int(re.search(r"Stopped at step (\d+) of 40 by SIGTERM; saved in", said)[1])
    assert stopped % 10 == 0 and 12 < stopped < 40
    with workers.started(command(run, shapes, *LONG)) as started:
        assert [code for code, _, _ in workers.finished(started)] == [0, 0]
    assert difference(whole / "last.npz", run / "last.npz") == 0


@pytest.mark.slow
def test_workers_with_other_configs_are_refused(tmp_path):
    commands = [command(tmp_path / "run", tmp_path / "shapes", f"--config.seed={seed}") for seed in (1, 2)]
    processes = [
        subprocess.Popen([sys.executable, *map(str, each)], env=env, stderr=subprocess.PIPE, text=True)
        for each, env in zip(commands, workers.environments(2))
    ]
    for process in processes:
        _, error = process.communicate(timeout=600)
        assert process.returncode == 1 and "config.seed is 2 on worker 1 and 1 on worker 0" in error


@pytest.mark.slow
def test_fit_of_keras_2_gives_each_worker_its_own_images_and_keras_3_is_refused(tmp_path):
    replicas_script.write_data(tmp_path)
    script = Path(__file__).parent / "fit_script.py"
    alone = {name: value for name, value in next(workers.environments(1)).items() if name != "TF_CONFIG"}
    arguments = [sys.executable, str(script), str(tmp_path)]
    done = subprocess.run(arguments, env=alone, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    one = json.loads(done.stdout.splitlines()[-1])
    with workers.started([script, tmp_path]) as started:
        results = workers.finished(started)
    if compat.KERAS_3:
        for code, _, error in results:
            assert code and "does not work on several workers. Train with gfl-train --strategy=multi_worker" in error
        return
    assert [code for code, _, _ in results] == [0, 0], results[0][2][-3000:]
    both = [json.loads(said.splitlines()[-1]) for _, said, _ in results]
    assert [*both[0]["first"], *both[1]["first"]] == one["first"] and len(set(one["first"])) == 4
    for worker, seen in enumerate(both):
        assert seen["loss"] == pytest.approx(one["loss"], rel=TOLERANCE)
        assert difference(tmp_path / "alone.npz", tmp_path / f"{worker}.npz") < TOLERANCE
