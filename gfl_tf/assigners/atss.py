"""Adaptive Training Sample Selection (Zhang et al., CVPR 2020, algorithm 1): which points learn which box."""

import collections

import tensorflow as tf

from gfl_tf.ops import boxes as box_ops
from gfl_tf.ops import points as point_ops

# One entry per candidate (N = M * levels * k of an image, a static number):
#   point: int32 [B, N], index into the P points;  box: int32 [B, N], index into the M boxes;
#   is_positive: bool [B, N]. A point is positive at most once; entries that are not positive are to be masked.
Assignment = collections.namedtuple("Assignment", ["point", "box", "is_positive"])

ANCHOR_SCALE = 8.0  # an anchor's side in strides
MIN_INSIDE_PX = 0.01  # how far inside its box a positive point must lie


def assign(boxes, is_box, image_shape, canvas_shape, strides=point_ops.STRIDES, candidates_per_level=9):
    """Positive points of every box.

    The k nearest points of a level lie in a k x k window around the box centre, so only these are looked at: nothing
    of size P x M is built.

    Args:
        boxes: float32 [B, M, 4], xyxy in pixels.
        is_box: bool [B, M]; False marks padding.
        image_shape: int32 [B, 2], each image's own height and width: points outside it (rounded up to 32) take no part.
        canvas_shape: int32 [2], height and width of the batch, which number the points.
        candidates_per_level: k.

    Returns: an `Assignment`; no gradient flows through it.
    """
    candidates = _nearest_points(boxes, image_shape, canvas_shape, strides, candidates_per_level)
    num_boxes = tf.shape(boxes)[1]
    points_px, point_strides = point_ops.grid_points(canvas_shape, strides)
    xy = tf.gather(points_px, candidates.point)  # [B, M, L * k, 2]
    anchors = anchor_boxes(xy, tf.gather(point_strides, candidates.point))
    ious = box_ops.iou(anchors, boxes[:, :, tf.newaxis])  # [B, M, L * k]
    threshold = _adaptive_threshold(ious, candidates.is_valid)
    box = boxes[:, :, tf.newaxis]
    inside = tf.reduce_min(tf.concat([xy - box[..., :2], box[..., 2:] - xy], axis=-1), axis=-1) > MIN_INSIDE_PX
    is_positive = candidates.is_valid & inside & (ious >= threshold) & is_box[..., tf.newaxis]
    box_index = tf.broadcast_to(tf.range(num_boxes)[:, tf.newaxis], tf.shape(ious))
    point, box_index, is_positive, ious = (
        tf.reshape(t, [tf.shape(boxes)[0], -1]) for t in (candidates.point, box_index, is_positive, ious)
    )
    is_positive = _resolve_conflicts(point, box_index, is_positive, ious, tf.shape(points_px)[0])
    return Assignment(point, box_index, is_positive)


def anchor_boxes(points_px, point_strides):
    """The square anchors [..., 4], xyxy in pixels, around points [..., 2] of strides [...]: one a point.

    GFL uses them for the IoU threshold alone, ATSS itself also predicts its boxes from them.
    """
    half = point_strides[..., tf.newaxis] * ANCHOR_SCALE / 2
    return tf.concat([points_px - half, points_px + half], axis=-1)


_Candidates = collections.namedtuple("_Candidates", ["point", "is_valid"])  # each [B, M, L * k]


def _nearest_points(boxes, image_shape, canvas_shape, strides, k):
    """The k points nearest to each box centre on each level, among the image's own points."""
    centres = (boxes[..., :2] + boxes[..., 2:]) / 2.0  # [B, M, 2] x, y
    canvas_sizes = point_ops.level_sizes(canvas_shape, strides)  # [L, 2] height, width
    own_sizes = tf.minimum(point_ops.level_sizes(image_shape, strides), canvas_sizes)  # [B, L, 2]
    first_point = tf.cumsum(tf.reduce_prod(canvas_sizes, axis=-1), exclusive=True)
    points, is_valid = [], []
    for level, stride in enumerate(strides):
        x, x_ok, dx = _window(centres[..., 0] / stride, own_sizes[:, level, 1], k)  # [B, M, k] each
        y, y_ok, dy = _window(centres[..., 1] / stride, own_sizes[:, level, 0], k)
        distance = tf.square(dy)[..., :, tf.newaxis] + tf.square(dx)[..., tf.newaxis, :]  # [B, M, k, k]
        ok = y_ok[..., :, tf.newaxis] & x_ok[..., tf.newaxis, :]
        index = first_point[level] + y[..., :, tf.newaxis] * canvas_sizes[level, 1] + x[..., tf.newaxis, :]
        distance = tf.where(ok, distance, float("inf"))
        shape = tf.concat([tf.shape(centres)[:2], [k * k]], axis=0)
        nearest, where = tf.math.top_k(-tf.reshape(distance, shape), k)
        is_valid.append(nearest > -float("inf"))
        points.append(tf.gather(tf.reshape(index, shape), where, batch_dims=2))
    points, is_valid = tf.concat(points, axis=-1), tf.concat(is_valid, axis=-1)
    return _Candidates(tf.where(is_valid, points, 0), is_valid)


def _window(centre, size, k):
    """k consecutive grid coordinates around `centre` [B, M], shifted to stay in 0..size-1 (`size` [B]).

    Returns the coordinates, whether each exists (a map may be smaller than k), and its distance to the centre.
    """
    first = tf.cast(tf.math.ceil(centre - k / 2), tf.int32)  # of the k nearest, were the grid endless
    start = tf.clip_by_value(first, 0, tf.maximum(size - k, 0)[:, tf.newaxis])
    coordinate = start[..., tf.newaxis] + tf.range(k)
    distance = tf.cast(coordinate, tf.float32) - centre[..., tf.newaxis]
    return coordinate, coordinate < size[:, tf.newaxis, tf.newaxis], distance


def _adaptive_threshold(ious, is_valid):
    """Mean plus unbiased standard deviation of a box's candidate IoUs: [B, M, L * k] -> [B, M, 1]."""
    valid = tf.cast(is_valid, tf.float32)
    count = tf.maximum(tf.reduce_sum(valid, axis=-1, keepdims=True), 1.0)
    mean = tf.reduce_sum(ious * valid, axis=-1, keepdims=True) / count
    sum_squares = tf.reduce_sum(tf.square(ious - mean) * valid, axis=-1, keepdims=True)
    return mean + tf.sqrt(sum_squares / tf.maximum(count - 1.0, 1.0))


def _resolve_conflicts(point, box, is_positive, ious, num_points):
    """A point claimed by several boxes goes to the one of highest IoU, of equals to the first. All [B, N]."""
    batch_size = tf.shape(point)[0]
    slot = point + tf.range(batch_size)[:, tf.newaxis] * num_points
    num_slots = batch_size * num_points
    ious = tf.where(is_positive, ious, -1.0)
    best_iou = tf.math.unsorted_segment_max(ious, slot, num_slots)
    is_positive &= ious >= tf.gather(best_iou, slot)
    first_box = tf.math.unsorted_segment_min(tf.where(is_positive, box, box.dtype.max), slot, num_slots)
    return is_positive & (box == tf.gather(first_box, slot))
