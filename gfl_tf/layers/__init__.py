"""The layers that serve any model; those of the detectors alone are in this folder's modules."""

from gfl_tf.layers.deformable import DeformableConv2D, deformable_conv2d
from gfl_tf.layers.dgqp import DGQP
from gfl_tf.layers.grouped import GroupedConv2D
