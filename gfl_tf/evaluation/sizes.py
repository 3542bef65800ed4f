"""How many objects there are of each size, and how many of them are found."""

import collections.abc
import typing

import numpy as np

from gfl_tf.evaluation.sure_detections import MatchedImage

EDGES_PX = (8, 16, 32, 64, 128, 256, 512)


def recall(images: collections.abc.Iterable[MatchedImage]) -> list[dict[str, typing.Any]]:
    """[{"size", "objects", "found"}], from small to large, without empty ones at the ends.

    A size is the root of a box's area in pixels of the image file, from one of `EDGES_PX` to below the next. Found is
    an object that a sure detection of its class finds.
    """
    images = list(images)
    boxes = np.concatenate([np.zeros([0, 4]), *(image.record.boxes for image in images)])
    is_found = ~np.concatenate([np.zeros(0, bool), *(image.is_missed for image in images)])
    sides = boxes[:, 2:] - boxes[:, :2]
    bins = np.digitize(np.sqrt(sides[:, 0] * sides[:, 1]), EDGES_PX)
    objects, found = (np.bincount(bins[which], minlength=len(EDGES_PX) + 1) for which in (bins >= 0, is_found))
    between = [f"{low}-{high}" for low, high in zip(EDGES_PX, EDGES_PX[1:])]
    names = [f"< {EDGES_PX[0]}", *between, f"≥ {EDGES_PX[-1]}"]
    used = np.flatnonzero(objects)
    rows = [{"size": name, "objects": int(n), "found": int(m)} for name, n, m in zip(names, objects, found)]
    return rows[used[0] : used[-1] + 1] if len(used) else []
