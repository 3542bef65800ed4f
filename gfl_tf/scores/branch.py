"""The quality as an output of its own, multiplied with the class scores: centerness (FCOS, ATSS) or IoU (IoU-Net)."""

import typing

import tensorflow as tf

from gfl_tf.parts import check_fields, part
from gfl_tf.rules import NOT_NEGATIVE, one_of
from gfl_tf.scores.joint import QUALITIES, JointScore

TOWERS = ("box", "class")


@part
class QualityBranch(JointScore):
    """A branch of the head predicts the quality at each place (GFL, figure 6 and table 1a: the separate form).

    Attributes:
        quality: what it predicts, one of `QUALITIES`.
        quality_tower: the tower that it stands on, "box" or "class".
        quality_weight: of its loss, binary cross entropy.
        quality_targets: True trains the class scores, too, on the IoU (VarifocalNet, table 5: ATSS with QFL and VFL).
    """

    quality: str = "centerness"
    quality_tower: str = "box"
    quality_weight: float = 1.0
    quality_targets: bool = False
    weight_boxes_by: str = "centerness"

    has_quality_output = True

    def __post_init__(self):
        super().__post_init__()
        check_fields(
            self,
            {"quality": one_of(*QUALITIES), "quality_tower": one_of(*TOWERS), "quality_weight": NOT_NEGATIVE},
        )

    def factors(self, outputs: dict[str, tf.Tensor]) -> tf.Tensor:
        return tf.sigmoid(outputs["quality"])

    def ranking(self, outputs: dict[str, tf.Tensor], by_pairs: bool) -> tf.Tensor:
        best_class = tf.sigmoid(tf.reduce_max(outputs["classification"], axis=-1))
        # Pairs are ranked by their class score alone, in the reference that has this rule.
        return best_class if by_pairs else best_class * tf.sigmoid(outputs["quality"][..., 0])

    def quality_loss(self, positives: typing.Any) -> tf.Tensor:
        logits = positives.outputs["quality"][..., 0]
        target = positives.quality(self.quality)
        return tf.nn.sigmoid_cross_entropy_with_logits(target, logits) * positives.mask
