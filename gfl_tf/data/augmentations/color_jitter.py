"""Brightness, contrast and saturation."""

import dataclasses

import tensorflow as tf

from gfl_tf.data.augmentations.operation import Operation, check_shares

# Rec. 601 luma.
LUMA = (0.299, 0.587, 0.114)


@dataclasses.dataclass(frozen=True)
class ColorJitter(Operation, name="color_jitter", num_draws=3):
    """Scales each of the three by a factor from 1 - x to 1 + x."""

    brightness: float = 0.2
    contrast: float = 0.2
    saturation: float = 0.2

    def __post_init__(self):
        check_shares(self, "brightness", "contrast", "saturation")

    def __call__(self, sample, draws, frame):
        spread = tf.constant([self.brightness, self.contrast, self.saturation])
        factors = 1.0 + (2.0 * draws - 1.0) * spread
        return sample._replace(image=jitter_colors(sample.image, *tf.unstack(factors)))


def jitter_colors(image, brightness, contrast, saturation):
    """Scales brightness, then saturation, then contrast about the mean; the result is in 0..255.

    Args:
        image: float32 [h, w, 3].
        brightness, contrast, saturation: float scalars; 1 changes nothing, 0 leaves black, the
            mean grey, a grey image.
    """
    image = image * brightness
    luma = tf.tensordot(image, tf.constant(LUMA), 1)[..., None]
    # Grey stays as it is by saturation, so its mean before is its mean after.
    mean = tf.reduce_mean(luma)
    mixed = luma + saturation * (image - luma)
    return tf.clip_by_value(mean + contrast * (mixed - mean), 0.0, 255.0)
