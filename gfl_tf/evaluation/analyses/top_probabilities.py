"""How sharp the distributions of a box's sides are, beside its quality (GFLv2, figures 1b and 9)."""

import numpy as np

from gfl_tf.evaluation.analyses import points
from gfl_tf.evaluation.scores import pearson


def measure(top: np.ndarray, quality: np.ndarray) -> dict:
    """The largest probabilities, each the mean of the four sides, against a quality.

    Args:
        top: [K, 4, k], the k largest probabilities of each side, falling.
        quality: [K], the real IoU (figure 1b) or the predicted one (figure 9).

    Returns a dict: "correlation_of_top1" to "_topk": Pearson's, of the first to the k-th largest;
    "correlation_of_mean": of the mean of all k; "mean_top1"; "points".
    """
    of_boxes = top.mean(axis=1)  # [K, k]
    return {
        "positives": len(quality),
        **{f"correlation_of_top{rank + 1}": pearson(of_rank, quality) for rank, of_rank in enumerate(of_boxes.T)},
        "correlation_of_mean": pearson(of_boxes.mean(axis=1), quality),
        "mean_top1": float(of_boxes[:, 0].mean()),
        "points": points.some(top1=of_boxes[:, 0], quality=quality),
    }
