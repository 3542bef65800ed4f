"""Box sides as distributions over distances (GFL, section 3.2): the general one, and the Gaussian of table 2a."""

import tensorflow as tf

from gfl_tf.losses.distribution import distribution_focal_loss
from gfl_tf.ops import distances as distance_ops
from gfl_tf.ops import distributions
from gfl_tf.ops.grid import Places
from gfl_tf.parts import check_fields, part
from gfl_tf.rules import COUNT, NOT_NEGATIVE, POSITIVE

# Distribution targets stay this far below the last bin, as in the reference.
LAST_BIN_MARGIN = 0.1


@part
class GeneralDistribution:
    """Every side has probabilities of n + 1 evenly spaced distances; their mean is the distance (GFL, eq. 5).

    Box output: [..., 4 * (n + 1)] logits, side-major (left, top, right, bottom).

    Attributes:
        num_bins: n; a side's distribution has the n + 1 values 0..n.
        bin_width: distance between two bins, in strides (GFL, table 2c).
        distribution_weight: of Distribution Focal Loss (GFL, eq. 11); 0 leaves it out.
    """

    num_bins: int = 16
    bin_width: float = 1.0
    distribution_weight: float = 0.25

    loss_name = "distribution_loss"

    def __post_init__(self):
        check_fields(self, {"num_bins": COUNT, "bin_width": POSITIVE, "distribution_weight": NOT_NEGATIVE})

    @property
    def num_outputs(self) -> int:
        return 4 * (self.num_bins + 1)

    @property
    def loss_weight(self) -> float:
        return self.distribution_weight

    def decode(self, output: tf.Tensor, places: Places) -> tf.Tensor:
        """Boxes [..., 4], xyxy in pixels, of box outputs [..., 4 * (n + 1)] at `places`."""
        distances = distributions.integral(distributions.side_probabilities(output), self.bin_width)
        return distance_ops.distances_to_boxes(places.points_px, distances * places.strides[..., tf.newaxis])

    def extras(self, output: tf.Tensor, places: Places) -> dict[str, tf.Tensor]:
        """{"edge_stddev": [..., 4]}: standard deviation of left, top, right and bottom side in pixels."""
        stddev = distributions.standard_deviation(distributions.side_probabilities(output), self.bin_width)
        return {"edge_stddev": stddev * places.strides[..., tf.newaxis]}

    def loss(self, output: tf.Tensor, target_boxes: tf.Tensor, places: Places) -> tf.Tensor:
        """Distribution Focal Loss [...] (GFL, eq. 6), the mean over the four sides."""
        distances = distance_ops.boxes_to_distances(places.points_px, target_boxes)
        bins = distances / places.strides[..., tf.newaxis] / self.bin_width
        bins = tf.clip_by_value(bins, 0.0, self.num_bins - LAST_BIN_MARGIN)
        return tf.reduce_mean(distribution_focal_loss(bins, distributions.by_side(output)), axis=-1)


@part
class GaussianDistribution:
    """Every side has a mean distance and a variance (He et al., "Bounding Box Regression with Uncertainty", CVPR 2019).

    Box output: [..., 8], the logarithms of four distances in strides, then of their four variances.

    Attributes:
        distribution_weight: of the loss that trains both, the paper's eqs. 9 and 10.
    """

    distribution_weight: float = 0.25

    num_outputs = 8
    loss_name = "distribution_loss"

    def __post_init__(self):
        check_fields(self, {"distribution_weight": NOT_NEGATIVE})

    @property
    def loss_weight(self) -> float:
        return self.distribution_weight

    def decode(self, output: tf.Tensor, places: Places) -> tf.Tensor:
        """As `GeneralDistribution`'s, of [..., 8]."""
        distances_px = tf.exp(output[..., :4]) * places.strides[..., tf.newaxis]
        return distance_ops.distances_to_boxes(places.points_px, distances_px)

    def extras(self, output: tf.Tensor, places: Places) -> dict[str, tf.Tensor]:
        """As `GeneralDistribution`'s."""
        return {"edge_stddev": tf.exp(output[..., 4:] / 2) * places.strides[..., tf.newaxis]}

    def loss(self, output: tf.Tensor, target_boxes: tf.Tensor, places: Places) -> tf.Tensor:
        """[...], the mean over the four sides, distances in strides.

        e^-a (x - y)^2 / 2 + a / 2, beyond a distance of 1 e^-a (|x - y| - 1/2) + a / 2; a: logarithm of the variance.
        """
        distances = distance_ops.boxes_to_distances(places.points_px, target_boxes) / places.strides[..., tf.newaxis]
        error = tf.abs(tf.exp(output[..., :4]) - distances)
        log_variance = output[..., 4:]
        cost = tf.where(error > 1.0, error - 0.5, tf.square(error) / 2)
        return tf.reduce_mean(tf.exp(-log_variance) * cost + log_variance / 2, axis=-1)
