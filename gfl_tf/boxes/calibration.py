"""From the spread that a coder states to the one that was found, and to intervals that hold as often as they claim."""

import numpy as np
import tensorflow as tf

from gfl_tf.parts import check_fields, part
from gfl_tf.rules import EMPTY, NOT_NEGATIVE, POSITIVE, SHARE, Rule, either, several


@part
class EdgeCalibration:
    """What was learnt of a detector's "edge_stddev" on held-out images; `gfl_tf.evaluation.calibration.fit` makes it.

    All lengths are in pixels of the network's input. A detection's size, the root of its box's area, says which of G
    groups it belongs to. The interval of a level, for one side of a detection, reaches to both sides of it by

        factor of the level and the group * calibrated standard deviation ^ power of the level

    Attributes:
        stated: K standard deviations as the coder states them, ascending; between them, from 0 on, is a line.
        found: K, those that were found there, never falling.
        size_limits: G - 1 sizes at which the next group begins, ascending.
        levels: L shares of the true edges that intervals are to hold.
        edge_powers: L, of the intervals of single sides.
        edge_factors: L times G, of the same.
        box_powers, box_factors: of the intervals that hold all four sides at once.

    Raises:
        ValueError: numbers of another form, or out of their range.
    """

    stated: tuple
    found: tuple
    size_limits: tuple
    levels: tuple
    edge_powers: tuple
    edge_factors: tuple
    box_powers: tuple
    box_factors: tuple

    def __post_init__(self):
        ascending = Rule("numbers above 0, ascending", lambda value: _ascends(value, np.greater))
        of_levels = several(NOT_NEGATIVE, len(self.levels))
        factors = several(several(POSITIVE, len(self.size_limits) + 1), len(self.levels))
        check_fields(
            self,
            {
                "stated": ascending,
                "found": Rule(
                    f"{len(self.stated)} numbers above 0, none smaller than the one before",
                    lambda value: len(value) == len(self.stated) and _ascends(value, np.greater_equal),
                ),
                "size_limits": either(EMPTY, ascending),
                "levels": several(SHARE),
                "edge_powers": of_levels,
                "edge_factors": factors,
                "box_powers": of_levels,
                "box_factors": factors,
            },
        )

    def __call__(self, stddev: tf.Tensor, boxes: tf.Tensor) -> dict[str, tf.Tensor]:
        """The fields of detections [..., 4], `boxes` xyxy: "edge_stddev" [..., 4], calibrated, and half the widths of
        intervals around each side, "edge_interval" and, for all four at once, "box_interval", [..., L, 4]."""
        stddev = true_stddev(stddev, self.stated, self.found)
        sides = tf.maximum(boxes[..., 2:] - boxes[..., :2], 0.0)
        size = tf.sqrt(sides[..., 0] * sides[..., 1])
        limits = tf.constant(self.size_limits, tf.float32, [len(self.size_limits)])
        group = tf.reduce_sum(tf.cast(size[..., tf.newaxis] >= limits, tf.int32), axis=-1)

        def interval(powers, factors):
            of_group = tf.gather(tf.transpose(tf.constant(factors, tf.float32)), group)  # [..., L]
            power = tf.constant(powers, tf.float32)[:, tf.newaxis]
            return of_group[..., tf.newaxis] * tf.pow(stddev[..., tf.newaxis, :], power)

        return {
            "edge_stddev": stddev,
            "edge_interval": interval(self.edge_powers, self.edge_factors),
            "box_interval": interval(self.box_powers, self.box_factors),
        }

    def at(self, levels: tuple[float, ...]) -> "EdgeCalibration":
        """The same with these of its levels alone.

        Raises:
            ValueError: one that it does not have; names those that it has.
        """
        missing = [level for level in levels if level not in self.levels]
        if missing:
            known = ", ".join(f"{level:g}" for level in self.levels)
            raise ValueError(f"there are no intervals of {missing[0]:g}: the model was calibrated for {known}")
        index = [self.levels.index(level) for level in levels]
        chosen = {
            name: tuple(getattr(self, name)[i] for i in index)
            for name in ("levels", "edge_powers", "edge_factors", "box_powers", "box_factors")
        }
        return EdgeCalibration(stated=self.stated, found=self.found, size_limits=self.size_limits, **chosen)


def true_stddev(stddev: tf.Tensor, stated: tuple[float, ...], found: tuple[float, ...]) -> tf.Tensor:
    """What belongs to a stated standard deviation: on the line from 0 through the points (`stated`, `found`), and
    beyond the last in its proportion."""
    knots, values = np.array([0.0, *stated]), np.array([0.0, *found])
    slopes = np.append(np.diff(values) / np.diff(knots), values[-1] / knots[-1])
    lengths = np.append(np.diff(knots), np.inf)
    parts = tf.clip_by_value(stddev[..., tf.newaxis] - tf.constant(knots, tf.float32), 0.0, lengths.astype("f4"))
    return tf.linalg.matvec(parts, tf.constant(slopes, tf.float32))


def _ascends(value, compare):
    return several(POSITIVE).holds(value) and bool(compare(value[1:], value[:-1]).all())
