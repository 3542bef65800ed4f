"""Boxes as distances from a point to the four sides, in the order left, top, right, bottom."""

import tensorflow as tf


def distances_to_boxes(points: tf.Tensor, distances: tf.Tensor) -> tf.Tensor:
    """Boxes [..., 4] (xyxy) from points [..., 2] (x, y) and distances [..., 4], all in one unit."""
    return tf.concat([points - distances[..., :2], points + distances[..., 2:]], axis=-1)


def boxes_to_distances(points: tf.Tensor, boxes: tf.Tensor) -> tf.Tensor:
    """Distances [..., 4] from points [..., 2] to the sides of boxes [..., 4]; negative where the point is outside."""
    return tf.concat([points - boxes[..., :2], boxes[..., 2:] - points], axis=-1)
