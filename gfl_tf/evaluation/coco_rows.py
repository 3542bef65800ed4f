"""A data set's objects, and detections in COCO's result format, as the arrays that `coco_numbers` scores."""

import collections.abc
import typing

import numpy as np

from gfl_tf.data.coco import CocoDataset
from gfl_tf.evaluation import coco_numbers


def truth(dataset: CocoDataset, indices: collections.abc.Iterable[int]) -> np.ndarray:
    """`coco_numbers.TRUTH` of the images with these indices in a data set; crowds are among it."""
    parts = [np.zeros(0, coco_numbers.TRUTH)]
    for index in indices:
        record = dataset.images[index]
        crowd_sides = record.crowd_boxes[:, 2:] - record.crowd_boxes[:, :2]
        for boxes, classes, areas, is_crowd in (
            (record.boxes, record.classes, record.areas, 0),
            (record.crowd_boxes, record.crowd_classes, crowd_sides.prod(axis=1), 1),
        ):
            boxes = boxes.astype(np.float64)
            xywh = np.concatenate([boxes[:, :2], boxes[:, 2:] - boxes[:, :2]], axis=1)
            parts.append(
                coco_numbers.rows(
                    coco_numbers.TRUTH, image_id=index, category_id=classes, bbox=xywh, area=areas, iscrowd=is_crowd
                )
            )
    return np.concatenate(parts)


def found(
    dataset: CocoDataset, items: collections.abc.Sequence[dict[str, typing.Any]], source: str = "detections"
) -> np.ndarray:
    """`coco_numbers.FOUND` of detections in COCO's result format, such as gfl-evaluate writes.

    Args:
        dataset: that they were made of.
        items: with "image_id", "category_id", "bbox" and "score".
        source: how the error names them.

    Raises:
        ValueError: an item lacks a value, or its image or category is not in the data set.
    """
    image_of = {record.id: index for index, record in enumerate(dataset.images)}  # ids may be of several types
    class_of = {category_id: label for label, category_id in enumerate(dataset.category_ids)}
    try:
        columns = {
            "image_id": [image_of[item["image_id"]] for item in items],
            "category_id": [class_of[item["category_id"]] for item in items],
            "bbox": np.reshape([item["bbox"] for item in items], [-1, 4]),
            "score": [item["score"] for item in items],
        }
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{source} cannot be used: {error!r}") from error
    columns["area"] = columns["bbox"][:, 2:].prod(axis=1)
    return coco_numbers.rows(coco_numbers.FOUND, **columns)
