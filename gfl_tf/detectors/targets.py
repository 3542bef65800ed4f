"""From an assignment to the class targets and losses of all points, and what these are divided by in a batch."""

import tensorflow as tf

from gfl_tf.ops import points as point_ops


def at_points(values, assignment, classes, shape):
    """Class targets [B, P, C] (`shape`): `values` [B, N] at each assigned point and its box's class, 0 elsewhere.

    Args:
        values: 0 where the assignment is not positive.
        classes: int32 [B, M], -1 for padding.
    """
    point_class = tf.maximum(tf.gather(classes, assignment.box, batch_dims=1), 0)  # [B, N]
    image = tf.broadcast_to(tf.range(shape[0])[:, tf.newaxis], tf.shape(values))
    return tf.scatter_nd(tf.stack([image, assignment.point, point_class], axis=-1), values, shape)


def point_losses(classification_loss, class_targets, logits):
    """[B, P] of a Keras loss that gives [B, P] or [B, P, C] before its reduction, of targets and logits [B, P, C]."""
    loss = classification_loss.call(class_targets, logits)
    return loss if loss.shape.rank == 2 else tf.reduce_sum(loss, axis=-1)


def is_inside(image_shape, canvas_shape):
    """float32 [B, P], 1 at points inside each image's own extent, rounded up to 32 as the reference pads an image."""
    divisor = point_ops.SIZE_DIVISOR
    padded = tf.cast(-(-image_shape // divisor) * divisor, tf.float32)  # [B, 2] height, width
    points_px, _ = point_ops.grid_points(canvas_shape)
    return tf.cast(tf.reduce_all(points_px < padded[:, tf.newaxis, ::-1], axis=-1), tf.float32)


def positives_norm(assignment):
    """Number of positives of all replicas, an image without any counting as one, as in the reference."""
    per_image = tf.reduce_sum(tf.cast(assignment.is_positive, tf.float32), axis=1)
    return sum_over_replicas(tf.reduce_sum(tf.maximum(per_image, 1.0)))


def sum_over_replicas(value):
    """Sum of a tensor over the replicas of the current strategy."""
    context = tf.distribute.get_replica_context()
    if context is None or context.num_replicas_in_sync == 1:
        return value
    return context.all_reduce(tf.distribute.ReduceOp.SUM, value)
