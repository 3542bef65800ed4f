"""The resize to the batch's canvas, plain or with a random zoom."""

import dataclasses
import math

import tensorflow as tf

from gfl_tf.data import images as image_ops
from gfl_tf.data.augmentations.crop import crop, window_in
from gfl_tf.data.augmentations.operation import Operation, Stage, between, check_range


@dataclasses.dataclass(frozen=True)
class Resize(Operation, name="resize", stage=Stage.RESIZE):
    """The keep-ratio resize alone. It is there where a list has none."""

    def __call__(self, sample, draws, frame):
        size = size_on_canvas(tf.shape(sample.image)[:2], frame.scale, frame.canvas)
        image, boxes = resize(sample.image, sample.boxes, size)
        return sample._replace(image=image, boxes=boxes)


@dataclasses.dataclass(frozen=True)
class Zoom(Operation, name="zoom", num_draws=3, stage=Stage.RESIZE):
    """The resize with a random factor more (log-uniform), to the height and width that there would be without it.

    Above 1 a random window of the image fills them, below 1 the image lies at a random place in the colour of the
    padding. Boxes whose centre is cut off are dropped, and those of which less than a pixel of a side is left.
    """

    factor: tuple = (0.75, 1.33)

    def __post_init__(self):
        check_range(self, "factor", above=0)

    def __call__(self, sample, draws, frame):
        size = size_on_canvas(tf.shape(sample.image)[:2], frame.scale, frame.canvas)
        factor = tf.exp(between([math.log(limit) for limit in self.factor], draws[0]))
        window = window_in(tf.shape(sample.image)[:2], 1.0 / tf.maximum(factor, 1.0), draws[1:])
        # Cut first, then one resize: an enlarged part keeps the file's resolution.
        sample = crop(sample, window, by_centre=True)
        shrunk = tf.cast(tf.cast(size, tf.float32) * tf.minimum(factor, 1.0) + 0.5, tf.int32)
        shrunk = tf.clip_by_value(shrunk, 1, size)
        image, boxes = resize(sample.image, sample.boxes, shrunk)
        start = tf.cast(tf.cast(size - shrunk + 1, tf.float32) * draws[1:], tf.int32)
        start = tf.minimum(start, size - shrunk)
        image = image_ops.pad_to_canvas(image, size, frame.pad_value, start)
        boxes += tf.cast(tf.gather(start, [1, 0, 1, 0]), tf.float32)
        return sample._replace(image=image, boxes=boxes)


def size_on_canvas(hw, scale, canvas):
    """`images.keep_ratio_size`, shrunk to where it fits the canvas -> int32 [2]."""
    # A canvas is planned for whole images, and a cropped one can be more oblong than all of them. Shrinking it to fit
    # keeps the windows' distribution; canvases for any crop would be a quarter larger for 4:3 images.
    size = image_ops.keep_ratio_size(hw, scale)
    factor = tf.reduce_min(tf.cast(canvas, tf.float64) / tf.cast(size, tf.float64))
    filling = tf.cast(tf.cast(size, tf.float64) * factor + 0.5, tf.int32)
    return tf.maximum(tf.minimum(size, filling), 1)


def resize(image, boxes, size):
    """-> (image float32 [*size, 3], boxes)."""
    factor = tf.cast(size, tf.float32) / tf.cast(tf.shape(image)[:2], tf.float32)
    return image_ops.resize(image, size), boxes * tf.gather(factor, [1, 0, 1, 0])
