"""Boxes as deltas of anchors (Girshick et al., CVPR 2014, appendix C), divided by fixed standard deviations."""

import math

import tensorflow as tf

STDDEVS = (0.1, 0.1, 0.2, 0.2)  # of x, y, log width, log height
MAX_LOG_RATIO = math.log(1000 / 16)  # a decoded side is at most so many times the anchor's, or one so-manieth


def deltas_to_boxes(anchors, deltas):
    """Boxes [..., 4] (xyxy) from anchors [..., 4] (xyxy, sides above 0) and deltas [..., 4] (x, y, width, height)."""
    deltas *= STDDEVS
    size = anchors[..., 2:] - anchors[..., :2]
    centre = (anchors[..., :2] + anchors[..., 2:]) / 2.0 + deltas[..., :2] * size
    size *= tf.exp(tf.clip_by_value(deltas[..., 2:], -MAX_LOG_RATIO, MAX_LOG_RATIO))
    return tf.concat([centre - size / 2.0, centre + size / 2.0], axis=-1)
