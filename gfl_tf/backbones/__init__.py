"""The backbones of the reference detectors; any functional Keras model as one. KerasCV's and KerasHub's do as well."""

from gfl_tf.backbones.pyramid import Pyramid
from gfl_tf.backbones.res2net import Res2Net
from gfl_tf.backbones.resnet import ResNet
