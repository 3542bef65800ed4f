"""Dense detectors of Generalized Focal Loss, GFLv2 and VarifocalNet, and their baseline ATSS, for TensorFlow.

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
        serving,
        training,
        visualization,
    )
    from gfl_tf.build import build_detector
    from gfl_tf.detectors.atss import ATSS
    from gfl_tf.detectors.decoder import PredictionDecoder
    from gfl_tf.detectors.gfl import GFL, GFLV2
    from gfl_tf.detectors.vfnet import VFNet

__version__ = "0.2.0.dev0"

__all__ = ["ATSS", "GFL", "GFLV2", "PredictionDecoder", "VFNet", "__version__", "build_detector"]
# gfl_tf.build has all of the names, and its imports register all classes with Keras, for keras.models.load_model.
_NAMES = {"ATSS", "GFL", "GFLV2", "PredictionDecoder", "VFNet", "build_detector"}
_FOLDERS = {
    "assigners", "backbones", "build", "checkpoints", "compat", "config_files", "data", "detections", "detectors",
    "evaluation", "heads", "layers", "losses", "necks", "ops", "serving", "training", "visualization",
}  # fmt: skip

stacks.check()


def __getattr__(name):
    if name in _NAMES:
        value = getattr(importlib.import_module("gfl_tf.build"), name)
    elif name in _FOLDERS:
        value = importlib.import_module(f"gfl_tf.{name}")
    else:
        raise AttributeError(f"module 'gfl_tf' has no attribute {name!r}")
    globals()[name] = value
    return value


def __dir__():
    return sorted({*globals(), *_NAMES, *_FOLDERS})


if "keras" in sys.modules:  # then there is no time to save, and load_model finds the classes
    importlib.import_module("gfl_tf.build")
