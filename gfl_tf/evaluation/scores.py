"""Whether scores mean what they claim: QFL and VFL train a score to be the IoU of its box with the object."""

import typing

import numpy as np

from gfl_tf.evaluation.matches import ScoredDetections

NUM_BINS = 10


def summary(scored: ScoredDetections, num_bins: int = NUM_BINS) -> dict[str, typing.Any]:
    """All that is measured of scores, as plain values for JSON; bins of equal width, n of D detections in each.

    "iou_error": sum of n / D |mean score - mean IoU|: QFL's and VFL's own claim.
    "detection_error" (D-ECE): sum of n / D |mean score - precision|; Küppers et al., "Multivariate Confidence
    Calibration for Object Detection", CVPR Workshops 2020, eq. 5, over scores alone.
    "localization_error" (LaECE): sum of n / D |mean score - precision x mean IoU of those that are right|; Oksuz et
    al., "Towards Building Self-Aware Object Detectors via Reliable Uncertainty Quantification and Calibration", CVPR
    2023, eq. 4, for all classes together.
    "correlation": Pearson's, of score and IoU of those that are right (GFLv2, table 6, has it over positives).
    """
    index = np.minimum((scored.scores * num_bins).astype(int), num_bins - 1)
    bins = [_bin(scored, index == number, number / num_bins) for number in range(num_bins)]
    total = max(len(scored.scores), 1)

    def error(claimed):
        return sum(row["count"] * abs(row["score"] - claimed(row)) for row in bins if row["count"]) / total

    return {
        "detections": len(scored.scores),
        "bins": bins,
        "iou_error": error(lambda row: row["iou"]),
        "detection_error": error(lambda row: row["precision"]),
        "localization_error": error(lambda row: row["precision"] * row["iou_of_right"]),
        "correlation": pearson(scored.scores[scored.is_right], scored.iou[scored.is_right]),
    }


def _bin(scored, mask, low):
    right = mask & scored.is_right
    return {
        "from": low,
        "count": int(mask.sum()),
        "score": _mean(scored.scores[mask]),
        "iou": _mean(scored.iou[mask]),
        "precision": _mean(scored.is_right[mask]),
        "iou_of_right": _mean(scored.iou[right]),
    }


def _mean(values):
    return float(values.mean()) if len(values) else 0.0


def pearson(x: np.ndarray, y: np.ndarray) -> float | None:
    """Pearson's correlation of two [N]; None where N is below 2 or one of them does not vary."""
    if len(x) < 2 or not np.ptp(x) or not np.ptp(y):
        return None
    return float(np.corrcoef(x, y)[0, 1])


def text(found: dict[str, typing.Any]) -> str:
    """The numbers of `summary` in one line."""
    correlation = "-" if found["correlation"] is None else f"{found['correlation']:.2f}"
    errors = (found[f"{name}_error"] for name in ("iou", "detection", "localization"))
    listed = "|score - IoU| {:.3f}, D-ECE {:.3f}, LaECE {:.3f}".format(*errors)
    return f"Scores of {found['detections']} detections: {listed}; correlation with the IoU {correlation}."
