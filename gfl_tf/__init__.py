"""Dense detectors of Generalized Focal Loss, GFLv2 and VarifocalNet, and their baseline ATSS, for TensorFlow."""

import contextlib
import io
import os

# TensorFlow 2.15 starts with three "errors" about CUDA plugins and a page of notes, all harmless. What really goes
# wrong comes as an exception. Who wants them sets the variable.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

# ruff: noqa: E402  (the imports come after that setting)
# It says on standard output which backend it uses, where programs read what the commands print.
with contextlib.redirect_stdout(io.StringIO()):
    import keras_cv  # noqa: F401

from gfl_tf.build import build_detector
from gfl_tf.detectors.atss import ATSS
from gfl_tf.detectors.decoder import PredictionDecoder
from gfl_tf.detectors.gfl import GFL, GFLV2
from gfl_tf.detectors.vfnet import VFNet

__version__ = "0.1.0"
