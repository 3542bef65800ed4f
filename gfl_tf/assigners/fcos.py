"""FCOS's assignment (Tian et al., ICCV 2019, section 3.2): every level learns the boxes of its range of sizes."""

import tensorflow as tf

from gfl_tf.assigners.assignment import Assignment, of_all_places, over_boxes
from gfl_tf.ops import distances as distance_ops
from gfl_tf.ops.grid import Grid
from gfl_tf.parts import check_fields, part
from gfl_tf.rules import NOT_NEGATIVE, POSITIVE

INFINITE_AREA = 1e8  # the reference's


@part
class FCOSAssigner:
    """A place is positive in a box, or near its centre, if the box's furthest side lies in its level's range.

    Of several such boxes the smallest counts. All places take part in the classification loss, as in the reference.

    Attributes:
        range_strides: the largest distance to a side on each level, in strides: 8 makes the paper's 64, 128, 256 and
            512 pixels on P3 to P6. A level's range begins where that of the level below ends; the last is endless.
        centre_radius: positives lie within so many strides of the box's centre (centre sampling, 1.5 in the paper's
            improved version); 0: anywhere in the box.
    """

    range_strides: float = 8.0
    centre_radius: float = 0.0

    def __post_init__(self):
        check_fields(self, {"range_strides": POSITIVE, "centre_radius": NOT_NEGATIVE})

    def __call__(
        self, boxes: tf.Tensor, classes: tf.Tensor, grid: Grid, predictions: dict[str, tf.Tensor] | None = None
    ) -> Assignment:
        """Arguments and result as of `ATSSAssigner`."""
        points, strides = grid.places.points_px, grid.places.strides
        low = tf.where(strides > grid.strides[0], strides * self.range_strides / 2, -1.0)
        high = tf.where(strides < grid.strides[-1], strides * self.range_strides, float("inf"))

        def smaller(index, box, exists, state):
            area, owner = state
            distances = distance_ops.boxes_to_distances(points, box)  # [B, P, 4]
            furthest = tf.reduce_max(distances, axis=-1)
            takes = self._is_inside(points, strides, box, distances) & exists & (furthest >= low) & (furthest <= high)
            own_area = tf.reduce_prod(box[..., 2:] - box[..., :2], axis=-1)  # [B, 1]
            takes &= own_area < area  # of equal areas the first box
            return tf.where(takes, own_area, area), tf.where(takes, index, owner)

        shape = [tf.shape(boxes)[0], grid.size]
        start = tf.fill(shape, INFINITE_AREA), tf.fill(shape, -1)
        _, owner = over_boxes(smaller, boxes, classes, start)
        return of_all_places(tf.maximum(owner, 0), owner >= 0, tf.ones(shape, tf.bool))

    def _is_inside(self, points, strides, box, distances):
        if not self.centre_radius:
            return tf.reduce_min(distances, axis=-1) > 0
        centre = (box[..., :2] + box[..., 2:]) / 2
        reach = (strides * self.centre_radius)[:, tf.newaxis]
        low, high = tf.maximum(centre - reach, box[..., :2]), tf.minimum(centre + reach, box[..., 2:])
        return tf.reduce_all((points > low) & (points < high), axis=-1)
