"""Overlap of boxes. Boxes are [..., 4] as x1, y1, x2, y2, in any one unit."""

import math

import tensorflow as tf

# Keeps 0 / 0 of two empty boxes finite; the reference implementation's value.
EPSILON = 1e-6


def area(boxes: tf.Tensor) -> tf.Tensor:
    """Areas [...] of boxes [..., 4]; 0 where x2 < x1 or y2 < y1."""
    x1, y1, x2, y2 = tf.unstack(boxes, axis=-1)
    return tf.maximum(x2 - x1, 0.0) * tf.maximum(y2 - y1, 0.0)


def _signed_area(boxes):
    """As `area`, but negative for boxes turned inside out on one axis: what the reference does with them."""
    x1, y1, x2, y2 = tf.unstack(boxes, axis=-1)
    return (x2 - x1) * (y2 - y1)


def _intersection_and_union(boxes1, boxes2):
    top_left = tf.maximum(boxes1[..., :2], boxes2[..., :2])
    bottom_right = tf.minimum(boxes1[..., 2:], boxes2[..., 2:])
    intersection = area(tf.concat([top_left, bottom_right], axis=-1))
    union = _signed_area(boxes1) + _signed_area(boxes2) - intersection
    return intersection, tf.maximum(union, EPSILON)


def iou(boxes1: tf.Tensor, boxes2: tf.Tensor) -> tf.Tensor:
    """Intersection over union [...] of broadcastable boxes [..., 4], box by box."""
    intersection, union = _intersection_and_union(boxes1, boxes2)
    return intersection / union


def giou(boxes1: tf.Tensor, boxes2: tf.Tensor) -> tf.Tensor:
    """Generalized IoU [...] of broadcastable boxes [..., 4], box by box; in (-1, 1] for boxes with x1 <= x2, y1 <= y2.

    Rezatofighi et al., "Generalized Intersection over Union", CVPR 2019, algorithm 1.
    """
    intersection, union = _intersection_and_union(boxes1, boxes2)
    hull = tf.maximum(area(_hull(boxes1, boxes2)), EPSILON)
    return intersection / union - (hull - union) / hull


def diou(boxes1: tf.Tensor, boxes2: tf.Tensor) -> tf.Tensor:
    """Distance IoU [...] (Zheng et al., "Distance-IoU Loss", AAAI 2020): IoU - d^2 / c^2, in (-1, 1].

    d: distance of the centres; c: diagonal of the smallest box around both.
    """
    hull = _hull(boxes1, boxes2)
    diagonal = tf.reduce_sum(tf.square(hull[..., 2:] - hull[..., :2]), axis=-1)
    shift = (boxes1[..., :2] + boxes1[..., 2:] - boxes2[..., :2] - boxes2[..., 2:]) / 2.0
    return iou(boxes1, boxes2) - tf.reduce_sum(tf.square(shift), axis=-1) / tf.maximum(diagonal, EPSILON)


def ciou(boxes1: tf.Tensor, boxes2: tf.Tensor) -> tf.Tensor:
    """Complete IoU [...] (Zheng et al., AAAI 2020, eqs. 8 to 11): DIoU - alpha v.

    v = 4 / pi^2 (arctan(w1 / h1) - arctan(w2 / h2))^2, alpha = v / (1 - IoU + v), without gradient.
    """
    v = 4.0 / math.pi**2 * tf.square(_angle(boxes1) - _angle(boxes2))
    alpha = tf.stop_gradient(v / tf.maximum(1.0 - iou(boxes1, boxes2) + v, EPSILON))
    return diou(boxes1, boxes2) - alpha * v


def _angle(boxes):
    """arctan(width / height) [...]."""
    width, height = tf.unstack(tf.maximum(boxes[..., 2:] - boxes[..., :2], EPSILON), axis=-1)
    return tf.atan2(width, height)


def _hull(boxes1, boxes2):
    """The smallest boxes [..., 4] around two."""
    top_left, bottom_right = tf.minimum(boxes1[..., :2], boxes2[..., :2]), tf.maximum(boxes1[..., 2:], boxes2[..., 2:])
    return tf.concat([top_left, bottom_right], axis=-1)
