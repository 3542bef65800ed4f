"""The backbones of the reference detectors; any KerasCV backbone will do as well."""

from gfl_tf.backbones.res2net import Res2Net
from gfl_tf.backbones.resnet import ResNet
