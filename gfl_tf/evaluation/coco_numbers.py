"""COCO's numbers of boxes in arrays, by pycocotools, class by class.

pycocotools makes dicts of all that it compares, some kilobytes for each class of each image: 5,000 images with 100
detections of many classes take gigabytes. No class needs another's, so they are scored one after the other, each on the
images that have it. The numbers are the same to the last digit.
"""

import contextlib
import io

import numpy as np
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

# A row of the truth and of what was found; the names are pycocotools'. Boxes are x, y, width, height in pixels of the
# image file. Images and classes are counted from 0, as pycocotools takes no other ids than integers.
_OF_BOTH = [
    ("id", np.int64),
    ("image_id", np.int64),
    ("category_id", np.int64),
    ("bbox", np.float64, 4),
    ("area", np.float64),
]
TRUTH = np.dtype([*_OF_BOTH, ("iscrowd", np.int64)])
FOUND = np.dtype([*_OF_BOTH, ("score", np.float64)])


def rows(dtype: np.dtype, **columns: np.ndarray) -> np.ndarray:
    """An array of `TRUTH` or `FOUND` from its columns, [n] or one value, but for `id`; `bbox` is [n, 4]."""
    made = np.zeros(len(columns["bbox"]), dtype)
    for name, column in columns.items():
        made[name] = column
    return made


def score(truth: np.ndarray, found: np.ndarray, num_classes: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The numbers of all classes.

    Args:
        truth: [n] of `TRUTH`.
        found: [m] of `FOUND`.
        num_classes: C; a class may have no row.

    Returns:
        (float64 [12], `COCOeval.stats`; float64 [C], the AP of each class; float64 [10, 101, C], the precision at each
        IoU threshold and recall, of objects of all sizes). -1: there is no such object.
    """
    of_classes = [accumulated(matched(truth, found, label)) for label in range(num_classes)]
    precision, recall = (np.concatenate(parts, axis=-3) for parts in zip(*of_classes))
    scorer = COCOeval(iouType="bbox")
    scorer.eval = {"precision": precision, "recall": recall}
    _silently(scorer.summarize)
    # [IoU threshold, recall, class, area, max detections]; the first area is "all".
    of_all_sizes = precision[:, :, :, 0, -1]
    per_class = np.array([_mean(of_all_sizes[:, :, label]) for label in range(num_classes)])
    return scorer.stats, per_class, of_all_sizes


def _mean(precision):
    known = precision[precision > -1]
    return known.mean() if known.size else -1.0


class _Scorer(COCOeval):
    """A COCOeval that keeps no more of each image than `accumulate` reads."""

    def evaluateImg(self, *args):
        matched = super().evaluateImg(*args)
        if matched is None:
            return None
        return {
            "dtScores": np.array(matched["dtScores"]),
            "dtMatches": matched["dtMatches"] > 0,
            "dtIgnore": matched["dtIgnore"],
            "gtIgnore": matched["gtIgnore"],
        }


def matched(truth: np.ndarray, found: np.ndarray, label: int) -> COCOeval:
    """A COCOeval after `evaluate`, of one class, on the images that have it: `params.imgIds`.

    Args:
        truth, found: as `score` takes them.
        label: the class.
    """
    truth, found = (_of_class(rows, label) for rows in (truth, found))
    # pycocotools adds to the truth. What was found it only reads: there rows do, in a tenth of the memory of dicts.
    truth_dicts = [dict(zip(TRUTH.names, values)) for values in zip(*(truth[name].tolist() for name in TRUTH.names))]
    scorer = _Scorer(_indexed(truth_dicts), _indexed(list(found)), "bbox")
    scorer.params.imgIds = np.union1d(truth["image_id"], found["image_id"]).tolist()
    scorer.params.catIds = [label]
    _silently(scorer.evaluate)
    return scorer


def accumulated(scorer: COCOeval) -> tuple[np.ndarray, np.ndarray]:
    """Precision [IoU thresholds, recalls, 1, areas, max detections] and recall, without recalls, of `matched`."""
    _silently(scorer.accumulate)
    return scorer.eval["precision"], scorer.eval["recall"]


def _of_class(rows, label):
    rows = rows[rows["category_id"] == label]
    rows["id"] = np.arange(1, len(rows) + 1)  # pycocotools takes a match with id 0 for no match
    return rows


def _indexed(annotations):
    coco = COCO()
    coco.dataset = {"annotations": annotations, "categories": []}
    _silently(coco.createIndex)
    return coco


def _silently(function):
    """pycocotools prints its progress."""
    with contextlib.redirect_stdout(io.StringIO()):
        function()
