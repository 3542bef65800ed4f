"""VFNet-X's neck: a path aggregation network (PANet, Liu et al., CVPR 2018) with group norm and deformable
convolutions (VarifocalNet, section 5.3)."""

import keras
import tensorflow as tf

from gfl_tf.layers.blocks import ConvGN
from gfl_tf.necks.fpn import upsample


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
        channels: of all outputs.
        groups: of the group norm.
        deformable: the last convolutions of P3 to P5 are deformable, v2.
        extra_relu: ReLU between P6 and P7's convolution.

    Raises:
        ValueError: when built: channels that do not divide into the groups.
    """

    def __init__(self, channels=384, groups=32, deformable=True, extra_relu=True, **kwargs):
        super().__init__(**kwargs)
        self.channels = channels
        self.groups = groups
        self.deformable = deformable
        self.extra_relu = extra_relu
        self.laterals = {f"P{i}": keras.layers.Conv2D(channels, 1, name=f"lateral_p{i}") for i in (3, 4, 5)}
        self.outputs = {f"P{i}": self._block(f"output_p{i}") for i in (3, 4, 5)}
        # By the level that they lead to.
        self.downsamples = {f"P{i}": self._block(f"downsample_p{i}", strides=2) for i in (4, 5)}
        self.aggregations = {f"P{i}": self._block(f"aggregation_p{i}", deformable=deformable) for i in (3, 4, 5)}
        self.extra = {f"P{i}": self._block(f"output_p{i}", strides=2) for i in (6, 7)}

    def _block(self, name, **options):
        initializer = keras.initializers.GlorotUniform()  # Keras's default, as in FPN
        return ConvGN(self.channels, self.groups, relu=False, kernel_initializer=initializer, name=name, **options)

    def build(self, input_shape):
        for level, lateral in self.laterals.items():
            lateral.build(input_shape[level])
        for blocks in (self.outputs, self.downsamples, self.aggregations, self.extra):
            for block in blocks.values():
                block.build((None, None, None, self.channels))
        self.built = True

    def call(self, features):
        m5 = self.laterals["P5"](features["P5"])
        m4 = self.laterals["P4"](features["P4"]) + upsample(m5)
        m3 = self.laterals["P3"](features["P3"]) + upsample(m4)
        n3 = self.outputs["P3"](m3)
        n4 = self.outputs["P4"](m4) + self.downsamples["P4"](n3)
        n5 = self.outputs["P5"](m5) + self.downsamples["P5"](n4)
        p3, p4, p5 = (self.aggregations[level](n) for level, n in (("P3", n3), ("P4", n4), ("P5", n5)))
        p6 = self.extra["P6"](p5)
        p7 = self.extra["P7"](tf.nn.relu(p6) if self.extra_relu else p6)
        return [p3, p4, p5, p6, p7]

    def get_config(self):
        config = {
            "channels": self.channels,
            "groups": self.groups,
            "deformable": self.deformable,
            "extra_relu": self.extra_relu,
        }
        return {**super().get_config(), **config}
