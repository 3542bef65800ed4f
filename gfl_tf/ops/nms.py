"""Candidate selection and class-wise non-maximum suppression, from TensorFlow's own kernels."""

import tensorflow as tf


def top_points(point_scores, level_sizes, k):
    """The k best points of each level (all of a smaller level): index int32 [B, K] into the P points.

    Args:
        point_scores: [B, P], monotonic in the score; only their order matters.
        level_sizes: int32 [L], points per level.
    """
    first = 0
    indices = []
    for level in range(level_sizes.shape[0]):
        size = level_sizes[level]
        scores = point_scores[:, first : first + size]
        _, index = tf.math.top_k(scores, tf.minimum(size, k), sorted=False)
        indices.append(index + first)
        first += size
    return tf.concat(indices, axis=1)


def top_pairs(scores, level_sizes, k):
    """The k best pairs of point and class of each level (all of a smaller level): bool [B, P, C].

    Args:
        scores: [B, P, C].
        level_sizes: int32 [L], points per level.
    """
    batch_size, num_classes = tf.shape(scores)[0], tf.shape(scores)[2]
    first = 0
    indices = []
    for level in range(level_sizes.shape[0]):
        size = level_sizes[level]
        level_scores = tf.reshape(scores[:, first : first + size], [batch_size, -1])
        _, index = tf.math.top_k(level_scores, tf.minimum(size * num_classes, k), sorted=False)
        indices.append(index + first * num_classes)
        first += size
    index = tf.concat(indices, axis=1)
    image = tf.broadcast_to(tf.range(batch_size)[:, tf.newaxis], tf.shape(index))
    flat_shape = [batch_size, tf.shape(scores)[1] * num_classes]
    is_best = tf.scatter_nd(tf.stack([image, index], axis=-1), tf.ones_like(index), flat_shape) > 0
    return tf.reshape(is_best, tf.shape(scores))


def suppress(boxes, scores, score_threshold, iou_threshold, max_detections, soft_sigma=0.0, class_wise=True):
    """Non-maximum suppression of one image's candidates.

    Every (candidate, class) pair above `score_threshold` takes part.

    Args:
        boxes: float32 [K, 4], xyxy.
        scores: float32 [K, C].
        iou_threshold: overlap above which the weaker box is dropped; without effect in soft NMS.
        soft_sigma: 0 for hard NMS; otherwise the sigma of gaussian Soft-NMS (Bodla et al., ICCV 2017, eq. 2 with
            exp(-iou^2 / (2 sigma))), which lowers scores instead of dropping boxes.
        class_wise: boxes of different classes do not suppress each other.

    Returns:
        candidate: int32 [D], index into the K candidates, best first; D <= max_detections.
        classes: int32 [D].
        confidence: float32 [D], after soft decay.
    """
    pairs = tf.where(scores > score_threshold)  # [N, 2]
    candidate, classes = pairs[:, 0], pairs[:, 1]
    pair_scores = tf.gather_nd(scores, pairs)
    pair_boxes = tf.gather(boxes, candidate)
    if class_wise:
        # Moved apart by class, boxes of different classes cannot overlap, and one pass serves all classes.
        extent = tf.reduce_max(tf.concat([tf.reshape(pair_boxes, [-1]), [0.0]], axis=0)) + 1.0
        pair_boxes += tf.cast(classes, tf.float32)[:, tf.newaxis] * extent
    kept, confidence = tf.image.non_max_suppression_with_scores(
        pair_boxes,
        pair_scores,
        max_detections,
        iou_threshold=iou_threshold,
        score_threshold=score_threshold,
        soft_nms_sigma=soft_sigma,
    )
    return tf.cast(tf.gather(candidate, kept), tf.int32), tf.cast(tf.gather(classes, kept), tf.int32), confidence
