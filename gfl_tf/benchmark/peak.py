"""The most memory that a detector's work takes, measured in a process of its own: python -m gfl_tf.benchmark.peak.

That process reads a request as JSON from its standard input and ends its standard output with the answer.
"""

import collections.abc
import dataclasses
import json
import os
import subprocess
import sys
import typing

import ml_collections
import tensorflow as tf

from gfl_tf import config_files
from gfl_tf.benchmark.artifacts import Artifact
from gfl_tf.benchmark.workloads import Case, Workload
from gfl_tf.serving import latency

SMALL = 64  # what TensorFlow itself holds, and an optimizer, is then there
RUNS = 2  # of each case: the first prepares what the second uses


class Memory(typing.NamedTuple):
    """MiB of a GPU's memory, or where there is none of the process.

    Attributes:
        rest: with the detector, after the same work on an image of `SMALL` pixels, and with the images.
        peaks: the most up to the end of each case.
    """

    rest: float
    peaks: list[float]


def measure(
    artifact: Artifact,
    precision: str,
    work: str,
    cases: collections.abc.Sequence[Case],
    num_classes: collections.abc.Sequence[int | None] | None = None,
) -> Memory:
    """The memory of cases that take more and more.

    Args:
        artifact: the detector.
        precision: of `artifacts.POLICIES`.
        work: name of a method of `Workload`.
        cases: in the order of what they take, as a process's peak never falls.
        num_classes: of the detector in each case; None: as it is.

    Raises:
        RuntimeError: the other process failed; has its last words.
    """
    request = {
        "config": artifact.config.to_dict(),
        "weights": artifact.weights and os.fspath(artifact.weights),
        "precision": precision,
        "work": work,
        "cases": [dataclasses.asdict(case) for case in cases],
        "num_classes": list(num_classes or [None] * len(cases)),
    }
    done = subprocess.run(
        [sys.executable, "-m", "gfl_tf.benchmark.peak"],
        input=json.dumps(request),
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONSAFEPATH": "1"},  # a folder gfl_tf where the command is run is not the package
    )
    if done.returncode:
        raise RuntimeError(f"the process that measures memory failed: {done.stderr[-2000:]}")
    return Memory(**json.loads(done.stdout.splitlines()[-1]))


def answer(request: dict[str, typing.Any]) -> Memory:
    """What a request asks, measured in this process."""
    config = config_files.from_json(json.dumps(request["config"]))
    artifact = Artifact("artifact", ml_collections.ConfigDict(config), request["weights"])
    model, built, rest, peaks = None, None, None, []
    for case, num_classes in zip(request["cases"], request["num_classes"]):
        if model is None or num_classes != built:
            model, built = artifact.build(request["precision"], num_classes), num_classes
            getattr(Workload(model, Case(SMALL, SMALL)), request["work"])()()
        workload = Workload(model, Case(**case))
        rest = _now() if rest is None else rest
        work = getattr(workload, request["work"])()
        for _ in range(RUNS):
            work()
        peaks.append(_most())
    return Memory(rest, peaks)


def _gpu():
    """Such as "GPU:0"; None where there is none."""
    return next(
        (device.name.removeprefix("/physical_device:") for device in tf.config.list_physical_devices("GPU")), None
    )


def _now():
    return tf.config.experimental.get_memory_info(_gpu())["current"] / 2**20 if _gpu() else latency.resident_mib()


def _most():
    return tf.config.experimental.get_memory_info(_gpu())["peak"] / 2**20 if _gpu() else latency.peak_mib()


if __name__ == "__main__":
    print(json.dumps(answer(json.load(sys.stdin))._asdict()))
