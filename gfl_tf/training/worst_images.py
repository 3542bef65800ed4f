"""The validation images on which a detector is most wrong."""

import collections.abc
import os
import typing

from gfl_tf.data.coco import CocoDataset
from gfl_tf.evaluation import sure_detections
from gfl_tf.evaluation.sure_detections import MatchedImage

COUNT = 8
F1_RULE = f"{sure_detections.RULE} F1 = 2 right / (2 right + false + missed)."
DEFINITION = f"{F1_RULE} The lowest come first, and of equals the most missed."


class Mistakes(typing.NamedTuple):
    """How many objects an image has, how many of them are missed, how many detections are false, and F1; 1: no
    mistake."""

    objects: int
    missed: int
    false: int
    f1: float


def find(
    dataset: CocoDataset, detections: collections.abc.Iterable[dict[str, typing.Any]], count: int = COUNT
) -> list[dict[str, typing.Any]]:
    """The worst images with mistakes, at most `count`: {"file", "objects", "missed", "false", "f1"}; see `DEFINITION`.

    Args:
        dataset: `CocoDataset`.
        detections: of all its images, in COCO's result format.
    """
    worst = rank(sure_detections.matched_images(dataset, detections), count)
    return [{"file": os.path.abspath(image.record.path), **mistakes(image)._asdict()} for image in worst]


def rank(images: collections.abc.Iterable[MatchedImage], count: int = COUNT) -> list[MatchedImage]:
    """Those with mistakes, the worst first, at most `count`."""
    counted = [(mistakes(image), image) for image in images]
    wrong = [(found, image) for found, image in counted if found.missed or found.false]
    return [image for _, image in sorted(wrong, key=lambda pair: (pair[0].f1, -pair[0].missed))[:count]]


def mistakes(image: MatchedImage) -> Mistakes:
    """Those of one image."""
    objects, missed, false = len(image.record.boxes), int(image.is_missed.sum()), int(image.is_false.sum())
    right = objects - missed
    total = 2 * right + false + missed
    return Mistakes(objects, missed, false, 2 * right / total if total else 1.0)
