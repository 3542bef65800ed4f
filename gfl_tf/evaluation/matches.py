"""Detections beside the objects that they find, over a data set: what the trust in edges and scores is measured on."""

import collections
import dataclasses
import typing

import numpy as np
from pycocotools import mask

from gfl_tf import detections
from gfl_tf.data.coco import ImageRecord

MIN_IOU = 0.5
FALSE, IN_CROWD = -1, -2  # in the place of an object
RULE = (
    f"A detection finds an object of its class that it overlaps with an IoU of at least {MIN_IOU}, the one that it "
    "overlaps most of those that no surer detection found."
)


class Match(typing.NamedTuple):
    """What N detections of an image are.

    Attributes:
        objects: int [N], index of the object that each finds, `FALSE`, or `IN_CROWD`: neither right nor false.
        iou: float64 [N], with the best object of its class, whether found by a surer one or not; 0 where there is none.
    """

    objects: np.ndarray
    iou: np.ndarray


def match(record: ImageRecord, found: dict[str, np.ndarray], min_iou: float = MIN_IOU) -> Match:
    """The surest detection first, each finds that object of its class, not yet found, that it overlaps most.

    Args:
        record: `ImageRecord`.
        found: record of `gfl_tf.detections`: "boxes" [N, 4] in pixels of the image file, "classes" and "confidence".
        min_iou: overlap that it takes at least.
    """
    count, num_objects = len(found["boxes"]), len(record.boxes)
    objects, best = np.full(count, FALSE), np.zeros(count)
    truth = np.concatenate([record.boxes, record.crowd_boxes])
    if not count or not len(truth):
        return Match(objects, best)
    is_crowd = np.arange(len(truth)) >= num_objects
    overlap = iou(found["boxes"], truth, is_crowd)
    overlap *= np.concatenate([record.classes, record.crowd_classes]) == np.reshape(found["classes"], [-1, 1])
    best = overlap[:, :num_objects].max(axis=1, initial=0.0)
    free = ~is_crowd
    for index in np.argsort(-np.asarray(found["confidence"]), kind="stable"):
        overlaps = overlap[index] * free
        chosen = np.argmax(overlaps)
        if overlaps[chosen] >= min_iou:
            objects[index] = chosen
            free[chosen] = False
        elif (overlap[index, is_crowd] >= min_iou).any():
            objects[index] = IN_CROWD
    return Match(objects, best)


def without_classes(record: ImageRecord, found: dict[str, np.ndarray]) -> tuple[ImageRecord, dict[str, np.ndarray]]:
    """An image and its detections as if all were of one class: what `match` takes to pair them whatever their class."""
    classes, crowd_classes = np.zeros_like(record.classes), np.zeros_like(record.crowd_classes)
    record = dataclasses.replace(record, classes=classes, crowd_classes=crowd_classes)
    return record, {**found, "classes": np.zeros_like(found["classes"])}


def iou(boxes: np.ndarray, others: np.ndarray, is_crowd: np.ndarray | None = None) -> np.ndarray:
    """float64 [N, M], of boxes xyxy; with others of which `is_crowd` [M] is true: the share of the box inside them."""
    if not len(boxes) or not len(others):
        return np.zeros([len(boxes), len(others)])
    is_crowd = np.zeros(len(others)) if is_crowd is None else is_crowd
    return mask.iou(_xywh(boxes), _xywh(others), np.asarray(is_crowd, np.uint8))


def _xywh(boxes):
    boxes = np.asarray(boxes, np.float64).reshape(-1, 4)
    # pycocotools reads the memory row by row, whatever the array's order is.
    return np.ascontiguousarray(np.concatenate([boxes[:, :2], boxes[:, 2:] - boxes[:, :2]], axis=1))


@dataclasses.dataclass(frozen=True)
class MatchedEdges:
    """N detections that find an object, lengths in pixels of the network's input; sides are left, top, right, bottom.

    Attributes:
        boxes, truth: float64 [N, 4], of the detection and of the object, xyxy.
        stddev: float64 [N, 4], "edge_stddev".
        scores, iou, classes: [N].
        images: int [N], which image of the data set each is in.
        strides: float64 [N], of the level that each was made at, in pixels.
        edge_interval, box_interval: float64 [N, L, 4], of a calibrated detector; else [N, 0, 4].
    """

    boxes: np.ndarray
    truth: np.ndarray
    stddev: np.ndarray
    scores: np.ndarray
    iou: np.ndarray
    classes: np.ndarray
    images: np.ndarray
    strides: np.ndarray
    edge_interval: np.ndarray
    box_interval: np.ndarray

    def __len__(self) -> int:
        return len(self.boxes)

    @property
    def errors(self) -> np.ndarray:
        """[N, 4], how far each side is from the object's; not negative."""
        return np.abs(self.boxes - self.truth)

    @property
    def lengths(self) -> np.ndarray:
        """[N, 4], the detection's extent across each side: width, height, width, height."""
        return np.tile(self.boxes[:, 2:] - self.boxes[:, :2], 2)

    @property
    def sizes(self) -> np.ndarray:
        """[N], root of the detection's area."""
        return np.sqrt(self.lengths[:, 0] * self.lengths[:, 1])

    def where(self, which: np.ndarray) -> "MatchedEdges":
        """Those that a mask or an index picks."""
        return MatchedEdges(*(getattr(self, field.name)[which] for field in dataclasses.fields(self)))


class ScoredDetections(typing.NamedTuple):
    """All D detections but those inside crowds.

    Attributes:
        scores: float64 [D].
        iou: float64 [D], with the best object of its class; 0 where there is none.
        is_right: bool [D], whether it finds an object.
    """

    scores: np.ndarray
    iou: np.ndarray
    is_right: np.ndarray


class Matches:
    """Collects the detections of a data set's images."""

    def __init__(self):
        self._edges = collections.defaultdict(list)
        self._scored = collections.defaultdict(list)

    def add(self, index: int, record: ImageRecord, found: dict[str, np.ndarray], shape: tuple[int, int]) -> None:
        """Adds an image; what `coco.evaluate` calls for each.

        Args:
            index: of the image in the data set.
            record: the image.
            found: record of `gfl_tf.detections` in pixels of the image file, and "point_strides" [N].
            shape: (height, width) of the resized image in the network's input.
        """
        objects, iou = match(record, found)
        counted = objects != IN_CROWD
        values = {"scores": found["confidence"][counted], "iou": iou[counted], "is_right": objects[counted] != FALSE}
        for name, value in values.items():
            self._scored[name].append(value)
        if "edge_stddev" not in found:
            return
        factor = np.array([shape[1] / record.width, shape[0] / record.height] * 2)
        chosen = detections.scaled(detections.select(found, objects >= 0), factor)
        truth = record.boxes[objects[objects >= 0]] * factor
        nothing = np.zeros([len(truth), 0, 4])
        values = {
            "boxes": chosen["boxes"],
            "truth": truth,
            "stddev": chosen["edge_stddev"],
            "scores": chosen["confidence"],
            "iou": iou[objects >= 0],
            "classes": chosen["classes"].astype(int),
            "images": np.full(len(truth), index),
            "strides": chosen["point_strides"],
            "edge_interval": chosen.get("edge_interval", nothing),
            "box_interval": chosen.get("box_interval", nothing),
        }
        for name, value in values.items():
            self._edges[name].append(np.asarray(value, np.float64 if np.asarray(value).dtype.kind == "f" else int))

    def scored(self) -> ScoredDetections:
        return ScoredDetections(**{name: np.concatenate(values) for name, values in self._scored.items()})

    def edges(self) -> MatchedEdges | None:
        """None: the detector states no spread."""
        if not self._edges:
            return None
        return MatchedEdges(**{name: np.concatenate(values) for name, values in self._edges.items()})
