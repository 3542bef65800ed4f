"""Feature Pyramid Network (Lin et al., CVPR 2017) whose levels above P5 are computed from P5's output."""

import collections.abc
import typing

import keras
import tensorflow as tf

from gfl_tf.layers.blocks import conv3x3
from gfl_tf.parts import arguments, check_fields
from gfl_tf.rules import COUNT, FLAG

BACKBONE_TOP = 5  # the highest level of a backbone


@keras.saving.register_keras_serializable(package="gfl_tf")
class FPN(keras.layers.Layer):
    """{"P3", "P4", "P5"} backbone features -> list of P3 to P7, each [B, H / 2^level, W / 2^level, channels].

    Levels above P5 are convolutions of stride 2 on the level below, padded on both sides as in the reference. The
    input's height and width are multiples of 32.

    Args:
        levels: consecutive, from 2 to 5 on: those of the list. Up to P5 the backbone must have them.
        channels: of all outputs.
        extra_relu: ReLU before the convolution of P7 and above, as VarifocalNet and FCOS have it.
        extra_from_backbone: P6 is made of the backbone's P5, not of this pyramid's, as in RetinaNet.
        depthwise: each 3x3 convolution is a depthwise one and a 1x1 one, for small models.
    """

    def __init__(
        self,
        levels: collections.abc.Sequence[int] = (3, 4, 5, 6, 7),
        channels: int = 256,
        extra_relu: bool = False,
        extra_from_backbone: bool = False,
        depthwise: bool = False,
        **kwargs: typing.Any,
    ):
        super().__init__(**kwargs)
        self.levels = tuple(levels)
        self.channels = channels
        self.extra_relu = extra_relu
        self.extra_from_backbone = extra_from_backbone
        self.depthwise = depthwise
        check_fields(self, {"channels": COUNT, "extra_relu": FLAG, "extra_from_backbone": FLAG, "depthwise": FLAG})
        of_backbone = backbone_levels(levels)
        self.laterals = {f"P{i}": keras.layers.Conv2D(channels, 1, name=f"lateral_p{i}") for i in of_backbone}
        self.outputs = {
            f"P{i}": conv3x3(channels, depthwise=depthwise, name=f"output_p{i}")
            for i in of_backbone
            if i in self.levels
        }
        self.extra = {
            f"P{i}": conv3x3(channels, strides=2, depthwise=depthwise, name=f"output_p{i}")
            for i in self.levels
            if i > BACKBONE_TOP
        }
        self.pad = keras.layers.ZeroPadding2D(1)

    def build(self, input_shape) -> None:
        inner_shape = (None, None, None, self.channels)
        for level, lateral in self.laterals.items():
            lateral.build(input_shape[level])
        for conv in self.outputs.values():
            conv.build(inner_shape)
        shape = input_shape[f"P{BACKBONE_TOP}"] if self.extra_from_backbone else inner_shape
        for conv in self.extra.values():
            conv.build((None, None, None, shape[-1]))
            shape = inner_shape
        self.built = True

    def call(self, features) -> list[tf.Tensor]:
        inner = top_down({level: lateral(features[level]) for level, lateral in self.laterals.items()})
        maps = [conv(inner[level]) for level, conv in self.outputs.items()]
        top = features[f"P{BACKBONE_TOP}"] if self.extra_from_backbone else maps[-1]
        for conv in self.extra.values():
            top = conv(self.pad(top))
            maps.append(top)
            top = tf.nn.relu(top) if self.extra_relu else top
        return maps

    def get_config(self) -> dict[str, typing.Any]:
        return {**super().get_config(), **arguments(self)}


def backbone_levels(levels: collections.abc.Sequence[int]) -> tuple[int, ...]:
    """The backbone's levels that a neck of these levels looks at, lowest first: up to P5."""
    return tuple(range(min(levels), BACKBONE_TOP + 1))


def top_down(laterals: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
    """{level: map}, each the sum of its lateral and the level above, enlarged; `laterals`: lowest level first."""
    inner, above = {}, None
    for level, lateral in reversed(laterals.items()):
        above = inner[level] = lateral if above is None else lateral + upsample(above)
    return inner


def upsample(x: tf.Tensor) -> tf.Tensor:
    """Twice the height and width, nearest neighbour; XLA has no gradient of Keras's `UpSampling2D`."""
    return tf.repeat(tf.repeat(x, 2, axis=1), 2, axis=2)
