"""Box losses: one minus the overlap, in one of its kinds."""

import tensorflow as tf

from gfl_tf.ops import boxes


def _loss(overlap, y_true, y_pred):
    return 1.0 - overlap(tf.cast(y_true, tf.float32), tf.cast(y_pred, tf.float32))


def iou_loss(y_true: tf.Tensor, y_pred: tf.Tensor) -> tf.Tensor:
    """-log(IoU) (Yu et al., "UnitBox", ACM Multimedia 2016, algorithm 1), FCOS's first; otherwise as `giou_loss`.

    Returns: float32 [...], from 0 to -log(`gfl_tf.ops.boxes.EPSILON`), which boxes have that do not overlap, without a
        gradient.
    """
    overlap = boxes.iou(tf.cast(y_true, tf.float32), tf.cast(y_pred, tf.float32))
    return -tf.math.log(tf.maximum(overlap, boxes.EPSILON))


def giou_loss(y_true: tf.Tensor, y_pred: tf.Tensor) -> tf.Tensor:
    """1 - GIoU of boxes (Rezatofighi et al., CVPR 2019); the box loss of GFL, eq. 11.

    Args:
        y_true, y_pred: [..., 4] boxes, xyxy, in one unit. Degenerate boxes give a finite loss and gradient.

    Returns: float32 [...], in [0, 2) for boxes with x1 <= x2 and y1 <= y2.
    """
    return _loss(boxes.giou, y_true, y_pred)


def diou_loss(y_true: tf.Tensor, y_pred: tf.Tensor) -> tf.Tensor:
    """1 - DIoU (Zheng et al., "Distance-IoU Loss", AAAI 2020, eq. 7); otherwise as `giou_loss`."""
    return _loss(boxes.diou, y_true, y_pred)


def ciou_loss(y_true: tf.Tensor, y_pred: tf.Tensor) -> tf.Tensor:
    """1 - CIoU (Zheng et al., AAAI 2020, eq. 10); otherwise as `giou_loss`."""
    return _loss(boxes.ciou, y_true, y_pred)
