"""Histogram equalization, by tensorflow-addons where the extra `addons` is installed."""

import dataclasses
import functools

import tensorflow as tf

from gfl_tf.data.augmentations.operation import Operation, check_shares, sometimes


@dataclasses.dataclass(frozen=True)
class Equalize(Operation, name="equalize", num_draws=1):
    """Spreads each channel's values over 0..255, as `PIL.ImageOps.equalize`; boxes stay."""

    probability: float = 0.5

    def __post_init__(self):
        check_shares(self, "probability")

    def __call__(self, sample, draws, frame):
        def change(sample):
            return sample._replace(image=equalize(sample.image))

        return sometimes(self.probability, draws[0], change, sample)


def equalize(image):
    """float32 [h, w, 3] -> whole numbers in the same shape and type."""
    levels = tf.saturate_cast(image + 0.5, tf.uint8)
    addons = addons_image()
    spread = addons.equalize(levels) if addons else equalize_levels(levels)
    return tf.ensure_shape(tf.cast(spread, tf.float32), image.shape)


@functools.cache
def addons_image():
    """The module `tensorflow_addons.image`, None without it.

    It is imported here and at first use, as it prints that its development has ended.
    """
    try:
        from tensorflow_addons import image
    except ImportError:  # not installed, or beside a TensorFlow that is too new for it
        return None
    return image


def equalize_levels(levels):
    """The same numbers as tensorflow-addons' from TensorFlow alone; Keras 3's and KerasCV's layers have other formulas.

    A value becomes the number of smaller ones in units of a step, rounded; a step is a 255th of all that do not have
    the largest value. Where that is less than one the channel stays as it is.

    Args:
        levels: uint8 [h, w, 3].

    Returns:
        int32 [h, w, 3] in 0..255.
    """
    values = tf.cast(levels, tf.int32) + tf.constant([0, 256, 512])
    counts = tf.math.bincount(tf.reshape(values, [-1]), minlength=768, maxlength=768)
    counts = tf.reshape(counts, [3, 256])
    largest = tf.reduce_max(tf.cast(levels, tf.int32), axis=[0, 1])
    step = (tf.reduce_sum(counts, axis=1) - tf.gather(counts, largest, batch_dims=1))[:, None] // 255
    smaller = tf.cumsum(counts, axis=1, exclusive=True)
    table = tf.clip_by_value((smaller + step // 2) // tf.maximum(step, 1), 0, 255)
    table = tf.where(step == 0, tf.range(256), table)
    return tf.gather(tf.reshape(table, [-1]), values)
