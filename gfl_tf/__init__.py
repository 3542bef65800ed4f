"""Dense detectors of Generalized Focal Loss, GFLv2 and VarifocalNet, and of ATSS, FCOS and RetinaNet, for TensorFlow.

Importing it is quick and changes nothing: TensorFlow is imported when a name is first used.
"""

import importlib
import sys
from typing import TYPE_CHECKING

from gfl_tf import stacks

if TYPE_CHECKING:
    from gfl_tf import (
        assigners,
        backbones,
        boxes,
        checkpoints,
        data,
        detections,
        detectors,
        evaluation,
        heads,
        layers,
        losses,
        necks,
        ops,
        scores,
        serving,
        training,
        visualization,
    )
    from gfl_tf.build import build_detector
    from gfl_tf.detectors.decoder import PredictionDecoder
    from gfl_tf.detectors.detector import Detector
    from gfl_tf.detectors.distillation import Distillation
    from gfl_tf.detectors.recipes import ATSS, FCOS, GFL, GFLV2, RetinaNet, VFNet

__version__ = "0.2.0.dev0"

__all__ = [
    "ATSS", "Detector", "Distillation", "FCOS", "GFL", "GFLV2", "PredictionDecoder", "RetinaNet", "VFNet",
    "__version__", "build_detector",
]  # fmt: skip
_RECIPES = {"ATSS", "FCOS", "GFL", "GFLV2", "RetinaNet", "VFNet"}
_MODULES = {
    **dict.fromkeys(_RECIPES, "gfl_tf.detectors.recipes"),
    "Detector": "gfl_tf.detectors.detector",
    "Distillation": "gfl_tf.detectors.distillation",
    "PredictionDecoder": "gfl_tf.detectors.decoder",
    "build_detector": "gfl_tf.build",
}
_FOLDERS = {
    "assigners", "backbones", "boxes", "build", "checkpoints", "compat", "config_files", "data", "detections",
    "detectors", "evaluation", "heads", "layers", "losses", "necks", "ops", "scores", "serving", "training",
    "visualization",
}  # fmt: skip

stacks.check()


def __getattr__(name):
    if name in _MODULES:
        importlib.import_module("gfl_tf.build")  # registers all classes with Keras, for keras.models.load_model
        value = getattr(importlib.import_module(_MODULES[name]), name)
    elif name in _FOLDERS:
        value = importlib.import_module(f"gfl_tf.{name}")
    else:
        raise AttributeError(f"module 'gfl_tf' has no attribute {name!r}")
    globals()[name] = value
    return value


def __dir__():
    return sorted({*globals(), *_MODULES, *_FOLDERS})


if "keras" in sys.modules:  # then there is no time to save, and load_model finds the classes
    importlib.import_module("gfl_tf.build")
