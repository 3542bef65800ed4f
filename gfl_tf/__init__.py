"""Dense detectors of Generalized Focal Loss, GFLv2 and VarifocalNet for TensorFlow and Keras."""

from gfl_tf.build import build_detector
from gfl_tf.detectors.decoder import PredictionDecoder
from gfl_tf.detectors.gfl import GFL, GFLV2

__version__ = "0.1.0"
