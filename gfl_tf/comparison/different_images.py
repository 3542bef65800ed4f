"""The images on which two detectors differ most."""

import collections.abc

from gfl_tf.evaluation.sure_detections import MatchedImage
from gfl_tf.training import worst_images

COUNT = 4
Pair = tuple[MatchedImage, MatchedImage]
RULE = f"{worst_images.F1_RULE} Shown are the images on which it differs most."


def most_different(
    first: collections.abc.Sequence[MatchedImage], other: collections.abc.Sequence[MatchedImage]
) -> list[Pair]:
    """At most `COUNT` images on which the F1 of two detectors differs, those first on which it does most.

    Args:
        first, other: all images of a data set, in its order, as each detector sees them.
    """
    gaps = [abs(worst_images.mistakes(one).f1 - worst_images.mistakes(two).f1) for one, two in zip(first, other)]
    order = sorted(range(len(gaps)), key=lambda index: -gaps[index])
    return [(first[index], other[index]) for index in order[:COUNT] if gaps[index]]
