"""Random crop, and windows of an image, which the zoom uses too."""

import dataclasses

import tensorflow as tf

from gfl_tf.data.augmentations.operation import MIN_SIDE, Operation, Sample, Stage, check, check_shares, is_number


@dataclasses.dataclass(frozen=True)
class Crop(Operation, name="crop", num_draws=5, stage=Stage.FILE):
    """Cuts a random window out of the image, in pixels of the file.

    Height and width of the window are shares of the image's, drawn each on its own from the smallest to 1. Boxes are
    clipped, and dropped when less than a pixel of a side is left. A window without any box of an image that has some
    is not cut out. The resize that follows is that of a whole image, or smaller where it would not fit the canvas.
    """

    probability: float = 0.5
    smallest: float = 0.75

    def __post_init__(self):
        check_shares(self, "probability")
        is_share = is_number(self.smallest) and 0 < self.smallest <= 1
        check(self, "smallest", is_share, "a number above 0 and at most 1")

    def __call__(self, sample, draws, frame):
        share = self.smallest + (1.0 - self.smallest) * draws[1:3]
        part = crop(sample, window_in(tf.shape(sample.image)[:2], share, draws[3:5]))
        # The reference draws another image when a crop has lost every box; here the image stays whole.
        loses_all = (tf.size(sample.classes) > 0) & (tf.size(part.classes) == 0)
        return tf.cond((draws[0] < self.probability) & ~loses_all, lambda: part, lambda: sample)


def crop(sample, window, by_centre=False):
    """Cuts a window out.

    Boxes are clipped to it; one stays if `MIN_SIDE` of its height and width is left.

    Args:
        sample: `Sample`.
        window: int32 [4], y, x, height, width; inside the image.
        by_centre: only boxes whose centre is inside the window stay.

    Returns:
        `Sample`, its image [height, width, 3].
    """
    y, x, height, width = tf.unstack(window)
    image = sample.image[y : y + height, x : x + width]
    boxes = sample.boxes - tf.cast(tf.stack([x, y, x, y]), tf.float32)
    limit = tf.cast(tf.stack([width, height]), tf.float32)
    clipped = tf.clip_by_value(boxes, 0.0, tf.tile(limit, [2]))
    keep = tf.reduce_all(clipped[:, 2:] - clipped[:, :2] >= MIN_SIDE, axis=-1)
    if by_centre:
        centre = (boxes[:, :2] + boxes[:, 2:]) / 2
        keep &= tf.reduce_all((centre >= 0) & (centre < limit), axis=-1)
    return Sample(image, tf.boolean_mask(clipped, keep), tf.boolean_mask(sample.classes, keep))


def window_in(hw, share, offset):
    """A window of an image.

    Args:
        hw: int32 [2], height and width of the image.
        share: float scalar or [2] in 0..1, the window's part of height and width.
        offset: float [2] in 0..1, where the window lies between top and bottom, left and right.

    Returns:
        int32 [4], y, x, height, width; height and width are at least 1.
    """
    size = tf.cast(tf.cast(hw, tf.float32) * share + 0.5, tf.int32)
    size = tf.clip_by_value(size, 1, hw)
    start = tf.cast(tf.cast(hw - size + 1, tf.float32) * offset, tf.int32)
    return tf.concat([tf.minimum(start, hw - size), size], axis=0)
