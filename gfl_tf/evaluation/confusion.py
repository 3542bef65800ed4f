"""Which classes are taken for which others."""

import collections.abc
import dataclasses
import typing

import numpy as np

from gfl_tf.evaluation.matches import MIN_IOU, match, without_classes
from gfl_tf.evaluation.sure_detections import MIN_SCORE, MatchedImage

RULE = (
    f"Detections with a score of at least {MIN_SCORE}. First each finds an object of its own class with an IoU of at "
    "least {0}, the surest first; then those that found none take, in the same order, the object of any class that is "
    "left and that they overlap most, with an IoU of at least {0}. Objects that are left are missed, detections that "
    "are left are of the background; those inside a crowd of their class are left out."
).format(MIN_IOU)


class Confusion(typing.NamedTuple):
    """So many times an object of one class, or the background, was found as another class, or missed."""

    object: str
    found_as: str
    count: int


def matrix(images: collections.abc.Iterable[MatchedImage], num_classes: int) -> np.ndarray:
    """How often an object of each class is found as each class; see `RULE`.

    Args:
        images: of a data set.
        num_classes: C.

    Returns:
        int [C + 1, C + 1]: a row for each class of objects, the last for the background; a column for each class of
        detections, the last for the objects that are missed.
    """
    counts = np.zeros([num_classes + 1] * 2, int)
    for image in images:
        true_classes, found_classes = image.record.classes, image.found["classes"]
        right = true_classes[image.match.objects[image.is_right]]
        np.add.at(counts, (right, right), 1)
        missed, false = np.flatnonzero(image.is_missed), np.flatnonzero(image.is_false)
        others = _of_any_class(image, missed, false)
        np.add.at(counts, (true_classes[missed[others[others >= 0]]], found_classes[false[others >= 0]]), 1)
        np.add.at(counts, (num_classes, found_classes[false[others < 0]]), 1)
        np.add.at(counts, (np.delete(true_classes[missed], others[others >= 0]), num_classes), 1)
    return counts


def _of_any_class(image, missed, false):
    """Which of the missed objects each false detection takes; negative: none."""
    record = dataclasses.replace(
        image.record,
        boxes=image.record.boxes[missed],
        classes=image.record.classes[missed],
        crowd_boxes=np.zeros([0, 4], np.float32),
        crowd_classes=np.zeros(0, int),
    )
    found = {name: values[false] for name, values in image.found.items()}
    return match(*without_classes(record, found)).objects


def most_frequent(counts: np.ndarray, class_names: collections.abc.Sequence[str], most: int = 10) -> list[Confusion]:
    """What goes wrong most often: the largest numbers of a `matrix` beside its diagonal, at most `most`."""
    wrong = counts * (1 - np.eye(len(counts), dtype=int))
    order = np.argsort(-wrong, axis=None, kind="stable")[:most]
    objects, found = [*class_names, "background"], [*class_names, "missed"]
    cells = zip(*np.unravel_index(order, wrong.shape))
    named = [Confusion(objects[row], found[column], int(wrong[row, column])) for row, column in cells]
    return [each for each in named if each.count]
