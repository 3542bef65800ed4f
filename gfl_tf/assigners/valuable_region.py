"""The valuable localization region (Zheng et al., "Localization Distillation", CVPR 2022, algorithm 1)."""

import tensorflow as tf

from gfl_tf.assigners.assignment import over_boxes
from gfl_tf.ops import boxes as box_ops
from gfl_tf.ops.grid import Grid


def valuable_region(boxes: tf.Tensor, classes: tf.Tensor, thresholds: tf.Tensor, grid: Grid, gamma: float) -> tf.Tensor:
    """The places near objects that can teach where the edges are, bool [B, P].

    Those whose anchor has a DIoU x with one of the boxes, gamma * a <= x <= a, where a is the IoU from which the
    assigner makes places of this box positive. As in the paper and its authors' code, positives can be among them:
    those of other boxes, and those whose IoU is above a and whose DIoU is not.

    Args:
        boxes: float32 [B, M, 4], xyxy in pixels.
        classes: int32 [B, M], -1 for padding.
        thresholds: float32 [B, M], a, from the assigner's `positive_thresholds`.
        grid: `Grid` of the images on their canvas; places outside an image's own extent do not belong to it.
        gamma: in [0, 1]; the smaller, the larger the region.
    """

    def add(index, box, exists, state):
        diou, highest = box_ops.diou(grid.places.anchors, box), thresholds[:, index, tf.newaxis]
        return (state[0] | (exists & (diou >= gamma * highest) & (diou <= highest)),)

    shape = [tf.shape(boxes)[0], grid.size]
    (region,) = over_boxes(add, boxes, classes, (tf.zeros(shape, tf.bool),))
    return region & grid.inside
