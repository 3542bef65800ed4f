"""The trainings of an ablation: each a run directory, made by a process of its own."""

import collections.abc
import os
import pathlib
import signal
import subprocess
import time

from gfl_tf.ablation import plan
from gfl_tf.ablation.plan import Budget, Training
from gfl_tf.ablation.tables import METRICS
from gfl_tf.training.run_dir import RunDirectory
from gfl_tf.training.stop import StopRequest

ERRORS = "stderr.txt"  # in a run directory: what its last process said of errors
_POLL_SECONDS = 0.2


def run_of(output: str | os.PathLike, training: Training) -> RunDirectory:
    return RunDirectory(pathlib.Path(output) / training.row / f"seed_{training.seed}")


def state(run: RunDirectory) -> str:
    """One of those of `plan`."""
    if run.report_file.exists():
        return plan.FINISHED
    return plan.CUT if run.has_checkpoint() else plan.MISSING


def scores(run: RunDirectory, which: str) -> dict[str, float]:
    """{metric of `METRICS`: percent} of a finished run's "best" or "last" weights.

    Raises:
        ValueError: they were not evaluated.
    """
    evaluation = run.evaluation_of(which)
    if evaluation is None:
        raise ValueError(f"{run.path} has no evaluation of its {which} weights; gfl-evaluate makes one")
    return {name: 100 * evaluation["metrics"][name] for name in METRICS}


def train(run: RunDirectory, command: collections.abc.Sequence[str], budget: Budget, stop: StopRequest) -> str:
    """Starts a process that trains, and waits for it.

    The process is told to stop, once, where the budget is used up or this process is told to. It is in a session of its
    own, so that Ctrl-C comes to it from here alone, and has a pipe as its standard input that closes when this process
    ends, however that ends.

    Args:
        run: the run directory, with its config.
        command: of the process, without --run_dir.

    Returns:
        Why it failed; "": it did not, it is finished or was told to stop.
    """
    with open(run.path / ERRORS, "w+", encoding="utf-8", errors="replace") as errors:
        process = subprocess.Popen(
            [*command, f"--run_dir={run.path}"],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,  # the run's log has it
            stderr=errors,
            start_new_session=True,
            env={**os.environ, "PYTHONSAFEPATH": "1"},  # a folder gfl_tf where the command is run is not the package
        )
        try:
            _wait(process, budget, stop)
        except BaseException:  # the second Ctrl-C
            process.send_signal(signal.SIGINT)
            process.wait()
            raise
        finally:
            process.stdin.close()
        errors.seek(0)
        return _failure(process.returncode, errors.read(), state(run))


def _wait(process, budget, stop):
    is_told = False
    while process.poll() is None:
        if not is_told and (stop.signal or budget.left() == 0.0):
            process.send_signal(signal.SIGTERM)
            is_told = True
        time.sleep(_POLL_SECONDS)


def _failure(status, errors, state_now):
    if status == 0 and state_now == plan.FINISHED:
        return ""
    if status in (128 + signal.SIGTERM, -signal.SIGTERM):  # the second: before the training could listen
        return ""
    if status < 0:
        return f"ended by {signal.Signals(-status).name}, as where the memory is used up"
    lines = [line.strip() for line in errors.splitlines() if line.strip()]
    # What gfl-train says of its own accord; else the last line of a traceback.
    told = [line.partition("train: ")[2] for line in lines if line.startswith(("train: ", "gfl-train: "))]
    return (told or lines[-1:] or [f"exit status {status}"])[0]
