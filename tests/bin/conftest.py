"""Real command lines, and a run that they made."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).resolve().parents[2]
TINY_CONFIG = ROOT / "tests" / "training" / "tiny.py"


def start(name, *arguments, **options):
    """A process of bin/NAME with the Python of the tests."""
    command = [sys.executable, str(ROOT / "bin" / name), *map(str, arguments)]
    environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "2", "PYTHONPATH": str(ROOT)}
    return subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment, **options
    )


@pytest.fixture(scope="session")
def command():
    """command(name, *arguments) -> CompletedProcess of bin/NAME."""

    def run(name, *arguments, **options):
        process = start(name, *arguments, **options)
        stdout, stderr = process.communicate()
        return subprocess.CompletedProcess(process.args, process.returncode, stdout, stderr)

    return run


class TrainedRun(NamedTuple):
    """A tiny finished run, that was stopped by SIGINT in between and went on."""

    directory: Path
    data: Path
    stopped: subprocess.CompletedProcess
    resumed: subprocess.CompletedProcess


@pytest.fixture(scope="session")
def trained_run(tmp_path_factory, command):
    folder = tmp_path_factory.mktemp("bin")
    run_dir, data = folder / "run", folder / "shapes"
    process = start(
        "train",
        f"--config={TINY_CONFIG}",
        f"--run_dir={run_dir}",
        f"--config.data.directory={data}",
        "--config.train.log_every=1",
        "--config.train.report_page=True",
    )
    log = run_dir / "train.log"
    while process.poll() is None and not (log.exists() and " step 1/10" in log.read_text()):
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    stdout, stderr = process.communicate()
    stopped = subprocess.CompletedProcess(process.args, process.returncode, stdout, stderr)
    return TrainedRun(run_dir, data, stopped, command("train", f"--run_dir={run_dir}"))
