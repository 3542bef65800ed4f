"""Black holes (DeVries and Taylor 2017, arXiv:1708.04552)."""

import dataclasses

import tensorflow as tf

from gfl_tf.data.augmentations.operation import Operation, check_shares, sometimes

# As VFNet-X has it: how many holes (from, to), and their heights and widths in pixels.
HOLES = (5, 10)
HOLE_SIZES = (
    (4, 4), (4, 8), (8, 4), (8, 8), (8, 16), (16, 8), (16, 16), (16, 32), (32, 16), (32, 32), (32, 48), (48, 32),
    (48, 48),
)  # fmt: skip


@dataclasses.dataclass(frozen=True)
class Cutout(Operation, name="cutout", num_draws=2 + 3 * HOLES[1]):
    """5 to 10 black holes of 4x4 to 48x48 pixels in the resized image; boxes stay."""

    probability: float = 0.5

    def __post_init__(self):
        check_shares(self, "probability")

    def __call__(self, sample, draws, frame):
        count = HOLES[0] + tf.cast(draws[1] * (HOLES[1] - HOLES[0] + 1), tf.int32)
        holes = tf.reshape(draws[2:], [HOLES[1], 3])[:count]
        corners = tf.cast(holes[:, :2] * tf.cast(tf.shape(sample.image)[:2], tf.float32), tf.int32)
        sizes = tf.gather(HOLE_SIZES, tf.cast(holes[:, 2] * len(HOLE_SIZES), tf.int32))

        def change(sample):
            return sample._replace(image=cut_out(sample.image, corners, sizes))

        return sometimes(self.probability, draws[0], change, sample)


def cut_out(image, corners, sizes):
    """Makes rectangles of the image black.

    Args:
        image: float32 [h, w, 3].
        corners: int32 [k, 2], y and x of the rectangles' top left pixels.
        sizes: int32 [k, 2], their heights and widths; they may reach over the border.
    """

    def covered(axis):
        position = tf.range(tf.shape(image)[axis])
        start, end = corners[:, axis, None], (corners + sizes)[:, axis, None]
        return tf.cast((position >= start) & (position < end), tf.float32)  # [k, h] or [k, w]

    # tensorflow-addons' cutout takes a pass for each hole, 37 times as long for ten, and has no stateless draws.
    holes = tf.matmul(covered(0), covered(1), transpose_a=True)  # [h, w]
    return image * tf.cast(holes == 0, tf.float32)[..., None]
