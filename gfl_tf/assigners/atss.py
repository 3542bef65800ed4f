"""Adaptive Training Sample Selection (Zhang et al., CVPR 2020, algorithm 1): which points learn which box."""

import collections

import tensorflow as tf

from gfl_tf.assigners.assignment import Assignment
from gfl_tf.ops import boxes as box_ops
from gfl_tf.ops.grid import Grid
from gfl_tf.parts import check_fields, part
from gfl_tf.rules import COUNT, FLAG

MIN_INSIDE_PX = 0.01  # how far inside its box a positive point must lie


@part
class ATSSAssigner:
    """The k points nearest to a box's centre on each level are candidates; those of an IoU above the candidates' mean
    plus standard deviation are positive.

    The k nearest points of a level lie in a k x k window around the box centre, so only these are looked at: nothing
    of size P x M is built.

    Attributes:
        k: candidates a level.
        ignore_outside: places outside an image's own extent (rounded up to 32) take no part in the classification
            loss; False: they are negatives there, as in VarifocalNet's reference.
    """

    k: int = 9
    ignore_outside: bool = True

    def __post_init__(self):
        check_fields(self, {"k": COUNT, "ignore_outside": FLAG})

    def __call__(
        self, boxes: tf.Tensor, classes: tf.Tensor, grid: Grid, predictions: dict[str, tf.Tensor] | None = None
    ) -> Assignment:
        """The positive places of every box.

        Args:
            boxes: float32 [B, M, 4], xyxy in pixels.
            classes: int32 [B, M], -1 for padding.
            grid: `Grid` of the images on their canvas.
            predictions: raw outputs, for assigners that go by them.

        Returns: an `Assignment`; no gradient flows through it.

        Raises:
            ValueError: a grid of several anchors a point.
        """
        if grid.spec.anchors_per_point != 1:
            raise ValueError(f"ATSS has one anchor a point; this grid has {grid.spec.anchors_per_point}")
        candidates, places, ious = self._candidates(boxes, grid)
        xy, box = places.points_px, boxes[:, :, tf.newaxis]
        threshold = _adaptive_threshold(ious, candidates.is_valid)[..., tf.newaxis]
        inside = tf.reduce_min(tf.concat([xy - box[..., :2], box[..., 2:] - xy], axis=-1), axis=-1) > MIN_INSIDE_PX
        is_positive = candidates.is_valid & inside & (ious >= threshold) & (classes >= 0)[..., tf.newaxis]
        box_index = tf.broadcast_to(tf.range(tf.shape(boxes)[1])[:, tf.newaxis], tf.shape(ious))
        point, box_index, is_positive, ious = (
            tf.reshape(t, [tf.shape(boxes)[0], -1]) for t in (candidates.point, box_index, is_positive, ious)
        )
        is_positive = _resolve_conflicts(point, box_index, is_positive, ious, grid.size)
        counts = grid.inside if self.ignore_outside else tf.ones_like(grid.inside)
        return Assignment(point, box_index, is_positive, counts)

    def positive_thresholds(self, boxes: tf.Tensor, grid: Grid) -> tf.Tensor:
        """The IoU from which a candidate is positive for each box, float32 [B, M]; arguments as of the call."""
        candidates, _, ious = self._candidates(boxes, grid)
        return _adaptive_threshold(ious, candidates.is_valid)

    def _candidates(self, boxes, grid):
        """(`_Candidates`, their `Places`, their IoUs with their box), each [B, M, L * k]."""
        candidates = _nearest_points(boxes, grid, self.k)
        places = grid.places.at(candidates.point)
        return candidates, places, box_ops.iou(places.anchors, boxes[:, :, tf.newaxis])


_Candidates = collections.namedtuple("_Candidates", ["point", "is_valid"])  # each [B, M, L * k]


def _nearest_points(boxes, grid, k):
    """The k points nearest to each box centre on each level, among the image's own points."""
    centres = (boxes[..., :2] + boxes[..., 2:]) / 2.0  # [B, M, 2] x, y
    canvas_sizes = grid.level_shapes  # [L, 2] height, width
    own_sizes = tf.minimum(grid.spec.level_shapes(grid.image_shape), canvas_sizes)  # [B, L, 2]
    first_point = tf.cumsum(tf.reduce_prod(canvas_sizes, axis=-1), exclusive=True)
    points, is_valid = [], []
    for level, stride in enumerate(grid.strides):
        cells = centres / stride - grid.spec.offset
        x, x_ok, dx = _window(cells[..., 0], own_sizes[:, level, 1], k)  # [B, M, k] each
        y, y_ok, dy = _window(cells[..., 1], own_sizes[:, level, 0], k)
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
    """Mean plus unbiased standard deviation of a box's candidate IoUs: [B, M, L * k] -> [B, M]."""
    valid = tf.cast(is_valid, tf.float32)
    count = tf.maximum(tf.reduce_sum(valid, axis=-1, keepdims=True), 1.0)
    mean = tf.reduce_sum(ious * valid, axis=-1, keepdims=True) / count
    sum_squares = tf.reduce_sum(tf.square(ious - mean) * valid, axis=-1, keepdims=True)
    return tf.squeeze(mean + tf.sqrt(sum_squares / tf.maximum(count - 1.0, 1.0)), axis=-1)


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
