"""Starts the workers of a job on this machine."""

import contextlib
import json
import os
import subprocess
import sys
from pathlib import Path

from tests.ports import free_ports

ROOT = Path(__file__).resolve().parents[2]
TRAIN = [ROOT / "bin" / "train"]


def environments(count):
    """Of each worker of a job on this machine."""
    cluster = {"worker": [f"127.0.0.1:{port}" for port in free_ports(count)]}
    quiet = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": "-1", "PYTHONPATH": str(ROOT)}
    for index in range(count):
        config = {"cluster": cluster, "task": {"type": "worker", "index": index}}
        yield {**quiet, "TF_CONFIG": json.dumps(config)}


@contextlib.contextmanager
def started(command, count=2):
    """Context with the processes of the workers; what they print is for `finished`. They end with it at the latest."""
    command = [sys.executable, *map(str, command)]
    processes = [
        subprocess.Popen(command, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        for env in environments(count)
    ]
    try:
        yield processes
    finally:
        for process in processes:
            process.kill()
            process.wait()


def finished(processes, timeout=1200):
    """[(return code, standard output, standard error)] of the workers."""
    outputs = [process.communicate(timeout=timeout) for process in processes]
    return [(process.returncode, *output) for process, output in zip(processes, outputs)]
