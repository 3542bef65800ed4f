"""GIoU loss."""

import tensorflow as tf

from gfl_tf.ops import boxes


def giou_loss(y_true, y_pred):
    """1 - GIoU of boxes, in [0, 2) (Rezatofighi et al., CVPR 2019); the box loss of GFL, eq. 11.

    Args:
        y_true, y_pred: [..., 4] boxes, xyxy, in one unit. Degenerate boxes (no area) give a finite loss and gradient.

    Returns: float32 [...].
    """
    return 1.0 - boxes.giou(tf.cast(y_true, tf.float32), tf.cast(y_pred, tf.float32))
