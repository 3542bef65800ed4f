"""Variance voting (He et al., "Bounding Box Regression with Uncertainty for Accurate Object Detection", CVPR 2019)."""

import tensorflow as tf

# No edge is taken to be surer; a variance of 0 would have an infinite weight.
MIN_STDDEV_PX = 1e-3


def vote(boxes: tf.Tensor, candidates: tf.Tensor, stddev: tf.Tensor, is_of_class: tf.Tensor, sigma: float) -> tf.Tensor:
    """Boxes [..., D, 4] whose sides are means over the candidates around them, the surest counting most.

    Section 3.3 of the paper: each side x of a box becomes sum(p_k x_k / s_k^2) / sum(p_k / s_k^2) over the candidates k
    of its class that overlap it, the box itself among them. s_k: standard deviation of the candidate's side; p_k =
    exp(-(1 - IoU)^2 / `sigma`). A box that overlaps none stays as it is.

    Args:
        boxes: float32 [..., D, 4], xyxy.
        candidates: float32 [..., K, 4], likewise.
        stddev: float32 [..., K, 4], of their left, top, right and bottom side, in the same unit.
        is_of_class: bool [..., D, K], which candidates have a box's class.
        sigma: above 0; the larger, the more do boxes count that overlap less.
    """
    iou = _iou(boxes, candidates)  # [..., D, K]
    overlap = tf.exp(-tf.square(1.0 - iou) / sigma) * tf.cast(is_of_class & (iou > 0.0), tf.float32)
    precision = 1.0 / tf.square(tf.maximum(stddev, MIN_STDDEV_PX))
    voted = []
    for side in range(4):
        # Not by `tf.matmul`, which GPUs compute with 10 bits of the mantissa: a pixel of a thousand.
        weights = overlap * precision[..., tf.newaxis, :, side]
        total = tf.reduce_sum(weights, axis=-1)
        mean = tf.reduce_sum(weights * candidates[..., tf.newaxis, :, side], axis=-1) / total
        voted.append(tf.where(total > 0.0, mean, boxes[..., side]))
    return tf.stack(voted, axis=-1)


def _iou(boxes, candidates):
    """[..., D, K]."""
    # Not `boxes.iou`: side by side its slices of [..., D, K, 4] take several times as long.
    x1, y1, x2, y2 = (boxes[..., side, tf.newaxis] for side in range(4))
    left, top, right, bottom = (candidates[..., tf.newaxis, :, side] for side in range(4))
    width = tf.maximum(tf.minimum(x2, right) - tf.maximum(x1, left), 0.0)
    height = tf.maximum(tf.minimum(y2, bottom) - tf.maximum(y1, top), 0.0)
    intersection = width * height
    union = (x2 - x1) * (y2 - y1) + (right - left) * (bottom - top) - intersection
    return tf.math.divide_no_nan(intersection, union)
