"""VFNet-X's neck: a path aggregation network (PANet, Liu et al., CVPR 2018) with group norm and deformable
convolutions (VarifocalNet, section 5.3)."""

import collections.abc
import typing

import keras
import tensorflow as tf

from gfl_tf.layers.blocks import ConvGN
from gfl_tf.necks.fpn import BACKBONE_TOP, backbone_levels, top_down
from gfl_tf.parts import arguments, check_fields
from gfl_tf.rules import COUNT, COUNT_OR_0, FLAG


@keras.saving.register_keras_serializable(package="gfl_tf")
class PAFPNX(keras.layers.Layer):
    """{"P3", "P4", "P5"} backbone features -> list of P3 to P7, each [B, H / 2^level, W / 2^level, channels].

    With laterals l_i (1x1), "+ down" a convolution of stride 2 and "+ up" nearest neighbour:

        top down      m5 = l5              m4 = l4 + up(m5)           m3 = l3 + up(m4)
        bottom up     n3 = output(m3)      n4 = output(m4) + down(n3) n5 = output(m5) + down(n4)
        outputs       P3 = aggregate(n3)   P4 = aggregate(n4)         P5 = aggregate(n5)
        extra         P6 = extra(P5)       P7 = extra(relu(P6))

    Every convolution but the laterals is followed by group norm and, unlike PANet's, none by ReLU. Each level has
    weights of its own. The input's height and width are multiples of 32.

    Args:
        levels: consecutive, those of the list; up to P5 the backbone must have them.
        channels: of all outputs.
        groups: of the group norm.
        deformable: the last convolutions of P3 to P5 are deformable, v2.
        extra_relu: ReLU between P6 and P7's convolution.

    Raises:
        ValueError: when built: channels that do not divide into the groups.
    """

    def __init__(
        self,
        levels: collections.abc.Sequence[int] = (3, 4, 5, 6, 7),
        channels: int = 384,
        groups: int = 32,
        deformable: bool = True,
        extra_relu: bool = True,
        **kwargs: typing.Any,
    ):
        super().__init__(**kwargs)
        self.levels = tuple(levels)
        self.channels = channels
        self.groups = groups
        self.deformable = deformable
        self.extra_relu = extra_relu
        check_fields(self, {"channels": COUNT, "groups": COUNT_OR_0, "deformable": FLAG, "extra_relu": FLAG})
        of_backbone = backbone_levels(levels)
        inner = [i for i in of_backbone if i in self.levels]
        self.laterals = {f"P{i}": keras.layers.Conv2D(channels, 1, name=f"lateral_p{i}") for i in of_backbone}
        self.outputs = {f"P{i}": self._block(f"output_p{i}") for i in inner}
        # By the level that they lead to.
        self.downsamples = {f"P{i}": self._block(f"downsample_p{i}", strides=2) for i in inner[1:]}
        self.aggregations = {f"P{i}": self._block(f"aggregation_p{i}", deformable=deformable) for i in inner}
        self.extra = {f"P{i}": self._block(f"output_p{i}", strides=2) for i in self.levels if i > BACKBONE_TOP}

    def _block(self, name, **options):
        initializer = keras.initializers.GlorotUniform()  # Keras's default, as in FPN
        return ConvGN(self.channels, self.groups, relu=False, kernel_initializer=initializer, name=name, **options)

    def build(self, input_shape) -> None:
        for level, lateral in self.laterals.items():
            lateral.build(input_shape[level])
        for blocks in (self.outputs, self.downsamples, self.aggregations, self.extra):
            for block in blocks.values():
                block.build((None, None, None, self.channels))
        self.built = True

    def call(self, features) -> list[tf.Tensor]:
        inner = top_down({level: lateral(features[level]) for level, lateral in self.laterals.items()})
        below, maps = None, []
        for level, output in self.outputs.items():
            below = output(inner[level]) if below is None else output(inner[level]) + self.downsamples[level](below)
            maps.append(self.aggregations[level](below))
        top = maps[-1]
        for conv in self.extra.values():
            top = conv(top)
            maps.append(top)
            top = tf.nn.relu(top) if self.extra_relu else top
        return maps

    def get_config(self) -> dict[str, typing.Any]:
        return {**super().get_config(), **arguments(self)}
