"""What is computed of one evaluation's detections, to compare it with others."""

import collections.abc
import pathlib
import typing

import numpy as np

from gfl_tf import files
from gfl_tf.comparison import names
from gfl_tf.comparison.evaluations import Evaluation
from gfl_tf.data.coco import CocoDataset
from gfl_tf.evaluation import coco_numbers, coco_rows, sure_detections, weighted_numbers
from gfl_tf.evaluation.sure_detections import MatchedImage

TOLERANCE = 1e-6  # of an AP that is computed again


class Scored(typing.NamedTuple):
    """COCO's numbers of an evaluation, in the order of `coco.METRICS`, 0 to 1; NaN: there are no such objects.

    Attributes:
        per_class: float64 [1 + S, C, 12], over all images, and in S resamples.
        total: float64 [1 + S, 12], the means over the classes.
        precision: float64 [C, 101], at an IoU of 0.5 and the recalls 0 to 1; -1 for a class without objects.
        images: all of them, with the sure detections.
    """

    per_class: np.ndarray
    total: np.ndarray
    precision: np.ndarray
    images: list[MatchedImage]


def score(
    evaluation: Evaluation,
    dataset: CocoDataset,
    draws: np.ndarray,
    progress: collections.abc.Callable[[int, int], None],
) -> Scored:
    """Scores the detections of an evaluation again, over all images and in resamples.

    Args:
        evaluation: of the data set.
        dataset: `CocoDataset` of I images.
        draws: [S, I], `bootstrap.draws`.
        progress: called after every class with (classes done, classes in all).

    Raises:
        ValueError: detections.json is damaged, or is not of metrics.json.
    """
    path = evaluation.folder / names.DETECTIONS_FILE
    items = files.read_json(path)
    found = coco_rows.found(dataset, items, str(path))
    images = sure_detections.matched_images(dataset, items)
    del items  # dicts take far more memory than rows
    truth = coco_rows.truth(dataset, range(len(dataset.images)))
    weights = np.concatenate([np.ones([1, len(dataset.images)], draws.dtype), draws])
    per_class = np.full([len(weights), dataset.num_classes, 12], np.nan)
    precision = np.full([dataset.num_classes, 101], -1.0)
    labels = np.unique(truth["category_id"])
    for done, label in enumerate(labels, 1):
        scorer = coco_numbers.matched(truth, found, label)
        per_class[:, label] = weighted_numbers.of_class(scorer, weights)
        precision[label] = coco_numbers.accumulated(scorer)[0][0, :, 0, 0, -1]
        progress(done, len(labels))
    total = weighted_numbers.of_all(per_class)
    _check(path, total[0, 0], evaluation.metrics["metrics"]["AP"])
    return Scored(per_class, total, precision, images)


def _check(path: pathlib.Path, computed, stored):
    if abs(np.nan_to_num(computed, nan=-1.0) - stored) > TOLERANCE:
        raise ValueError(
            f"{path} gives an AP of {computed:.4f}, metrics.json beside it says {stored:.4f}: gfl-evaluate anew"
        )
