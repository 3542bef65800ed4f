"""The validation images on which a detector is most wrong."""

import collections
import collections.abc
import os
import typing

import numpy as np

from gfl_tf.data.coco import CocoDataset
from gfl_tf.evaluation.matches import FALSE, MIN_IOU, match

COUNT = 8
MIN_SCORE = 0.3
DEFINITION = (
    f"Counted are detections with a score of at least {MIN_SCORE}. One is right where an object of its class, not yet "
    f"found by a surer one, overlaps it with an IoU of at least {MIN_IOU}; inside a crowd it is neither right nor "
    "false. F1 = 2 right / (2 right + false + missed); the lowest come first, and of equals the most missed."
)


def find(
    dataset: CocoDataset, detections: collections.abc.Iterable[dict[str, typing.Any]], count: int = COUNT
) -> list[dict[str, typing.Any]]:
    """The worst images with mistakes, at most `count`: {"file", "objects", "missed", "false", "f1"}; see `DEFINITION`.

    Args:
        dataset: `CocoDataset`.
        detections: of all its images, in COCO's result format.
    """
    of_image = collections.defaultdict(list)
    for item in detections:
        if item["score"] >= MIN_SCORE:
            of_image[item["image_id"]].append(item)
    found = []
    for record in dataset.images:
        right, false = _right_and_false(record, of_image[record.id], dataset.category_ids)
        objects = len(record.boxes)
        missed = objects - right
        if missed or false:
            f1 = 2 * right / (2 * right + false + missed)
            file = os.path.abspath(record.path)
            found.append({"file": file, "objects": objects, "missed": missed, "false": false, "f1": f1})
    return sorted(found, key=lambda image: (image["f1"], -image["missed"]))[:count]


def _right_and_false(record, found, category_ids):
    """How many detections of one image are right and false."""
    boxes = np.reshape([item["bbox"] for item in found], [-1, 4])
    boxes[:, 2:] += boxes[:, :2]
    class_of = {category_id: index for index, category_id in enumerate(category_ids)}  # ids may be of several types
    classes = np.array([class_of[item["category_id"]] for item in found])
    scores = np.array([item["score"] for item in found])
    objects = match(record, {"boxes": boxes, "classes": classes, "confidence": scores}).objects
    return int(np.sum(objects >= 0)), int(np.sum(objects == FALSE))
