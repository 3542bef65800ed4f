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
        return zoomed(sample, log_between(self.factor, draws[0]), draws[1:], frame)


def log_between(limits, draw):
    """As `between`, but on a logarithmic scale."""
    return tf.exp(between([math.log(limit) for limit in limits], draw))


def zoomed(sample, factor, offset, frame, target=None):
    """The image at `factor` times the size that it has for the batch, cut and padded to `target`.

    Where it is larger than that, a random window of it fills `target`; where it is smaller, it lies at a random place
    in the colour of the padding. Boxes whose centre is cut off are dropped, and those of which less than `MIN_SIDE`
    is left.

    Args:
        sample: `Sample` in pixels of its file.
        factor: float scalar.
        offset: float [2] in 0..1, where window and image lie between top and bottom, left and right.
        frame: `Frame`.
        target: int32 [2], at least 1; None: the size that the image has for the batch.

    Returns:
        `Sample`, its image float32 [*target, 3].
    """
    size = size_on_canvas(tf.shape(sample.image)[:2], frame.scale, frame.canvas)
    target = size if target is None else target
    wanted, available = tf.cast(size, tf.float32), tf.cast(target, tf.float32)
    share = tf.minimum(available / wanted / factor, 1.0)
    # Cut first, then one resize: an enlarged part keeps the file's resolution.
    sample = crop(sample, window_in(tf.shape(sample.image)[:2], share, offset), by_centre=True)
    filled = tf.cast(tf.minimum(wanted * factor, available) + 0.5, tf.int32)
    filled = tf.clip_by_value(filled, 1, target)
    image, boxes = resize(sample.image, sample.boxes, filled)
    start = tf.cast(tf.cast(target - filled + 1, tf.float32) * offset, tf.int32)
    start = tf.minimum(start, target - filled)
    return sample._replace(
        image=image_ops.pad_to_canvas(image, target, frame.pad_value, start), boxes=moved(boxes, start)
    )


def moved(boxes, start):
    """Boxes of a part, in pixels of the whole in which the part begins at `start`, int32 [2] (y, x)."""
    return boxes + tf.cast(tf.gather(start, [1, 0, 1, 0]), tf.float32)


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
