"""The Distribution-Guided Quality Predictor of GFLv2."""

import collections.abc
import math
import typing

import keras
import tensorflow as tf

from gfl_tf.ops import distributions
from gfl_tf.ops.largest import largest
from gfl_tf.parts import arguments, check_fields
from gfl_tf.rules import BETWEEN_0_AND_1, COUNT, Rule, distinct, one_of, several

STATISTICS = ("topk", "mean", "variance")
RULES = {
    "k": Rule(f"{COUNT.text} (without a DGQP, k = 0 in GFLv2's table 2, it is GFL)", COUNT.holds),
    "hidden": COUNT,
    "statistics": distinct(several(one_of(*STATISTICS))),
    "prior": BETWEEN_0_AND_1,
}


@keras.saving.register_keras_serializable(package="gfl_tf")
class DGQP(keras.layers.Layer):
    """Predicts localization quality from the shape of the four side distributions (GFLv2, section 3.2, eqs. 4 and 5).

    Input: box logits [..., 4 * (n + 1)], side-major. Output: [..., outputs] logits, float32: with the default of one
    output, the logit of the IoU scalar I.

    Args:
        k: how many of the largest probabilities of a side are looked at.
        hidden: p, the width of the hidden layer.
        statistics: any of "topk" (the k values themselves), "mean" and "variance" of these k values (table 1).
        outputs: width of the last layer; more than one for the composed form (figure 5, right).
        prior: I at the start of training; 0.5 in the reference. In schedules of a thousand steps I hardly moves, and
            a higher start lets the class scores learn against a full-sized J.
    """

    def __init__(
        self,
        k: int = 4,
        hidden: int = 64,
        statistics: collections.abc.Sequence[str] = ("topk", "mean"),
        outputs: int = 1,
        prior: float = 0.5,
        **kwargs: typing.Any,
    ):
        kwargs["dtype"] = "float32"
        super().__init__(**kwargs)
        self.k = k
        self.hidden = hidden
        self.statistics = statistics
        self.outputs = outputs
        self.prior = prior
        check_fields(self, {**RULES, "outputs": COUNT})
        self.statistics = tuple(statistics)
        self.hidden_layer = _dense(hidden, activation="relu", name="hidden")
        bias = keras.initializers.Constant(math.log(prior / (1 - prior)))
        self.output_layer = _dense(outputs, bias_initializer=bias, name="output")

    def build(self, input_shape) -> None:
        check_bins(self.k, input_shape[-1] // 4)
        per_side = sum(self.k if name == "topk" else 1 for name in self.statistics)
        self.hidden_layer.build((*input_shape[:-1], 4 * per_side))
        self.output_layer.build((*input_shape[:-1], self.hidden))
        self.built = True

    def call(self, box_logits) -> tf.Tensor:
        return self.output_layer(self.hidden_layer(self._statistics(box_logits)))

    def _statistics(self, box_logits):
        """The feature F of eq. 4, [..., 4 * per_side], side-major. Not detached: quality shapes the distribution."""
        top = largest(distributions.side_probabilities(box_logits), self.k)  # [..., 4, k]
        values = {"topk": top}
        if "mean" in self.statistics:
            values["mean"] = tf.reduce_mean(top, axis=-1, keepdims=True)
        if "variance" in self.statistics:
            values["variance"] = tf.math.reduce_variance(top, axis=-1, keepdims=True)
        features = tf.concat([values[name] for name in STATISTICS if name in self.statistics], axis=-1)
        shape = tf.concat([tf.shape(box_logits)[:-1], [4 * features.shape[-1]]], axis=0)
        return tf.reshape(features, shape)

    def get_config(self) -> dict[str, typing.Any]:
        return {**super().get_config(), **arguments(self)}


def check_bins(k: int, num_bins: int) -> None:
    """Raises ValueError for more probabilities than the bins of a side."""
    if k > num_bins:
        raise ValueError(f"DGQP's k = {k} is larger than the {num_bins} bins of a side")


def _dense(units, **kwargs):
    initializer = keras.initializers.RandomNormal(stddev=0.01)
    return keras.layers.Dense(units, kernel_initializer=initializer, dtype="float32", **kwargs)
