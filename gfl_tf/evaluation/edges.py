"""How right the stated spread of box edges, and the intervals made of it, are: over detections that find an object.

An error is the distance of a detection's side from the object's. An interval reaches equally far to both sides of the
detection's.
"""

import collections.abc
import statistics
import typing

import numpy as np

from gfl_tf.evaluation import matches
from gfl_tf.evaluation.matches import MatchedEdges

SIDES = ("left", "top", "right", "bottom")
LEVELS = (0.5, 0.68, 0.8, 0.9, 0.95)  # shares of the true edges that intervals are asked for
THIRDS = ("small third", "middle third", "large third")  # of the detections' sizes
MIN_GROUP = 20  # detections, below which a group of them is not told of


def normal_factor(level: float) -> float:
    """Half the width, in standard deviations, of the interval in which a normal variable lies with that probability."""
    return statistics.NormalDist().inv_cdf((1 + level) / 2)


def coverage(errors: np.ndarray, half_widths: np.ndarray) -> float:
    """Share of the errors that lie within their intervals."""
    return float(np.mean(errors <= half_widths))


def binomial_error(share: float, count: int) -> float:
    """Standard error of a share that was measured on `count` independent cases."""
    return (share * (1 - share) / max(count, 1)) ** 0.5


def interval_score(errors: np.ndarray, half_widths: np.ndarray, level: float) -> float:
    """Mean of the width plus 2 / (1 - level) of what an edge lies outside; smaller is better.

    Gneiting and Raftery, "Strictly Proper Scoring Rules, Prediction, and Estimation", JASA 2007, eq. 43.
    """
    outside = np.maximum(errors - half_widths, 0.0)
    return float(np.mean(2 * half_widths + 2 / (1 - level) * outside))


def spread_error(errors: np.ndarray, stddev: np.ndarray, num_bins: int = 10) -> float:
    """Expected normalized calibration error: mean over bins of |stated - found| / stated, root mean squares.

    Levi et al., "Evaluating and Calibrating Uncertainty Prediction in Regression Tasks" (arXiv 1905.11659), eq. 8.
    Bins have equally many edges, in the order of their stated standard deviation.
    """
    stated, found = binned(errors, stddev, num_bins)
    return float(np.mean(np.abs(stated - found) / stated))


def binned(errors: np.ndarray, stddev: np.ndarray, num_bins: int) -> tuple[np.ndarray, np.ndarray]:
    """(stated, found) root mean square of each bin of equally many edges, in the order of their stated spread."""
    order = np.argsort(stddev, axis=None, kind="stable")
    bins = [part for part in np.array_split(order, num_bins) if len(part)]
    return tuple(np.array([np.sqrt(np.mean(values.flat[part] ** 2)) for part in bins]) for values in (stddev, errors))


def rank_correlation(one: np.ndarray, other: np.ndarray) -> float | None:
    """Spearman's correlation of two arrays of one shape; None where one is constant."""
    ranks = [_ranks(values) for values in (one, other)]
    if not all(values.size and np.ptp(values) for values in ranks):
        return None
    return float(np.corrcoef(*ranks)[0, 1])


def _ranks(values):
    """Of equal values the mean of their ranks."""
    _, inverse, counts = np.unique(np.ravel(values), return_inverse=True, return_counts=True)
    return (np.cumsum(counts) - (counts - 1) / 2)[np.ravel(inverse)]


def summary(
    edges: MatchedEdges, levels: collections.abc.Sequence[float] | None, class_names: collections.abc.Sequence[str]
) -> dict[str, typing.Any]:
    """All that is measured of edges, as plain values for JSON.

    Args:
        edges: of a data set.
        levels: of `edges.edge_interval`; None: the detector is not calibrated, and its edges are taken for normal.
        class_names: C names.
    """
    half_widths = _half_widths(edges, levels)
    box_levels = dict(zip(levels, np.moveaxis(edges.box_interval, 1, 0))) if levels else {}
    if not len(edges):
        return {"rule": matches.RULE, "matched": 0, "calibrated": levels is not None}
    return {
        "rule": matches.RULE,
        "matched": len(edges),
        "calibrated": levels is not None,
        "intervals": [_interval(edges, level, half) for level, half in half_widths.items()],
        "box_intervals": [
            {"level": level, "coverage": _box_coverage(edges, half), "width": 2 * float(half.mean())}
            for level, half in box_levels.items()
        ],
        "groups": {
            kind: {name: _group(edges, half_widths, mask) for name, mask in groups if mask.sum() >= MIN_GROUP}
            for kind, groups in _groups(edges, class_names).items()
        },
        "spread_error": spread_error(edges.errors, edges.stddev),
        "rank_correlation": rank_correlation(edges.stddev, edges.errors),
    }


def _half_widths(edges, levels):
    """{level: [N, 4]}."""
    if levels is None:
        return {level: normal_factor(level) * edges.stddev for level in LEVELS}
    return dict(zip(levels, np.moveaxis(edges.edge_interval, 1, 0)))


def _box_coverage(edges, half):
    return float(np.mean((edges.errors <= half).all(axis=1)))


def _interval(edges, level, half):
    errors, lengths = edges.errors, np.maximum(edges.lengths, 1e-6)
    share = coverage(errors, half)
    # What reaches the same share of these edges with one width for all, and with one in proportion to the box.
    constant = np.full_like(errors, np.quantile(errors, share))
    proportional = np.quantile(errors / lengths, share) * lengths
    return {
        "level": level,
        "coverage": share,
        # The four sides of a detection are not independent: detections are counted.
        "error": binomial_error(share, len(edges)),
        **{
            f"{prefix}{name}": value
            for prefix, widths in (("", half), ("constant_", constant), ("proportional_", proportional))
            for name, value in (
                ("width", 2 * float(widths.mean())),
                ("score", interval_score(errors, widths, level)),
            )
        },
    }


def _groups(edges, class_names):
    """{kind: [(name, mask)]}."""
    thirds = np.digitize(edges.sizes, np.quantile(edges.sizes, [1 / 3, 2 / 3]))
    score_bins = np.minimum((edges.scores * 10).astype(int), 9)
    return {
        "size": [(name, thirds == index) for index, name in enumerate(THIRDS)],
        "stride": [(f"{stride:g}", edges.strides == stride) for stride in np.unique(edges.strides)],
        "class": [(name, edges.classes == index) for index, name in enumerate(class_names)],
        "score": [(f"{index / 10:g} to {(index + 1) / 10:g}", score_bins == index) for index in range(10)],
    }


def _group(edges, half_widths, mask):
    part = edges.where(mask)
    return {
        "matched": len(part),
        "coverage": {f"{level:g}": coverage(part.errors, half[mask]) for level, half in half_widths.items()},
        "spread": float(np.sqrt(np.mean(part.stddev**2))),
        "error": float(np.sqrt(np.mean(part.errors**2))),
    }


def table(found: dict[str, typing.Any]) -> str:
    """The most important numbers of `summary` as Markdown."""
    if not found["matched"]:
        return "No detection finds an object: nothing is known of the edges."
    state = "calibrated" if found["calibrated"] else "not calibrated: gfl-calibrate"
    count = found["matched"]
    lines = [
        f"Edges of {count} detections that find an object ({state}); widths in pixels of the network's input",
        "",
        "| claim | edges within | width | constant | in proportion | small third | middle third | large third |",
        "| ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    thirds = found["groups"]["size"]
    for interval in found["intervals"]:
        level = interval["level"]
        cells = [f"{100 * level:g}%", f"{100 * interval['coverage']:.1f} ± {100 * interval['error']:.1f}"]
        cells += [f"{interval[name]:.1f}" for name in ("width", "constant_width", "proportional_width")]
        cells += [f"{100 * thirds[name]['coverage'][f'{level:g}']:.1f}" if name in thirds else "-" for name in THIRDS]
        lines.append("| " + " | ".join(cells) + " |")
    if found["box_intervals"]:
        shares = ", ".join(f"{100 * row['level']:g}%: {100 * row['coverage']:.1f}" for row in found["box_intervals"])
        lines += ["", f"Boxes with all four edges in the intervals for whole boxes: {shares}."]
    return "\n".join([*lines, "", sentence(found)])


def sentence(found: dict[str, typing.Any]) -> str:
    """How right the stated spread of `summary` is, where any detection finds an object."""
    rank = "-" if found["rank_correlation"] is None else f"{found['rank_correlation']:.2f}"
    return f"Stated and true spread differ by {found['spread_error']:.0%}; rank correlation with the errors {rank}."
