"""How large, how oblong and how many the boxes are."""

import typing

import numpy as np

from gfl_tf.dataset_check import classes
from gfl_tf.dataset_check.boxes import Boxes
from gfl_tf.dataset_check.loading import Split

SIZES_PX = (4, 8, 16, 32, 64, 128, 256, 512)
ASPECTS = (0.125, 0.25, 0.5, 0.8, 1.25, 2, 4, 8)
NUMBERS = (1, 2, 4, 8, 16, 32, 64, 128)  # of boxes in an image


class Histogram(typing.NamedTuple):
    """A title, the split, and (label, count) of each bar."""

    title: str
    split: str
    bars: list


def of(split: Split, boxes: Boxes) -> list[Histogram]:
    """Those of one split."""
    width, height = boxes.sides.T
    per_image = [len(record.boxes) for record in split.dataset.images]
    per_class = zip(split.dataset.class_names, classes.counts(split.dataset).tolist())
    return [
        _histogram("box size: square root of the area after the resize, px", split, np.sqrt(width * height), SIZES_PX),
        _histogram("aspect: width / height", split, width / height, ASPECTS),
        _histogram("boxes in an image", split, per_image, NUMBERS, _whole_numbers),
        Histogram("boxes of a class", split.name, sorted(per_class, key=lambda bar: -bar[1])),
    ]


def _numbers(low, high):
    return f"{low:g} to below {high:g}"


def _whole_numbers(low, high):
    return str(low) if high == low + 1 else f"{low} to {high - 1}"


def _histogram(title, split, values, edges, label=_numbers):
    """Bars from each edge up to the next, and those below and above all; without empty ones at the ends."""
    counts = np.bincount(np.digitize(values, edges), minlength=len(edges) + 1).tolist()
    labels = [label(low, high) for low, high in zip(edges, edges[1:])]
    bars = list(zip([f"below {edges[0]:g}", *labels, f"{edges[-1]:g} and more"], counts))
    used = np.flatnonzero(counts)
    return Histogram(title, split.name, bars[used[0] : used[-1] + 1] if len(used) else [])
