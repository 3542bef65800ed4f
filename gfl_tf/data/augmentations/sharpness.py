"""Sharper or softer.

One convolution of TensorFlow serves both stacks: tensorflow-addons' sharpness makes it too, but rounds the result,
takes three times as long and fails for images of less than 3 pixels; Keras 3's layer treats the borders otherwise.
"""

import dataclasses

import tensorflow as tf

from gfl_tf.data.augmentations.operation import Operation, between, check_range, check_shares, sometimes

# Pillow's smoothing filter.
SMOOTH = ((1, 1, 1), (1, 5, 1), (1, 1, 1))


@dataclasses.dataclass(frozen=True)
class Sharpness(Operation, name="sharpness", num_draws=2):
    """Sharpens or softens by a factor drawn between two, see `sharpen`; boxes stay."""

    probability: float = 0.5
    factor: tuple = (0.0, 2.0)

    def __post_init__(self):
        check_shares(self, "probability")
        check_range(self, "factor")

    def __call__(self, sample, draws, frame):
        factor = between(self.factor, draws[1])

        def change(sample):
            return sample._replace(image=sharpen(sample.image, factor))

        return sometimes(self.probability, draws[0], change, sample)


def sharpen(image, factor):
    """Away from a smoothed image, as `PIL.ImageEnhance.Sharpness`, not rounded; the outermost pixels stay.

    Args:
        image: float32 [h, w, 3].
        factor: float scalar; 0 gives the smoothed image, 1 the image, 2 goes as far to the other side.

    Returns:
        float32 [h, w, 3] in 0..255.
    """
    kernel = tf.tile((tf.constant(SMOOTH, tf.float32) / 13.0)[..., None, None], [1, 1, 3, 1])
    smooth = tf.nn.depthwise_conv2d(image[None], kernel, strides=[1, 1, 1, 1], padding="SAME")[0]
    rows, columns = (_is_inside(tf.shape(image)[axis]) for axis in (0, 1))
    is_inside = (rows[:, None] & columns)[..., None]
    return tf.clip_by_value(tf.where(is_inside, smooth + factor * (image - smooth), image), 0.0, 255.0)


def _is_inside(count):
    """bool [count]: all but the first and the last."""
    position = tf.range(count)
    return (position > 0) & (position < count - 1)
