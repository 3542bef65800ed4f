"""Sharper or softer.

A few sums serve both stacks: tensorflow-addons' sharpness makes it too, but rounds the result, takes longer and fails
for images of less than 3 pixels; Keras 3's layer treats the borders otherwise.
"""

import dataclasses

import tensorflow as tf

from gfl_tf.data.augmentations.operation import Operation, between, check_range, check_shares, sometimes


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
    """Away from an image smoothed by (1 1 1, 1 5 1, 1 1 1) / 13, as `PIL.ImageEnhance.Sharpness`, not rounded.

    The outermost pixels stay.

    Args:
        image: float32 [h, w, 3].
        factor: float scalar; 0 gives the smoothed image, 1 the image, 2 goes as far to the other side.

    Returns:
        float32 [h, w, 3] in 0..255.
    """
    # Sums of shifted images: a convolution of 3 channels takes four times as long.
    inner = image[1:-1, 1:-1]
    rows = image[:-2] + image[1:-1] + image[2:]
    box = rows[:, :-2] + rows[:, 1:-1] + rows[:, 2:]
    change = (factor - 1.0) * (inner - (box + 4.0 * inner) / 13.0)
    outermost = tf.shape(image) - tf.shape(change)  # 2, or 1 of an image a pixel wide
    change = tf.pad(change, tf.stack([outermost // 2, (outermost + 1) // 2], axis=1))
    return tf.clip_by_value(image + change, 0.0, 255.0)
