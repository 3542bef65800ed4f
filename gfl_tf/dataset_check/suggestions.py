"""What the figures of a data set say of a config's scale, bins and levels."""

import math

import numpy as np

from gfl_tf.data.coco import CocoDataset
from gfl_tf.data.fitted_scale import fitted_scale
from gfl_tf.dataset_check.boxes import Boxes
from gfl_tf.dataset_check.targets import Targets

SMALL_PX, LARGE_PX = 16, 256  # of the median box; see `of_scale`
MOST_BEYOND = 0.01  # of the targets
MOST_TOO_SMALL = 0.01  # of the boxes
HIGHEST_FIRST = 5  # level that a pyramid can begin with


def of_scale(dataset: CocoDataset, boxes: Boxes, scale: tuple[int, int]) -> list[str]:
    """Another scale, where the median box is below `SMALL_PX` or above `LARGE_PX` after the resize.

    None where `fitted_scale` would change nothing: it has its limits.
    """
    median = float(np.median(np.sqrt(boxes.sides.prod(axis=1))))
    if SMALL_PX <= median <= LARGE_PX:
        return []
    long_side, short_side = fitted_scale(dataset)
    if (long_side, short_side) == (max(scale), min(scale)):
        return []
    gain = min(long_side / max(scale), short_side / min(scale))
    return [
        f"scale: the median box has {median:.0f} px after the resize to {max(scale)} x {min(scale)}; "
        f"config.data.scale=({long_side}, {short_side}) would make it about {median * gain:.0f}"
    ]


def of_bins(targets: Targets, num_bins: int | None, bin_width: float) -> list[str]:
    """Other bins, where more than `MOST_BEYOND` of the targets lie beyond the last; of None there are none."""
    whole = targets.levels[-1]
    if whole.beyond <= MOST_BEYOND:
        return []
    return [
        f"num_bins: {whole.beyond:.1%} of the targets lie beyond {num_bins * bin_width:g} strides; config.model.boxes."
        f"num_bins={math.ceil(whole.percentiles[2] / bin_width)} reaches 99% of them at the same bin_width"
    ]


def of_levels(targets: Targets) -> list[str]:
    """A finer level where boxes are learnt nowhere, and no levels below or above those where boxes are."""
    *levels, _ = targets.levels
    first, found = levels[0], []
    if targets.too_small > MOST_TOO_SMALL * targets.boxes:
        remedy = "raise config.data.scale"
        if first.stride > 4:
            finer = int(first.name[1:]) - 1
            remedy += f", or begin config.model.grid.levels at {finer}, of stride {first.stride // 2}"
        found.append(
            f"levels: no place learns {targets.too_small} of {targets.boxes} boxes, which have a side below the stride "
            f"of {first.name}, {first.stride} px: {remedy}"
        )
    numbers = [int(level.name[1:]) for level in levels]
    used = [number for number, level in zip(numbers, levels) if level.positives]
    kept = tuple(range(min(used[0], HIGHEST_FIRST), used[-1] + 1)) if used else ()
    if kept and kept != tuple(numbers):
        unused = ", ".join(f"P{number}" for number in numbers if number not in kept)
        found.append(f"levels: no box is learnt on {unused}; config.model.grid.levels={kept} would do")
    return found
