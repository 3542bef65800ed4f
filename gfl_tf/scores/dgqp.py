"""GFLv2's score: the quality is predicted from the shape of the box distributions (GFLv2, section 3.2)."""

import keras
import tensorflow as tf

from gfl_tf.layers.dgqp import DGQP, RULES
from gfl_tf.parts import check_fields, part
from gfl_tf.rules import either, exactly, whole
from gfl_tf.scores.joint import JointScore


@part
class DGQPScore(JointScore):
    """J = C x I, I of a Distribution-Guided Quality Predictor (eq. 3); or its composed form (figure 5, right).

    Attributes:
        k, hidden, statistics, prior: see `DGQP`.
        composed_channels: 0 for the decomposed score; otherwise d, the width of the features that the DGQP adds to the
            class tower's, whose class scores are J itself (table 4).
    """

    k: int = 4
    hidden: int = 64
    statistics: tuple = ("topk", "mean")
    prior: float = 0.5
    composed_channels: int = 0

    def __post_init__(self):
        super().__post_init__()
        check_fields(self, {**RULES, "composed_channels": either(exactly(0), whole(2))})

    def head_layer(self) -> DGQP:
        """The `DGQP` of the head."""
        outputs = self.composed_channels or 1
        return DGQP(self.k, self.hidden, self.statistics, outputs, self.prior, name="dgqp")

    @property
    def has_quality_output(self) -> bool:
        return not self.composed_channels

    def scores(self, outputs: dict[str, tf.Tensor]) -> tf.Tensor:
        scores = super().scores(outputs)
        return scores * tf.sigmoid(outputs["quality"]) if self.has_quality_output else scores

    def ranking(self, outputs: dict[str, tf.Tensor], by_pairs: bool) -> tf.Tensor:
        best_class = super().ranking(outputs, by_pairs)
        if not self.has_quality_output:
            return best_class
        return tf.sigmoid(best_class) * tf.sigmoid(outputs["quality"][..., 0])

    def classification_loss(
        self, loss: keras.losses.Loss, class_targets: tf.Tensor, outputs: dict[str, tf.Tensor]
    ) -> tf.Tensor:
        if not self.has_quality_output:
            return super().classification_loss(loss, class_targets, outputs)
        return loss.call(class_targets, outputs["classification"], outputs["quality"])
