"""GIoU loss."""

import tensorflow as tf

from gfl_tf.ops import boxes


def giou_loss(y_true, y_pred):
    """1 - GIoU of boxes (Rezatofighi et al., CVPR 2019); the box loss of GFL, eq. 11.

    Args:
        y_true, y_pred: [..., 4] boxes, xyxy, in one unit. Degenerate boxes give a finite loss and gradient.

    Returns: float32 [...], in [0, 2) for boxes with x1 <= x2 and y1 <= y2.
    """
    return 1.0 - boxes.giou(tf.cast(y_true, tf.float32), tf.cast(y_pred, tf.float32))
