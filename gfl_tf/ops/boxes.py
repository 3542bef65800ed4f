"""Overlap of boxes. Boxes are [..., 4] as x1, y1, x2, y2, in any one unit."""

import tensorflow as tf

# Keeps 0 / 0 of two empty boxes finite; the reference implementation's value.
EPSILON = 1e-6


def area(boxes):
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


def iou(boxes1, boxes2):
    """Intersection over union [...] of broadcastable boxes [..., 4], box by box."""
    intersection, union = _intersection_and_union(boxes1, boxes2)
    return intersection / union


def giou(boxes1, boxes2):
    """Generalized IoU [...] of broadcastable boxes [..., 4], box by box; in (-1, 1] for boxes with x1 <= x2, y1 <= y2.

    Rezatofighi et al., "Generalized Intersection over Union", CVPR 2019, algorithm 1.
    """
    intersection, union = _intersection_and_union(boxes1, boxes2)
    top_left = tf.minimum(boxes1[..., :2], boxes2[..., :2])
    bottom_right = tf.maximum(boxes1[..., 2:], boxes2[..., 2:])
    hull = tf.maximum(area(tf.concat([top_left, bottom_right], axis=-1)), EPSILON)
    return intersection / union - (hull - union) / hull
