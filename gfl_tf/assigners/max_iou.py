"""RetinaNet's assignment (Lin et al., ICCV 2017, section 4): an anchor learns the box that it overlaps most."""

import tensorflow as tf

from gfl_tf.assigners.assignment import Assignment, of_all_places, over_boxes
from gfl_tf.ops import boxes as box_ops
from gfl_tf.ops.grid import Grid
from gfl_tf.parts import check_fields, part
from gfl_tf.rules import SHARE


@part
class MaxIoUAssigner:
    """An anchor is positive from an IoU of `positive_iou` on, negative below `negative_iou`, and left out in between.

    The anchors that overlap a box best of all are positive for it whatever their IoU, as in the reference.

    Attributes:
        positive_iou: from this IoU on an anchor is positive.
        negative_iou: below this IoU it is negative; in between it is left out.
    """

    positive_iou: float = 0.5
    negative_iou: float = 0.4

    def __post_init__(self):
        check_fields(self, {"positive_iou": SHARE, "negative_iou": SHARE})
        if not 0 < self.negative_iou <= self.positive_iou <= 1:
            raise ValueError(
                f"negative_iou is {self.negative_iou} and positive_iou {self.positive_iou}; 0 < negative_iou <= "
                "positive_iou <= 1 is needed"
            )

    def __call__(
        self, boxes: tf.Tensor, classes: tf.Tensor, grid: Grid, predictions: dict[str, tf.Tensor] | None = None
    ) -> Assignment:
        """Arguments and result as of `ATSSAssigner`."""

        def compare(index, box, exists, state):
            best, owner, of_best_anchor = state
            iou = tf.where(grid.inside & exists, box_ops.iou(grid.places.anchors, box), 0.0)  # [B, P]
            highest = tf.reduce_max(iou, axis=1, keepdims=True)
            is_best_anchor = (iou == highest) & (highest > 0)
            is_better = iou > best  # of equals the first box
            return (
                tf.where(is_better, iou, best),
                tf.where(is_better, index, owner),
                tf.where(is_best_anchor, index, of_best_anchor),  # of several boxes the last, as in the reference
            )

        shape = [tf.shape(boxes)[0], grid.size]
        start = tf.zeros(shape), tf.zeros(shape, tf.int32), tf.fill(shape, -1)
        best, owner, of_best_anchor = over_boxes(compare, boxes, classes, start)
        is_positive = (best >= self.positive_iou) | (of_best_anchor >= 0)
        owner = tf.where(of_best_anchor >= 0, of_best_anchor, owner)
        return of_all_places(owner, is_positive, (is_positive | (best < self.negative_iou)) & grid.inside)

    def positive_thresholds(self, boxes: tf.Tensor, grid: Grid) -> tf.Tensor:
        """As `ATSSAssigner`'s; the best anchors are positive below it, too."""
        return tf.fill(tf.shape(boxes)[:2], self.positive_iou)
