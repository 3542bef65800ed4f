"""Other runtimes on our own ONNX export, from pixels to boxes in them: the functions return the outputs by name."""

import numpy as np

from gfl_tf.benchmark.artifacts import Artifact
from gfl_tf.benchmark.rounds import Parts
from gfl_tf.benchmark.workloads import Case, Work, Workload
from gfl_tf.detectors.detector import Detector
from gfl_tf.serving import network, onnx

IMAGE = "SavedModel"  # what it is compared with


def onnx_runtime(artifact: Artifact, case: Case) -> Parts:
    """ONNX Runtime, on all cores."""
    return {IMAGE: in_onnx_runtime(exported(artifact, case), case)}


def in_onnx_runtime(content: bytes, case: Case) -> Work:
    """An ONNX model's answer to noise."""
    import onnxruntime

    session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    names, image = [output.name for output in session.get_outputs()], noise(case)
    return lambda: dict(zip(names, session.run(names, {"image_tensor": image})))


def openvino(artifact: Artifact, case: Case) -> Parts:
    """OpenVINO, on all cores, for the least latency."""
    import openvino

    core = openvino.Core()
    model = core.read_model(model=exported(artifact, case))
    # In bfloat16 it would compute wherever the processor can.
    compiled = core.compile_model(model, "CPU", {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_PRECISION_HINT": "f32"})
    names, image = [output.get_any_name() for output in compiled.outputs], noise(case)
    return {IMAGE: lambda: dict(zip(names, compiled([image]).values()))}


def noise(case: Case) -> np.ndarray:
    """uint8 [B, h, w, 3]."""
    rng = np.random.default_rng(0)
    return rng.integers(0, 256, (case.batch_size, case.height, case.width, 3), np.uint8)


def crowded(artifact: Artifact, case: Case, precision: str = "float32") -> Detector:
    """The detector with a threshold that makes `workloads.PAIRS` candidates, as `network.serving_model` has it."""
    return network.serving_model(Workload(artifact.build(), case).crowd().model, precision)


def exported(artifact: Artifact, case: Case) -> bytes:
    """`crowded` as an ONNX model."""
    model = crowded(artifact, case)
    scale = max(case.height, case.width), min(case.height, case.width)
    return onnx.convert(model, scale, list(map(str, range(model.num_classes))))
