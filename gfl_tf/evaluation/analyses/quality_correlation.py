"""How well a detector knows the IoU of its boxes (GFLv2, table 6)."""

import typing

import numpy as np

from gfl_tf.evaluation.analyses import points
from gfl_tf.evaluation.scores import pearson

NUM_BINS = 10


def measure(predicted: np.ndarray, iou: np.ndarray, others: dict[str, np.ndarray] | None = None) -> dict:
    """Pearson's correlation of predicted and real IoU over K positives.

    Args:
        predicted, iou: [K], in 0..1.
        others: {name: [K]} further predictions, of which the correlation with the IoU is told alone.

    Returns a dict: "positives": K; "correlation", None where one of the two does not vary; "correlation_of_NAME";
    "mean_predicted" and "mean_iou"; "bins": of each tenth of the predicted IoU that has positives, how many and the
    mean of both; "points".
    """
    return {
        "positives": len(iou),
        "correlation": pearson(predicted, iou),
        **{f"correlation_of_{name}": pearson(values, iou) for name, values in (others or {}).items()},
        "mean_predicted": float(predicted.mean()),
        "mean_iou": float(iou.mean()),
        "bins": list(_bins(predicted, iou)),
        "points": points.some(predicted=predicted, iou=iou),
    }


def _bins(predicted, iou) -> typing.Iterator[dict]:
    index = np.minimum((predicted * NUM_BINS).astype(int), NUM_BINS - 1)
    for number in np.unique(index):
        of_bin = index == number
        yield {
            "count": int(of_bin.sum()),
            "predicted": float(predicted[of_bin].mean()),
            "iou": float(iou[of_bin].mean()),
        }
