"""Other runtimes on our own ONNX export, from pixels to boxes in them."""

import numpy as np

from gfl_tf.benchmark.artifacts import Artifact
from gfl_tf.benchmark.rounds import Parts
from gfl_tf.benchmark.workloads import Case
from gfl_tf.serving import network, onnx

IMAGE = "SavedModel"  # what it is compared with


def onnx_runtime(artifact: Artifact, case: Case) -> Parts:
    """ONNX Runtime, on all cores."""
    import onnxruntime

    session = onnxruntime.InferenceSession(_exported(artifact, case), providers=["CPUExecutionProvider"])
    image = noise(case)
    return {IMAGE: lambda: session.run(None, {"image_tensor": image})}


def openvino(artifact: Artifact, case: Case) -> Parts:
    """OpenVINO, on all cores, for the least latency."""
    import openvino

    core = openvino.Core()
    model = core.read_model(model=_exported(artifact, case))
    compiled = core.compile_model(model, "CPU", {"PERFORMANCE_HINT": "LATENCY"})
    image = noise(case)
    return {IMAGE: lambda: compiled([image])}


def noise(case: Case) -> np.ndarray:
    """uint8 [B, h, w, 3]."""
    rng = np.random.default_rng(0)
    return rng.integers(0, 256, (case.batch_size, case.height, case.width, 3), np.uint8)


def _exported(artifact, case):
    model = network.serving_model(artifact.build())
    scale = max(case.height, case.width), min(case.height, case.width)
    return onnx.convert(model, scale, list(map(str, range(model.num_classes))))
