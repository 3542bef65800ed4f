"""What AP a detector would have if a part of its predictions were right at the positives (VarifocalNet, table 1).

For the positives of the evaluated images, before the candidates are chosen, the class score of the object's class, the
quality or the box is replaced by the truth; the negatives stay as they are. The paper's detector is FCOS+ATSS, whose
scores are class x centerness. Here the quality is what the head puts out: centerness or IoU of a branch, or the I of
GFLv2's J = C x I. Where class and quality are one number (GFL, VarifocalNet) there is no quality to replace or to leave
out: the rows are the paper's without centerness.
"""

import collections.abc
import typing

import numpy as np
import tensorflow as tf

from gfl_tf.data.coco import CocoDataset
from gfl_tf.detectors import training
from gfl_tf.evaluation import coco

if typing.TYPE_CHECKING:
    from gfl_tf.detectors.detector import Detector

ONE, IOU, CENTERNESS = "1", "iou", "centerness"
PREDICTED, LEFT_OUT = "", "left out"
CERTAIN = 20.0  # the logit of a score that is 1 in float32


class Oracle(typing.NamedTuple):
    """What is replaced at the positives.

    Attributes:
        name: what is replaced.
        paper: AP in percent of VarifocalNet's table 1 (FCOS+ATSS, ResNet-50, COCO val2017); None: not in there.
        class_score: of the object's class: `PREDICTED`, `ONE` or `IOU`.
        boxes: whether the boxes are the objects'.
        quality: `PREDICTED`, `IOU` or `CENTERNESS`, or `LEFT_OUT` at all places: the class score alone ranks.
    """

    name: str
    paper: float | None
    class_score: str = PREDICTED
    boxes: bool = False
    quality: str = PREDICTED


# In the order of the table, and at last what no paper has: the best that the assignment allows.
TABLE = (
    Oracle("nothing", 38.5, quality=LEFT_OUT),
    Oracle("nothing", 39.2),
    Oracle("quality: centerness", 41.1, quality=CENTERNESS),
    Oracle("quality: IoU", 43.5, quality=IOU),
    Oracle("boxes", 56.1, boxes=True, quality=LEFT_OUT),
    Oracle("boxes", 56.3, boxes=True),
    Oracle("class: 1", 43.1, class_score=ONE, quality=LEFT_OUT),
    Oracle("class: 1", 58.1, class_score=ONE),
    Oracle("class: IoU", 74.7, class_score=IOU, quality=LEFT_OUT),
    Oracle("class: IoU", 67.4, class_score=IOU),
    Oracle("class: 1, and boxes", None, class_score=ONE, boxes=True, quality=LEFT_OUT),
)


def of_model(model: "Detector") -> tuple[Oracle, ...]:
    """Those of `TABLE` that a detector can have: of joint scores the rows without quality, else all but the centerness
    of a quality that is none."""
    if not model.score.has_quality_output:
        return tuple(row for row in TABLE if row.quality == LEFT_OUT)
    return tuple(row for row in TABLE if row.quality != CENTERNESS or model.score.quality == CENTERNESS)


def detect_function(model: "Detector") -> collections.abc.Callable[..., dict[str, tf.Tensor]]:
    """A function of `substituted`'s outputs and the canvas's shape [2] to detections, as those of `Detector.detect`
    without the spread of edges: one graph for batches of all sizes and all oracles."""

    @tf.function(reduce_retracing=True, autograph=False)
    def detect(outputs, canvas_shape):
        candidates = model.candidates(outputs, canvas_shape, with_outputs=True)
        replaced = candidates["outputs"]
        boxes = tf.where(replaced["has_target_box"], replaced["target_box"], candidates["boxes"])
        return model.prediction_decoder.suppress({"boxes": boxes, "scores": candidates["scores"]})

    return detect


def substituted(outputs: dict[str, tf.Tensor], assigned: training.Assigned, oracle: Oracle) -> dict[str, tf.Tensor]:
    """Raw outputs in which the logits of class and quality are the oracle's.

    How boxes are coded is the detector's own affair, so these are replaced once they are decoded: of each place there
    are "target_box" [B, P, 4] and "has_target_box" [B, P, 1] besides.
    """
    assignment, positives = assigned.assignment, assigned.positives
    which = tf.cast(tf.where(assignment.is_positive), tf.int32)
    index = tf.stack([which[:, 0], tf.gather_nd(assignment.place, which)], axis=1)  # [K, 2]: image, place

    def truth(kind):
        """Logits [K]."""
        value = tf.ones_like(positives.iou) if kind == ONE else positives.quality(kind)
        value = tf.gather_nd(value, which)
        return tf.clip_by_value(tf.math.log(value) - tf.math.log1p(-value), -CERTAIN, CERTAIN)

    changed = dict(outputs)
    if oracle.class_score:
        at_class = tf.concat([index, tf.gather_nd(assigned.classes, which)[:, tf.newaxis]], axis=1)
        logits = truth(oracle.class_score)
        changed["classification"] = tf.tensor_scatter_nd_update(outputs["classification"], at_class, logits)
    if oracle.quality == LEFT_OUT and "quality" in outputs:
        changed["quality"] = tf.fill(tf.shape(outputs["quality"]), CERTAIN)
    elif oracle.quality in (IOU, CENTERNESS):
        logits = truth(oracle.quality)[:, tf.newaxis]
        changed["quality"] = tf.tensor_scatter_nd_update(outputs["quality"], index, logits)
    shape = tf.shape(assignment.counts)  # [B, P]
    boxes = tf.gather_nd(positives.target_boxes, which)
    has_box = tf.fill([tf.shape(index)[0], 1], int(oracle.boxes))
    changed["target_box"] = tf.scatter_nd(index, boxes, tf.concat([shape, [4]], axis=0))
    changed["has_target_box"] = tf.scatter_nd(index, has_box, tf.concat([shape, [1]], axis=0)) > 0
    return changed


def measure(
    found: collections.abc.Iterable[tuple[Oracle, coco.CocoResult]], dataset: CocoDataset, learnt: np.ndarray
) -> dict:
    """What the oracles bring.

    Args:
        found: each with the score of its detections.
        dataset: that they are of.
        learnt: int [n, 2], the objects that have positives: index of the image, and of the object in it.

    Returns a dict: "objects"; "objects_with_positives": the others no oracle can help; "rows": {"replaced", "quality":
    "used", "left out", or "none" of joint scores, "AP", "AP50", "AP75" and "paper", an AP, in 0..1}.
    """
    found = list(found)
    has_quality = any(oracle.quality != LEFT_OUT for oracle, _ in found)
    unused = LEFT_OUT if has_quality else "none"
    rows = [
        {
            "replaced": oracle.name,
            "quality": unused if oracle.quality == LEFT_OUT else "used",
            **{name: result.metrics[name] for name in ("AP", "AP50", "AP75")},
            "paper": None if oracle.paper is None else round(oracle.paper / 100, 3),
        }
        for oracle, result in found
    ]
    return {"objects": dataset.num_boxes, "objects_with_positives": len(learnt), "rows": rows}
