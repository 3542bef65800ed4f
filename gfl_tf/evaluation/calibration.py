"""Learns an `EdgeCalibration` from detections that find an object, on images that the detector was not trained on.

The spread: isotonic regression of the errors on the stated standard deviation, in bins. Of what was tried (one factor;
one per level; subtracting t (1 - t), the variance of the two bins that DFL puts all mass on; a temperature of the
distributions; a power), it brought the stated spread nearest to the true one: docs/uncertainty.md.

The intervals: split conformal prediction (Lei et al., "Distribution-Free Predictive Inference for Regression", JASA
2018). A third of the images decides on the spread, the powers and the limits of the groups. On the rest, which had no
part in that, each level's factor is a quantile of error / spread ^ power, in each third of the boxes' sizes.
"""

import collections.abc
import dataclasses
import math

import numpy as np

from gfl_tf.boxes.calibration import EdgeCalibration, true_stddev
from gfl_tf.evaluation import edges as measures
from gfl_tf.evaluation.matches import MatchedEdges

NUM_BINS = 10
POWERS = (0.25, 0.5, 0.75, 1.0)  # of the standard deviation; below 1, intervals differ less than the spread does
NUM_GROUPS = 3
MIN_PX = 1e-3  # nothing that is found is surer
MIN_IN_GROUP = 50  # detections, where there is more than one group


def fit(edges: MatchedEdges, levels: collections.abc.Sequence[float] = measures.LEVELS) -> EdgeCalibration:
    """The calibration of a detector that has none yet.

    Args:
        edges: of images that are neither trained nor tested on.
        levels: shares between 0 and 1 of the true edges that intervals are to hold.

    Raises:
        ValueError: there are too few detections; says how many it takes.
    """
    levels = tuple(sorted(levels))
    of_image = np.unique(edges.images, return_inverse=True)[1]
    first, second = edges.where(of_image % 3 == 0), edges.where(of_image % 3 > 0)
    needed = max(math.ceil(levels[-1] / (1 - levels[-1])), NUM_BINS)
    if min(len(first), len(second)) < needed:
        raise ValueError(
            f"{len(edges)} detections find an object, {len(first)} and {len(second)} in a third and in the rest of the "
            "images; "
            f"intervals of {levels[-1]:g} take {needed} in each: calibrate on more images, or for lower levels"
        )
    limits = _size_limits(first, second, max(needed, MIN_IN_GROUP))
    stated, found = spread(first)
    parts = [_Part.of(part, stated, found, limits) for part in (first, second)]
    edge_powers, edge_factors = _powers_and_factors(*parts, levels)
    box_powers, box_factors = _powers_and_factors(*(part.of_whole_boxes() for part in parts), levels)
    return EdgeCalibration(
        stated=stated,
        found=found,
        size_limits=limits,
        levels=levels,
        edge_powers=edge_powers,
        edge_factors=edge_factors,
        box_powers=box_powers,
        box_factors=box_factors,
    )


def spread(edges: MatchedEdges) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Knots (stated, found) of the standard deviation, the first ascending, the second never falling."""
    pools = []  # sums of stated and found variances, and how many
    for variances in zip(*(values**2 for values in measures.binned(edges.errors, edges.stddev, NUM_BINS))):
        pools.append(np.array([*variances, 1.0]))
        # Pool adjacent violators: Barlow et al., "Statistical Inference under Order Restrictions", 1972.
        while len(pools) > 1 and not (pools[-1] / pools[-1][2] > pools[-2] / pools[-2][2])[:2].all():
            pools[-2:] = [pools[-2] + pools[-1]]
    stated, found = (tuple(float(max(p[i] / p[2], MIN_PX**2) ** 0.5) for p in pools) for i in (0, 1))
    return stated, found


def _size_limits(first, second, fewest):
    """Where the groups of sizes begin: as many as have at least `fewest` detections of the second part."""
    for num_groups in range(NUM_GROUPS, 1, -1):
        limits = np.unique(np.quantile(first.sizes, np.arange(1, num_groups) / num_groups))
        if np.bincount(np.digitize(second.sizes, limits), minlength=len(limits) + 1).min() >= fewest:
            return tuple(float(limit) for limit in limits)
    return ()


@dataclasses.dataclass(frozen=True)
class _Part:
    """Errors and calibrated spread [N, 4] on some of the images, and the group [N] of each detection."""

    errors: np.ndarray
    spread: np.ndarray
    group: np.ndarray
    num_groups: int
    whole_boxes: bool = False

    @classmethod
    def of(cls, edges, stated, found, limits):
        spread = true_stddev(edges.stddev.astype(np.float32), stated, found).numpy()
        return cls(edges.errors, np.maximum(spread, 1e-6), np.digitize(edges.sizes, limits), len(limits) + 1)

    def of_whole_boxes(self):
        """A box is missed where one of its sides is."""
        return dataclasses.replace(self, whole_boxes=True)

    def factors(self, power, level):
        """One per group: the smallest with which the intervals hold enough, of N detections ceil((N + 1) level)."""
        ratios = self.errors / self.spread**power
        if self.whole_boxes:
            ratios = ratios.max(axis=1, keepdims=True)
        factors = []
        for group in range(self.num_groups):
            of_group = ratios[self.group == group]
            # The four sides of a detection are not independent: detections are counted.
            count = max(len(of_group), 1)
            share = min(math.ceil((count + 1) * level) / count, 1.0)
            factors.append(float(np.quantile(of_group, share, method="higher")) if len(of_group) else 0.0)
        return np.maximum(factors, MIN_PX)

    def width(self, power, level):
        return np.mean(self.factors(power, level)[self.group][:, np.newaxis] * self.spread**power)


def _powers_and_factors(first, second, levels):
    powers = [min(POWERS, key=lambda power: first.width(power, level)) for level in levels]
    factors = [second.factors(power, level) for power, level in zip(powers, levels)]
    return tuple(powers), tuple(tuple(float(factor) for factor in of_level) for of_level in factors)
