"""Boxes as deltas of anchors (Girshick et al., CVPR 2014, appendix C), divided by fixed standard deviations."""

import math

import tensorflow as tf

MAX_LOG_RATIO = math.log(1000 / 16)  # a decoded side is at most so many times the anchor's, or one so-manieth
MIN_SIDE_PX = 1e-3  # of a box that is encoded


def deltas_to_boxes(anchors: tf.Tensor, deltas: tf.Tensor, stddevs: tuple[float, ...]) -> tf.Tensor:
    """Boxes [..., 4] (xyxy) from anchors [..., 4] (xyxy, sides above 0) and deltas [..., 4] (x, y, width, height).

    `stddevs`: 4 numbers, of x, y, log width and log height.
    """
    deltas = tf.multiply(deltas, stddevs)  # not `deltas *= stddevs`: that would change an array of the caller's
    size = anchors[..., 2:] - anchors[..., :2]
    centre = (anchors[..., :2] + anchors[..., 2:]) / 2.0 + deltas[..., :2] * size
    size = size * tf.exp(tf.clip_by_value(deltas[..., 2:], -MAX_LOG_RATIO, MAX_LOG_RATIO))
    return tf.concat([centre - size / 2.0, centre + size / 2.0], axis=-1)


def boxes_to_deltas(anchors: tf.Tensor, boxes: tf.Tensor, stddevs: tuple[float, ...]) -> tf.Tensor:
    """The deltas [..., 4] that `deltas_to_boxes` takes to these boxes [..., 4]."""
    size = anchors[..., 2:] - anchors[..., :2]
    shift = (boxes[..., :2] + boxes[..., 2:] - anchors[..., :2] - anchors[..., 2:]) / 2.0 / size
    box_size = tf.maximum(boxes[..., 2:] - boxes[..., :2], MIN_SIDE_PX)
    return tf.concat([shift, tf.math.log(box_size / size)], axis=-1) / stddevs
