"""The scale of the resize, chosen from the sizes of images and boxes."""

import numpy as np

from gfl_tf.data.batching import STRIDE
from gfl_tf.data.coco import CocoDataset

# That many of the boxes are to have `SIZE_PX` or more after the resize: the square root of their area, some three
# places of the finest level, of stride 8.
SHARE = 0.95
SIZE_PX = 20
MAX_ENLARGED = 2.0  # of small images with small boxes


def fitted_scale(dataset: CocoDataset, long_side_limits: tuple[int, int] = (256, 1333)) -> tuple[int, int]:
    """The smallest scale at which boxes are large enough to be found, (long, short) in pixels, multiples of 32.

    Time and memory grow with its square. `SHARE` of the boxes get `SIZE_PX`, as far as the limits, `MAX_ENLARGED` and
    the multiples of 32 let them. The short side has the median of the images' aspect ratios: a rarer image that is
    nearer to a square is limited by it, too.

    Args:
        dataset: with at least one box.
        long_side_limits: (low, high) in pixels.
    """
    sizes = np.array([(record.height, record.width) for record in dataset.images], np.float64)
    long_sides, short_sides = sizes.max(axis=1), sizes.min(axis=1)
    # Of each box, in shares of its image's long side: images may have different sizes.
    shares = np.concatenate(
        [np.sqrt((record.boxes[:, 2:] - record.boxes[:, :2]).prod(axis=1)) / long_side
         for record, long_side in zip(dataset.images, long_sides)]
    )  # fmt: skip
    needed = SIZE_PX / np.quantile(shares, 1 - SHARE)
    limited = np.clip(min(needed, MAX_ENLARGED * np.median(long_sides)), *long_side_limits)
    long_side = max(round(limited / STRIDE), 1) * STRIDE
    short_side = max(round(long_side * np.median(short_sides / long_sides) / STRIDE), 1) * STRIDE
    return long_side, short_side
