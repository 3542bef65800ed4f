"""Boxes as one number a side: distances from a point, or deltas of an anchor."""

import tensorflow as tf

from gfl_tf.ops import deltas as delta_ops
from gfl_tf.ops import distances as distance_ops
from gfl_tf.ops.grid import Places
from gfl_tf.parts import check_fields, part
from gfl_tf.rules import NOT_NEGATIVE, POSITIVE, one_of, several

ACTIVATIONS = {"exp": tf.exp, "relu": tf.nn.relu, "none": tf.identity}
UNITS = ("stride", "pixel")


@part
class DiracDistances:
    """Distances to the left, top, right and bottom side (Tian et al., "FCOS", ICCV 2019, eq. 1).

    Box output: [..., 4].

    Attributes:
        activation: from the box output to distances not below 0: "exp" (FCOS), "relu" (its improved version), or
            "none" where the head has done it, as VarifocalNet's.
        unit: of the distances, "stride" or "pixel".
    """

    activation: str = "exp"
    unit: str = "stride"

    num_outputs = 4
    loss_name = None
    loss_weight = 0.0

    def __post_init__(self):
        check_fields(self, {"activation": one_of(*ACTIVATIONS), "unit": one_of(*UNITS)})

    def decode(self, output: tf.Tensor, places: Places) -> tf.Tensor:
        """Boxes [..., 4], xyxy in pixels, of box outputs [..., 4] at `places`."""
        distances = ACTIVATIONS[self.activation](output)
        if self.unit == "stride":
            distances *= places.strides[..., tf.newaxis]
        return distance_ops.distances_to_boxes(places.points_px, distances)

    def extras(self, output: tf.Tensor, places: Places) -> dict[str, tf.Tensor]:
        return {}


@part
class AnchorDeltas:
    """Shift and scale of an anchor (Girshick et al., CVPR 2014, appendix C), as RetinaNet and ATSS have it.

    Box output: [..., 4], of centre x and y, logarithms of width and height.

    Attributes:
        stddevs: what the deltas are divided by.
        delta_weight: of the absolute error of the deltas, summed over the four; 0 leaves it out.
    """

    stddevs: tuple = (0.1, 0.1, 0.2, 0.2)
    delta_weight: float = 0.0

    num_outputs = 4
    loss_name = "delta_loss"

    def __post_init__(self):
        check_fields(self, {"stddevs": several(POSITIVE, 4), "delta_weight": NOT_NEGATIVE})

    @property
    def loss_weight(self) -> float:
        return self.delta_weight

    def decode(self, output: tf.Tensor, places: Places) -> tf.Tensor:
        """Boxes [..., 4], xyxy in pixels, of box outputs [..., 4] at `places`."""
        return delta_ops.deltas_to_boxes(places.anchors, output, self.stddevs)

    def extras(self, output: tf.Tensor, places: Places) -> dict[str, tf.Tensor]:
        return {}

    def loss(self, output: tf.Tensor, target_boxes: tf.Tensor, places: Places) -> tf.Tensor:
        """[...]."""
        targets = delta_ops.boxes_to_deltas(places.anchors, target_boxes, self.stddevs)
        return tf.reduce_sum(tf.abs(output - targets), axis=-1)
