"""Boxes that are left out, changed, twice there or too small."""

import math
import typing

import numpy as np
from pycocotools import mask

from gfl_tf.data import batching
from gfl_tf.data.coco import CocoDataset
from gfl_tf.data.coco_entries import as_float
from gfl_tf.dataset_check.findings import Example, Finding, finding
from gfl_tf.dataset_check.loading import Split

CLIPPED_PX = 1.0  # by which a box must leave its image to be named: less is rounding
TINY_PX = 2.0
DUPLICATE_IOU = 0.95


class Boxes(typing.NamedTuple):
    """All N boxes of a data set, without crowds.

    image: int [N], index of the image; classes: int [N]; xyxy: float32 [N, 4] in pixels of the file;
    resized: the same after the resize.
    """

    image: np.ndarray
    classes: np.ndarray
    xyxy: np.ndarray
    resized: np.ndarray

    @property
    def sides(self) -> np.ndarray:
        """Width and height after the resize, [N, 2] in pixels."""
        return self.resized[:, 2:] - self.resized[:, :2]


def all_boxes(dataset: CocoDataset, scale: tuple[int, int]) -> Boxes:
    """The `Boxes` of a data set whose images are resized to `scale`, (long, short) limits in pixels."""
    sizes = np.array([(record.height, record.width) for record in dataset.images])
    factors = (batching.keep_ratio_sizes(sizes, scale) / sizes)[:, [1, 0, 1, 0]]
    image = np.repeat(np.arange(len(sizes)), [len(record.boxes) for record in dataset.images])
    xyxy = np.concatenate([record.boxes for record in dataset.images])
    classes = np.concatenate([record.classes for record in dataset.images])
    return Boxes(image, classes, xyxy, xyxy * factors[image].astype(np.float32))


def of_annotations(split: Split) -> list[Finding]:
    """Findings of annotations as the file has them, before boxes are left out and clipped."""
    report = split.dataset.report
    records = {record.id: record for record in (*split.dataset.images, *report.bad_images)}
    entries = {entry["id"]: entry for entry in split.content["annotations"] or []}
    lost, outside = set(report.degenerate_annotations), set(report.outside_annotations)
    kept = [entry for entry in entries.values() if entry["id"] not in lost]
    overhangs = [(_overhang(entry, records[entry["image_id"]]), entry) for entry in kept]
    clipped = sorted((each for each in overhangs if each[0] > CLIPPED_PX), key=lambda each: -each[0])

    def named(ids):
        return [_example(entries[each], records[entries[each]["image_id"]]) for each in ids]

    return [
        *finding(
            "degenerate_box", split.name, named(each for each in report.degenerate_annotations if each not in outside)
        ),
        *finding("outside_box", split.name, named(report.outside_annotations)),
        *finding("relative_box", split.name, named(report.relative_annotations)),
        *finding(
            "clipped_box",
            split.name,
            [_example(entry, records[entry["image_id"]], f", {px:.1f} px outside") for px, entry in clipped],
        ),
        *finding("replaced_area", split.name, named(report.replaced_areas)),
        *finding("crowd_box", split.name, named(entry["id"] for entry in kept if entry.get("iscrowd") in (1, "1"))),
    ]


def _corners(entry):
    x, y, width, height = map(as_float, entry["bbox"])
    return x, y, x + width, y + height


def _overhang(entry, record):
    """Pixels by which a box leaves its image."""
    x1, y1, x2, y2 = _corners(entry)
    return max(-x1, -y1, x2 - record.width, y2 - record.height, 0.0)


def _example(entry, record, what=""):
    box = ", ".join(f"{as_float(value):g}" for value in entry["bbox"])
    text = f"annotation {entry['id']} of {record.path}: x, y, width, height {box}{what}"
    corners = _corners(entry)
    return Example(text, record.path, corners if all(map(math.isfinite, corners)) else ())


def tiny(split: Split, boxes: Boxes) -> list[Finding]:
    """Boxes with a side below `TINY_PX` after the resize, the smallest first."""
    shorter = boxes.sides.min(axis=1)
    order = np.argsort(shorter, kind="stable")[: np.count_nonzero(shorter < TINY_PX)]
    return finding(
        "tiny_box", split.name, [_of(split, boxes, i, f"{shorter[i]:.2f} px after the resize") for i in order]
    )


def duplicates(split: Split, boxes: Boxes) -> list[Finding]:
    """Boxes of the same image and class as one before them, with an IoU above `DUPLICATE_IOU`."""
    found, xyxy = [], boxes.xyxy.astype(np.float64)
    xywh = np.concatenate([xyxy[:, :2], xyxy[:, 2:] - xyxy[:, :2]], axis=1)
    starts = np.searchsorted(boxes.image, np.arange(len(split.dataset.images) + 1))
    for start, end in zip(starts, starts[1:]):
        if end - start > 1:
            iou = mask.iou(xywh[start:end], xywh[start:end], np.zeros(end - start, np.uint8))
            iou *= boxes.classes[start:end, None] == boxes.classes[start:end]
            highest = np.tril(iou, -1).max(axis=1)
            found += [(highest[i], start + i) for i in np.flatnonzero(highest > DUPLICATE_IOU)]
    found.sort(key=lambda item: -item[0])
    return finding("duplicate_box", split.name, [_of(split, boxes, i, f"IoU {iou:.3f}") for iou, i in found])


def _of(split, boxes, index, what):
    record = split.dataset.images[boxes.image[index]]
    name = split.dataset.class_names[boxes.classes[index]]
    x1, y1, x2, y2 = box = tuple(map(float, boxes.xyxy[index]))
    text = f"{name} in {record.path}: x, y, width, height {x1:g}, {y1:g}, {x2 - x1:g}, {y2 - y1:g}; {what}"
    return Example(text, record.path, box)
