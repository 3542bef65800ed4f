"""mmdetection, on PyTorch, in a process of its own: in one process with TensorFlow it crashed."""

import json
import os
import pathlib
import subprocess
import sys
import tempfile

import numpy as np
import tensorflow as tf

from gfl_tf.benchmark import mmdet_child
from gfl_tf.benchmark.artifacts import Artifact
from gfl_tf.benchmark.rounds import Parts
from gfl_tf.benchmark.workloads import Case, random_labels

FORWARD, STEP = "forward", "training step"
# {our config: theirs}
CONFIGS = {
    "gfl_r50_fpn_1x": "gfl/gfl_r50_fpn_1x_coco.py",
    "atss_r50_fpn_1x": "atss/atss_r50_fpn_1x_coco.py",
}
PYTHON = "GFL_TF_TORCH_PYTHON"  # the variable that names a Python with PyTorch; default: this one


def mmdetection(artifact: Artifact, case: Case) -> Parts:
    """The same detector, on the GPU or where there is none on all cores, in float32.

    Raises:
        ImportError: it has no such detector, or its process does not start; has that one's last line.
    """
    if artifact.name not in CONFIGS:
        raise ImportError(f"it is timed for {', '.join(CONFIGS)} alone")
    labels = random_labels(np.random.default_rng(0), case, artifact.config.model.num_classes)
    device = "cuda" if tf.config.list_physical_devices("GPU") else "cpu"
    request = {"config": CONFIGS[artifact.name], "device": device, "height": case.height, "width": case.width}
    request.update((name, value.numpy().tolist()) for name, value in labels.items())
    child = _Child(os.environ.get(PYTHON, sys.executable))
    child.ask(json.dumps(request))
    return {FORWARD: lambda: child.ask("forward"), STEP: lambda: child.ask("step")}


class _Child:
    """The process of `mmdet_child`, which ends when nothing refers to this any more."""

    def __init__(self, python):
        self._errors = tempfile.TemporaryFile("w+")
        self._process = subprocess.Popen(
            [python, pathlib.Path(mmdet_child.__file__)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            text=True,
        )

    def ask(self, line):
        """Writes a line and waits for the answer."""
        try:
            print(line, file=self._process.stdin, flush=True)
        except BrokenPipeError:
            pass  # it has ended, and gives no answer
        if self._process.stdout.readline().strip() != mmdet_child.DONE:
            self._errors.seek(0)
            said = self._errors.read().strip().splitlines() or ["it said nothing"]
            raise ImportError(f"{said[-1]} (another Python that has it: {PYTHON}=PATH)")
