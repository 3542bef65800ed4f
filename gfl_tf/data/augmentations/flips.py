"""Mirror images."""

import dataclasses

import tensorflow as tf

from gfl_tf.data.augmentations.operation import Operation, check_shares, sometimes


@dataclasses.dataclass(frozen=True)
class Flip(Operation, name="flip", num_draws=1):
    """Mirrors left and right."""

    probability: float = 0.5

    def __post_init__(self):
        check_shares(self, "probability")

    def __call__(self, sample, draws, frame):
        return sometimes(self.probability, draws[0], flip_horizontal, sample)


@dataclasses.dataclass(frozen=True)
class VerticalFlip(Operation, name="vertical_flip", num_draws=1):
    """Mirrors top and bottom."""

    probability: float = 0.5

    def __post_init__(self):
        check_shares(self, "probability")

    def __call__(self, sample, draws, frame):
        return sometimes(self.probability, draws[0], flip_vertical, sample)


def flip_horizontal(sample):
    width = tf.cast(tf.shape(sample.image)[1], tf.float32)
    x1, y1, x2, y2 = tf.unstack(sample.boxes, axis=-1)
    boxes = tf.stack([width - x2, y1, width - x1, y2], axis=-1)
    return sample._replace(image=tf.reverse(sample.image, [1]), boxes=boxes)


def flip_vertical(sample):
    height = tf.cast(tf.shape(sample.image)[0], tf.float32)
    x1, y1, x2, y2 = tf.unstack(sample.boxes, axis=-1)
    boxes = tf.stack([x1, height - y2, x2, height - y1], axis=-1)
    return sample._replace(image=tf.reverse(sample.image, [0]), boxes=boxes)
