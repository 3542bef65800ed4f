"""Feature Pyramid Network (Lin et al., CVPR 2017) with P6 and P7 computed from P5's output."""

import keras
import tensorflow as tf

LEVELS = ("P3", "P4", "P5", "P6", "P7")


@keras.saving.register_keras_serializable(package="gfl_tf")
class FPN(keras.layers.Layer):
    """{"P3", "P4", "P5"} backbone features -> list of P3 to P7, each [B, H / 2^level, W / 2^level, channels].

    P6 and P7 are convolutions of stride 2 on P5 and P6, padded on both sides as in the reference. The input's height
    and width are multiples of 32.

    Args:
        channels: of all outputs.
        extra_relu: ReLU between P6 and P7's convolution, as VarifocalNet has it.
    """

    def __init__(self, channels=256, extra_relu=False, **kwargs):
        super().__init__(**kwargs)
        self.channels = channels
        self.extra_relu = extra_relu
        self.laterals = {f"P{i}": keras.layers.Conv2D(channels, 1, name=f"lateral_p{i}") for i in (3, 4, 5)}
        self.outputs = {
            f"P{i}": keras.layers.Conv2D(channels, 3, padding="same", name=f"output_p{i}") for i in (3, 4, 5)
        }
        self.extra = {f"P{i}": keras.layers.Conv2D(channels, 3, strides=2, name=f"output_p{i}") for i in (6, 7)}
        self.pad = keras.layers.ZeroPadding2D(1)

    def build(self, input_shape):
        inner_shape = (None, None, None, self.channels)
        for level, lateral in self.laterals.items():
            lateral.build(input_shape[level])
        for conv in (*self.outputs.values(), *self.extra.values()):
            conv.build(inner_shape)
        self.built = True

    def call(self, features):
        p5 = self.laterals["P5"](features["P5"])
        p4 = self.laterals["P4"](features["P4"]) + upsample(p5)
        p3 = self.laterals["P3"](features["P3"]) + upsample(p4)
        p3, p4, p5 = (self.outputs[level](x) for level, x in (("P3", p3), ("P4", p4), ("P5", p5)))
        p6 = self.extra["P6"](self.pad(p5))
        p7 = self.extra["P7"](self.pad(tf.nn.relu(p6) if self.extra_relu else p6))
        return [p3, p4, p5, p6, p7]

    def get_config(self):
        return {**super().get_config(), "channels": self.channels, "extra_relu": self.extra_relu}


def upsample(x):
    """Twice the height and width, nearest neighbour; XLA has no gradient of Keras's `UpSampling2D`."""
    return tf.repeat(tf.repeat(x, 2, axis=1), 2, axis=2)
