"""The validation images on which a detector is most wrong."""

import collections
import collections.abc
import os
import typing

import numpy as np
from pycocotools import mask

from gfl_tf.data.coco import CocoDataset

COUNT = 8
MIN_SCORE = 0.3
MIN_IOU = 0.5
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
    sure = [item for item in detections if item["score"] >= MIN_SCORE]
    for item in sorted(sure, key=lambda item: -item["score"]):
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
    """How many detections of one image, the surest first, are right and false."""
    boxes = np.concatenate([record.boxes, record.crowd_boxes]).astype(np.float64)
    classes = np.concatenate([record.classes, record.crowd_classes])
    is_crowd = np.arange(len(boxes)) >= len(record.boxes)
    if not found or not len(boxes):
        return 0, len(found)
    truth = np.concatenate([boxes[:, :2], boxes[:, 2:] - boxes[:, :2]], axis=1)
    iou = mask.iou(np.float64([item["bbox"] for item in found]), truth, is_crowd.astype(np.uint8))
    class_of = {category_id: index for index, category_id in enumerate(category_ids)}  # ids may be of several types
    iou *= classes == np.array([[class_of[item["category_id"]]] for item in found])
    free = ~is_crowd
    right = false = 0
    for overlaps in iou:
        best = np.argmax(overlaps * free)
        if overlaps[best] * free[best] >= MIN_IOU:
            free[best] = False
            right += 1
        elif not (overlaps[is_crowd] >= MIN_IOU).any():
            false += 1
    return right, false
