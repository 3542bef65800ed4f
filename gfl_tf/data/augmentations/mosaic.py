"""Four images in one (Bochkovskiy et al. 2020, YOLOv4, arXiv:2004.10934)."""

import dataclasses

import tensorflow as tf

from gfl_tf.data.augmentations.operation import Operation, Sample, Stage, check_range, check_shares
from gfl_tf.data.augmentations.resizing import log_between, moved, size_on_canvas, zoomed


@dataclasses.dataclass(frozen=True)
class Mosaic(Operation, name="mosaic", num_draws=3 + 4 * 3, stage=Stage.RESIZE, num_others=3):
    """The image and three others around a random point; otherwise what `zoom` does.

    The point lies in the middle half of the image's height and width. Each of the four is resized as it would be alone,
    times a factor of its own: a random window of it fills its quarter, or where it is smaller, it lies in the colour of
    the padding. Boxes whose centre is cut off are dropped, and those of which less than a pixel of a side is left.
    """

    probability: float = 0.5
    factor: tuple = (0.75, 1.33)

    def __post_init__(self):
        check_shares(self, "probability")
        check_range(self, "factor", above=0)

    def __call__(self, sample, draws, frame):
        size = size_on_canvas(tf.shape(sample.image)[:2], frame.scale, frame.canvas)
        # Of each part: its factor, and where its window or itself lies.
        parts = tf.reshape(draws[3:], [4, 3])

        def part(sample, number, target=None):
            return zoomed(sample, log_between(self.factor, parts[number, 0]), parts[number, 1:], frame, target)

        def mosaic():
            samples = [sample, *(other() for other in frame.others)]
            centre = tf.cast(tf.cast(size, tf.float32) * (0.25 + 0.5 * draws[1:3]), tf.int32)
            centre = tf.clip_by_value(centre, 1, size - 1)
            targets = tf.stack([centre, size - centre])  # [2, 2]: first and second; height and width
            quarters = [
                part(samples[2 * row + column], 2 * row + column, tf.stack([targets[row, 0], targets[column, 1]]))
                for row in (0, 1)
                for column in (0, 1)
            ]
            return joined(quarters, centre)

        if self.probability == 0:
            return part(sample, 0)
        # An image a pixel wide has no two halves.
        happens = (draws[0] < self.probability) & tf.reduce_all(size > 1)
        return tf.cond(happens, mosaic, lambda: part(sample, 0))


def joined(quarters, centre):
    """Four `Sample`s, top left, top right, bottom left, bottom right, that meet at `centre`, int32 [2] (y, x)."""
    images = [quarter.image for quarter in quarters]
    starts = [centre * tf.constant(place) for place in ((0, 0), (0, 1), (1, 0), (1, 1))]
    return Sample(
        tf.concat([tf.concat(images[:2], axis=1), tf.concat(images[2:], axis=1)], axis=0),
        tf.concat([moved(quarter.boxes, start) for quarter, start in zip(quarters, starts)], axis=0),
        tf.concat([quarter.classes for quarter in quarters], axis=0),
    )
