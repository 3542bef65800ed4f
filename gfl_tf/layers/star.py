"""Star-shaped box features (VarifocalNet, section 4.3): a deformable convolution whose points an initial box places."""

import typing

import keras
import tensorflow as tf

from gfl_tf.layers.deformable import deformable_conv2d

KERNEL_SIZE = 3


def star_offsets(distances: tf.Tensor) -> tf.Tensor:
    """Offsets that move a 3x3 kernel's points to the centre, sides and corners of a box around each cell.

    The kernel's rows lie at the top side, the cell and the bottom side, its columns at the left side, the cell and the
    right side; `gfl_tf.visualization.star` draws them:

        0 (x - l, y - t)    1 (x, y - t)    2 (x + r, y - t)
        3 (x - l, y)        4 (x, y)        5 (x + r, y)
        6 (x - l, y + b)    7 (x, y + b)    8 (x + r, y + b)

    Args:
        distances: [B, H, W, 4], left, top, right, bottom, in cells.

    Returns:
        [B, H, W, 18], `offsets` of `deformable_conv2d`.
    """
    left, top, right, bottom = tf.unstack(distances, axis=-1)
    middle = tf.zeros_like(left)
    # An ordinary kernel's points lie at -1, 0 and 1; offsets count from there.
    y = tf.stack([1.0 - top, middle, bottom - 1.0], axis=-1)[..., :, tf.newaxis]
    x = tf.stack([1.0 - left, middle, right - 1.0], axis=-1)[..., tf.newaxis, :]
    offsets = tf.stack([y + tf.zeros_like(x), x + tf.zeros_like(y)], axis=-1)  # [B, H, W, 3, 3, 2]
    return tf.reshape(offsets, tf.concat([tf.shape(distances)[:3], [2 * KERNEL_SIZE**2]], axis=0))


@keras.saving.register_keras_serializable(package="gfl_tf")
class StarConv2D(keras.layers.Layer):
    """Star-shaped deformable convolution and ReLU: features [B, H, W, C], `star_offsets` -> [B, H, W, filters].

    Neither bias nor normalization, as in the reference. `unroll`: see `DeformableConv2D`.
    """

    unroll = False

    def __init__(self, filters: int, **kwargs: typing.Any):
        super().__init__(**kwargs)
        self.filters = filters

    def build(self, input_shape) -> None:
        self.kernel = self.add_weight(
            name="kernel",
            shape=(KERNEL_SIZE, KERNEL_SIZE, input_shape[-1], self.filters),
            initializer=keras.initializers.RandomNormal(stddev=0.01),
        )
        self.built = True

    def call(self, inputs, offsets) -> tf.Tensor:
        return tf.nn.relu(deformable_conv2d(inputs, offsets, self.kernel, unroll=self.unroll))

    def get_config(self) -> dict[str, typing.Any]:
        return {**super().get_config(), "filters": self.filters}
