"""Other detectors and runtimes on the same images, as far as they are installed."""

import collections.abc
import importlib.util
import typing

import numpy as np
import tensorflow as tf

from gfl_tf.benchmark import peers_keras, peers_mmdet, peers_runtimes
from gfl_tf.benchmark.artifacts import Artifact
from gfl_tf.benchmark.bench import Bench
from gfl_tf.benchmark.peers_keras import PREDICT
from gfl_tf.benchmark.peers_mmdet import FORWARD, STEP
from gfl_tf.benchmark.peers_runtimes import IMAGE
from gfl_tf.benchmark.results import Goal, Result, Row
from gfl_tf.benchmark.rounds import Parts
from gfl_tf.benchmark.workloads import Case, Workload
from gfl_tf.serving import signatures

MOST_APART = 1e-3  # of scores, relative to the highest: other orders of summation move them by less


class Peer(typing.NamedTuple):
    """Somebody else's detector or runtime, which computes in float32.

    Attributes:
        packages: that have to be there, as they are imported.
        install: what brings them.
        parts: function of the detector and the case that returns {kind of work: function}.
        goals: {(kind of work, our precision): what our time over theirs should be}.
    """

    packages: tuple[str, ...]
    install: str
    parts: collections.abc.Callable[[Artifact, Case], Parts]
    goals: dict[tuple[str, str], Goal]


_AHEAD = {(PREDICT, "float32"): Goal(most=1.0)}
_AS_FAST = {(IMAGE, "float32"): Goal(most=1.05)}
_OF_TORCH = {
    (FORWARD, "float32"): Goal(most=0.48),
    (FORWARD, "bfloat16"): Goal(most=0.27),
    (STEP, "float32"): Goal(most=0.85),
}
PEERS = {
    "KerasCV RetinaNet": Peer(("keras_cv",), "keras-cv", peers_keras.keras_cv_retinanet, _AHEAD),
    "KerasCV YOLOv8": Peer(("keras_cv",), "keras-cv", peers_keras.keras_cv_yolo_v8, _AHEAD),
    "KerasHub RetinaNet": Peer(("keras_hub",), "keras-hub", peers_keras.keras_hub_retinanet, _AHEAD),
    "ONNX Runtime": Peer(("onnxruntime", "tf2onnx"), "onnxruntime tf2onnx", peers_runtimes.onnx_runtime, _AS_FAST),
    "OpenVINO": Peer(("openvino", "tf2onnx"), "openvino tf2onnx", peers_runtimes.openvino, _AS_FAST),
    "mmdetection": Peer((), "", peers_mmdet.mmdetection, _OF_TORCH),  # its process says what it misses
}


def measure(bench: Bench) -> Result:
    """The first detector on the first size, in each precision, in turn with each peer that is there."""
    result = Result()
    artifact, settings = bench.detectors[0], bench.settings
    case = Case(*settings.sizes[0], boxes=settings.boxes)
    for name, peer in PEERS.items():
        if lacking := lacks(name):
            result.missing.append(lacking)
            continue
        try:
            theirs = peer.parts(artifact, case)
            answer = theirs[IMAGE]() if IMAGE in theirs else None
        # ValueError: of a detector that cannot be converted. RuntimeError: of a runtime that cannot load or run it.
        except (ImportError, ValueError, RuntimeError) as error:
            result.missing.append(f"{name}: {(str(error).strip() or repr(error)).splitlines()[-1]}")
            continue
        bench.say(f"  {name}")
        for precision in settings.precisions:
            ours = _ours(artifact, case, precision, theirs)
            if answer and precision == "float32" and not _apart(ours[IMAGE](), answer) < MOST_APART:
                result.missing.append(f"{name}: it finds something else than TensorFlow, so its time means nothing")
                break
            _measure(bench, result, f"{artifact.name}, {case}, {precision}", name, ours, theirs, precision)
    return result


def lacks(name: str) -> str:
    """What a peer needs that is not installed, as a sentence; "": nothing."""
    missing = [package for package in PEERS[name].packages if not importlib.util.find_spec(package)]
    return f"{name}: {', '.join(missing)} is not installed: pip install {PEERS[name].install}" if missing else ""


def _apart(one, other):
    """How far the scores of two answers are apart, relative to the highest."""
    one, other = (np.asarray(answer["detection_scores"]) for answer in (one, other))
    return float(np.abs(one - other).max() / one.max())


def _measure(bench, result, of, peer, ours, theirs, precision):
    parts = {f"{peer}, {kind}": part for kind, part in theirs.items()}
    parts.update((f"ours, {kind}", part) for kind, part in ours.items())
    rounds = bench.take_turns(parts, precision)
    result.rounds.append(rounds)
    for kind in theirs:
        goal = PEERS[peer].goals.get((kind, precision))
        ratio = rounds.ratio(f"ours, {kind}", f"{peer}, {kind}")
        result.rows += [
            Row(of, f"{kind} of {peer}", rounds.time(f"{peer}, {kind}", 1e3), "ms"),
            Row(of, f"{kind} / {peer}", ratio, goal=goal),
        ]


def _ours(artifact, case, precision, kinds):
    model = artifact.build(precision)
    workload = Workload(model, case)
    makers = {
        PREDICT: lambda: workload.crowd().predict(),
        FORWARD: workload.forward,
        STEP: workload.train_step,
        IMAGE: lambda: _saved_model(artifact, case, precision),
    }
    return {kind: makers[kind]() for kind in kinds}


def _saved_model(artifact, case, precision):
    """The function of a SavedModel's signature "image_tensor"."""
    model = peers_runtimes.crowded(artifact, case, precision)
    scale = max(case.height, case.width), min(case.height, case.width)
    names = list(map(str, range(model.num_classes)))
    functions, _ = signatures.trace(model, scale, names, model.prediction_decoder)
    image = tf.constant(peers_runtimes.noise(case))

    def detect(model=model):  # whose weights the functions read, and do not keep
        return functions["image_tensor"](image_tensor=image)

    return detect
