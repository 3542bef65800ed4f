"""Candidate selection and class-wise non-maximum suppression, hard and soft, in stock TensorFlow operations."""

import collections.abc

import tensorflow as tf

# Score of a box that soft-NMS has taken: whatever decays it, it stays below the minimum score, which is above 0.
TAKEN = -1.0


def top_points(point_scores: tf.Tensor, level_sizes: tf.Tensor, k: int) -> tf.Tensor:
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


def top_pairs(scores: tf.Tensor, level_sizes: tf.Tensor, k: int) -> tf.Tensor:
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


def suppress(
    boxes: tf.Tensor,
    scores: tf.Tensor,
    select: collections.abc.Callable[[tf.Tensor, tf.Tensor], tuple[tf.Tensor, tf.Tensor]],
    class_wise: bool = True,
) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """Non-maximum suppression of one image's candidates.

    Every (candidate, class) pair with a score above 0 takes part.

    Args:
        boxes: float32 [K, 4], xyxy, not below 0.
        scores: float32 [K, C].
        select: function of the pairs' boxes [N, 4] and scores [N] that returns index and confidence of the final
            detections, best first: `hard` or `soft` with their settings.
        class_wise: boxes of different classes do not suppress each other.

    Returns:
        candidate: int32 [D], index into the K candidates, best first.
        classes: int32 [D].
        confidence: float32 [D].
    """
    pairs = tf.where(scores > 0.0)  # [N, 2]
    candidate, classes = pairs[:, 0], pairs[:, 1]
    pair_boxes = tf.gather(boxes, candidate)
    if class_wise:
        # Moved apart by class, boxes of different classes cannot overlap, and one pass serves all classes.
        extent = tf.reduce_max(tf.concat([tf.reshape(pair_boxes, [-1]), [0.0]], axis=0)) + 1.0
        pair_boxes += tf.cast(classes, tf.float32)[:, tf.newaxis] * extent
    kept, confidence = select(pair_boxes, tf.gather_nd(scores, pairs))
    return tf.cast(tf.gather(candidate, kept), tf.int32), tf.cast(tf.gather(classes, kept), tf.int32), confidence


def hard(boxes: tf.Tensor, scores: tf.Tensor, iou_threshold: float, max_detections: int) -> tuple[tf.Tensor, tf.Tensor]:
    """Index int32 [D] and score [D] of the boxes that no better kept box overlaps by more than `iou_threshold`.

    Args:
        boxes: float32 [N, 4], xyxy.
        scores: float32 [N], above 0.
        max_detections: D at most.
    """
    # By its count, as TensorFlow Lite pads to `max_detections`, and above 0, as its quantization knows no infinity.
    index, kept_scores, count = tf.raw_ops.NonMaxSuppressionV5(
        boxes=boxes,
        scores=scores,
        max_output_size=max_detections,
        iou_threshold=iou_threshold,
        score_threshold=0.0,
        soft_nms_sigma=0.0,
    )
    return index[:count], kept_scores[:count]


def soft(
    boxes: tf.Tensor,
    scores: tf.Tensor,
    decay: collections.abc.Callable[[tf.Tensor], tf.Tensor],
    min_score: float,
    max_detections: int,
) -> tuple[tf.Tensor, tf.Tensor]:
    """Soft-NMS (Bodla et al., ICCV 2017): a box that overlaps a better one loses score instead of being dropped.

    Takes the box of the highest score, multiplies all other scores by `decay` of their boxes' IoU with it, and starts
    over with what is left. Of equal scores the first wins. Boxes without area overlap nothing.

    Args:
        boxes: float32 [N, 4], xyxy.
        scores: float32 [N], not below 0.
        decay: function of IoU [N], `linear_decay` or `gaussian_decay` with their settings.
        min_score: above 0; boxes of a lower score, decayed or not, are dropped.
        max_detections: D at most.

    Returns index int32 [D] and decayed score float32 [D], best first.
    """
    # Not `boxes.iou`: its slices of [N, 4] make the loop two to five times as slow as columns of their own.
    x1, y1, x2, y2 = (boxes[:, side] for side in range(4))  # TensorFlow Lite has no unstack of no boxes
    areas = (x2 - x1) * (y2 - y1)

    def iou_with(best):
        width = tf.maximum(tf.minimum(x2, x2[best]) - tf.maximum(x1, x1[best]), 0.0)
        height = tf.maximum(tf.minimum(y2, y2[best]) - tf.maximum(y1, y1[best]), 0.0)
        intersection = width * height
        return tf.math.divide_no_nan(intersection, areas + areas[best] - intersection)

    def is_any_left(count, remaining, *_):
        return (count < max_detections) & (tf.reduce_max(remaining) >= min_score)

    def take_best(count, remaining, kept, confidence):
        score, best = (value[0] for value in tf.math.top_k(remaining, 1))
        remaining = tf.tensor_scatter_nd_update(remaining * decay(iou_with(best)), [[best]], [TAKEN])
        return count + 1, remaining, kept.write(count, best), confidence.write(count, score)

    kept, confidence = (tf.TensorArray(dtype, max_detections, element_shape=[]) for dtype in (tf.int32, tf.float32))
    count, _, kept, confidence = tf.while_loop(is_any_left, take_best, (0, scores, kept, confidence))
    return kept.stack()[:count], confidence.stack()[:count]


def linear_decay(iou: tf.Tensor, iou_threshold: float) -> tf.Tensor:
    """1 - IoU from `iou_threshold` on, below it 1."""
    return tf.where(iou >= iou_threshold, 1.0 - iou, 1.0)


def gaussian_decay(iou: tf.Tensor, sigma: float) -> tf.Tensor:
    """exp(-IoU^2 / sigma)."""
    return tf.exp(-(iou**2) / sigma)
