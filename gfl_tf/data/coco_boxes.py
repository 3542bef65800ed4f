"""The annotations of a COCO file as boxes of its images."""

import math
import typing

import numpy as np
from absl import logging

from gfl_tf.data import faults
from gfl_tf.data.coco_entries import as_float

MAX_AREA_PX2 = 1e10  # pycocotools counts no object above it


class Box(typing.NamedTuple):
    """One annotation: xyxy in pixels, clipped to the image; class index; area in pixels; whether it is a group."""

    xyxy: tuple
    label: int
    area: float
    is_crowd: bool


def by_image(
    annotations: dict[typing.Any, dict],
    images: dict[typing.Any, dict],
    categories: dict[typing.Any, dict],
    names: tuple,
    ids: tuple,
    report: typing.Any,
) -> dict[typing.Any, list[Box]]:
    """{image id: list of `Box`}, of all images.

    Args:
        annotations, images, categories: {id: entry}, checked.
        names, ids: the classes and their category ids.
        report: `LoadReport`, in which boxes are counted.

    Raises:
        ValueError: annotations of images or categories that are not in the file or among the classes; names them, see
            `gfl_tf.data.faults`.
    """
    class_of = {category_id: index for index, category_id in enumerate(ids)}
    boxes_of = {image_id: [] for image_id in images}

    def add(annotation):
        where = f"{report.source}: annotation {annotation['id']}"
        image_id, category_id = annotation["image_id"], annotation["category_id"]
        if image_id not in images:
            raise ValueError(f"{where} belongs to image {image_id!r}, which is not in the file.")
        if category_id not in categories:
            raise ValueError(f"{where} has category id {category_id!r}, which is not in the file.")
        if category_id not in class_of:
            raise ValueError(
                f"{where} is of category '{categories[category_id]['name']}' (id {category_id}), which"
                f" is not among the class names {', '.join(names)}. Add it there, or remove its"
                " annotations."
            )
        xyxy = _clipped(annotation, images[image_id], where, report)
        if xyxy is None:
            return
        is_crowd = annotation.get("iscrowd") in (1, "1")
        boxes_of[image_id].append(Box(xyxy, class_of[category_id], _area(annotation, xyxy, report), is_crowd))
        report.crowd_boxes += is_crowd
        report.boxes += not is_crowd

    faults.each(add, annotations.values())
    return boxes_of


def _clipped(annotation, image, where, report):
    """xyxy inside the image, or None where that is degenerate."""
    bbox = [as_float(value) for value in annotation["bbox"]]
    x, y, width, height = bbox
    is_box = all(map(math.isfinite, bbox)) and width > 0 and height > 0
    if is_box:
        box = (x, y, x + width, y + height)
        clipped = tuple(min(max(value, 0.0), side) for value, side in zip(box, [image["width"], image["height"]] * 2))
        # Compared in float32, as it is stored: a sliver can vanish there.
        x1, y1, x2, y2 = np.float32(clipped)
        if x2 > x1 and y2 > y1:
            report.clipped_boxes += clipped != box
            if all(0 <= value <= 1 for value in bbox):
                report.relative_annotations.append(annotation["id"])
            return clipped
    report.degenerate_annotations.append(annotation["id"])
    if is_box:
        report.outside_annotations.append(annotation["id"])
    logging.warning(
        "%s of %s has the degenerate box %s (x, y, width, height); it is skipped.",
        where,
        image["file_name"],
        annotation["bbox"],
    )
    return None


def _area(annotation, xyxy, report):
    """The annotation's own area, or that of its box."""
    area = as_float(annotation.get("area"))
    if 0 < area <= MAX_AREA_PX2:
        return area
    if annotation.get("area") is not None:
        report.replaced_areas.append(annotation["id"])
    x1, y1, x2, y2 = xyxy
    return (x2 - x1) * (y2 - y1)
