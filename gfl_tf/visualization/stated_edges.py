"""What a detector states of each edge of its detections, as plain values for pages."""

import collections.abc
import typing

import numpy as np

from gfl_tf.evaluation.edges import SIDES, normal_factor

LEVEL = 0.9  # of the interval that is shown, or the nearest that the detector is calibrated for


def stated(
    found: dict[str, np.ndarray], levels: collections.abc.Sequence[float] | None
) -> list[list[dict[str, typing.Any]]]:
    """For each of N detections its four edges, as templates/pictures.html has them.

    Args:
        found: record of `visualization.predict.detect_function` of one image, with distributions, without padding.
        levels: of "edge_interval"; None: the detector is not calibrated, and its edges are taken for normal.
    """
    level, half_widths = _intervals(found, levels)
    points = np.tile(found["points"], 2)
    steps = found["bin_px"][:, np.newaxis] * (-1, -1, 1, 1)
    return [
        [
            {
                "side": name,
                "text": f"{name} {box[side]:.1f}, spread {stddev[side]:.1f}; {level:.0%} within ±{half[side]:.1f}",
                "at": round(float(box[side]), 2),
                "stddev": round(float(stddev[side]), 2),
                "interval": round(float(half[side]), 2),
                "first": round(float(point[side]), 2),
                "step": round(float(step[side]), 3),
                "probabilities": [round(float(share), 3) for share in probabilities[side]],
            }
            for side, name in enumerate(SIDES)
        ]
        for box, stddev, half, point, step, probabilities in zip(
            found["boxes"], found["edge_stddev"], half_widths, points, steps, found["probabilities"]
        )
    ]


def _intervals(found, levels):
    """(level, half widths [N, 4])."""
    if levels is None:
        return LEVEL, normal_factor(LEVEL) * found["edge_stddev"]
    nearest = int(np.argmin(np.abs(np.asarray(levels) - LEVEL)))
    return levels[nearest], found["edge_interval"][:, nearest]
