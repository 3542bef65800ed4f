"""The false detections of which a detector is most sure."""

import collections.abc
import typing

import numpy as np

from gfl_tf.evaluation.sure_detections import MatchedImage


class Mistake(typing.NamedTuple):
    """Detection `row` of an image, which finds no object."""

    image: MatchedImage
    row: int


def most_confident(images: collections.abc.Iterable[MatchedImage], count: int) -> list[Mistake]:
    """Those with the highest scores, the highest first, at most `count`."""
    false = [Mistake(image, int(row)) for image in images for row in np.flatnonzero(image.is_false)]
    return sorted(false, key=lambda each: -each.image.found["confidence"][each.row])[:count]
