"""The detections of a data set that are sure enough to count, image by image, beside the objects that they find."""

import collections
import collections.abc
import typing

import numpy as np

from gfl_tf.data.coco import CocoDataset, ImageRecord
from gfl_tf.evaluation.matches import FALSE, MIN_IOU, Match, match

MIN_SCORE = 0.3
RULE = (
    f"Counted are detections with a score of at least {MIN_SCORE}. One is right where an object of its class, not yet "
    f"found by a surer one, overlaps it with an IoU of at least {MIN_IOU}; inside a crowd it is neither right nor "
    "false."
)


class MatchedImage(typing.NamedTuple):
    """An image and its N sure detections.

    Attributes:
        index: of the image in the data set.
        record: the image.
        found: record of `gfl_tf.detections` in pixels of the image file: "boxes" [N, 4], "classes" and "confidence".
        match: what the detections are.
    """

    index: int
    record: ImageRecord
    found: dict[str, np.ndarray]
    match: Match

    @property
    def is_right(self) -> np.ndarray:
        """bool [N], whether a detection finds an object."""
        return self.match.objects >= 0

    @property
    def is_false(self) -> np.ndarray:
        """bool [N]."""
        return self.match.objects == FALSE

    @property
    def is_missed(self) -> np.ndarray:
        """bool [objects of the image]."""
        return ~np.isin(np.arange(len(self.record.boxes)), self.match.objects)


def matched_images(
    dataset: CocoDataset, detections: collections.abc.Iterable[dict[str, typing.Any]]
) -> list[MatchedImage]:
    """All images of a data set, in its order.

    Args:
        dataset: `CocoDataset`.
        detections: of all its images, in COCO's result format; those less sure than `MIN_SCORE` are left out.
    """
    of_image = collections.defaultdict(list)
    for item in detections:
        if item["score"] >= MIN_SCORE:
            of_image[item["image_id"]].append(item)
    class_of = {category_id: index for index, category_id in enumerate(dataset.category_ids)}  # ids of several types
    images = []
    for index, record in enumerate(dataset.images):
        found = _record(of_image[record.id], class_of)
        images.append(MatchedImage(index, record, found, match(record, found)))
    return images


def _record(items, class_of):
    boxes = np.reshape([item["bbox"] for item in items], [-1, 4])
    boxes[:, 2:] += boxes[:, :2]
    classes = np.array([class_of[item["category_id"]] for item in items], int)
    return {"boxes": boxes, "classes": classes, "confidence": np.array([item["score"] for item in items], float)}
