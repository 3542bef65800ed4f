"""One number for class and localization quality (GFL, section 3.1; VarifocalNet, section 4.1); plain class scores."""

import typing

import keras
import tensorflow as tf

from gfl_tf.parts import check_fields, part
from gfl_tf.rules import FLAG, NOT_NEGATIVE, one_of

QUALITIES = ("iou", "centerness")
# What the box losses of a positive are weighted by: its best class score (GFL), its IoU (VarifocalNet), the centerness
# of its point (FCOS, ATSS), or nothing.
BOX_WEIGHTS = ("score", *QUALITIES, "none")


@part
class JointScore:
    """The class score is trained to be the IoU of the predicted box: no further output, nothing to multiply.

    Attributes:
        quality_targets: False trains it on hard labels, 1 in place of the IoU, for plain focal loss.
        weight_boxes_by: one of `BOX_WEIGHTS`.
        guided: the classification loss of the positives is weighted by their quality, "iou" or "centerness" (GFL,
            table 1a; Wu et al., "IoU-balanced Loss Functions", arXiv 1908.05641, eq. 3), or "" for no such weights.
        guided_power: of the quality in these weights.
    """

    quality_targets: bool = True
    weight_boxes_by: str = "score"
    guided: str = ""
    guided_power: float = 1.5

    quality = None  # what a branch predicts
    has_quality_output = False

    def __post_init__(self):
        check_fields(
            self,
            {
                "quality_targets": FLAG,
                "weight_boxes_by": one_of(*BOX_WEIGHTS),
                "guided": one_of("", *QUALITIES),
                "guided_power": NOT_NEGATIVE,
            },
        )

    def head_layer(self) -> keras.layers.Layer | None:
        return None

    def check_outputs(self, outputs: dict[str, tf.Tensor]) -> None:
        """Raises ValueError where a head's raw outputs are not those of this score."""
        if ("quality" in outputs) != self.has_quality_output:
            has, needs = ("has", "no") if "quality" in outputs else ("has no", "a")
            raise ValueError(f"the head {has} quality output, but {type(self).__name__} needs {needs} quality output")

    def scores(self, outputs: dict[str, tf.Tensor]) -> tf.Tensor:
        """Class scores [..., C] in [0, 1], to be compared with the score threshold."""
        return tf.sigmoid(outputs["classification"])

    def factors(self, outputs: dict[str, tf.Tensor]) -> tf.Tensor | None:
        """What the scores are multiplied by afterwards, [..., 1], or None."""
        return None

    def ranking(self, outputs: dict[str, tf.Tensor], by_pairs: bool) -> tf.Tensor:
        """[B, P]: orders the places for the choice of candidates; `by_pairs`: see `PredictionDecoder`."""
        return tf.reduce_max(outputs["classification"], axis=-1)

    def targets(self, positives: typing.Any) -> tf.Tensor:
        """Class targets of the positives, [B, N]."""
        return positives.iou if self.quality_targets else positives.mask

    def box_weights(self, positives: typing.Any) -> tf.Tensor:
        """[B, N], detached."""
        if self.weight_boxes_by == "none":
            return positives.mask
        if self.weight_boxes_by == "score":
            return tf.stop_gradient(tf.reduce_max(self.scores(positives.outputs), axis=-1)) * positives.mask
        return positives.quality(self.weight_boxes_by)

    def classification_loss(
        self, loss: keras.losses.Loss, class_targets: tf.Tensor, outputs: dict[str, tf.Tensor]
    ) -> tf.Tensor:
        """[B, P] of a Keras loss that gives [B, P] or [B, P, C] before its reduction."""
        value = loss.call(class_targets, outputs["classification"])
        return value if value.shape.rank == 2 else tf.reduce_sum(value, axis=-1)

    def guidance(self, positives: typing.Any) -> tf.Tensor | None:
        """The power of the quality by which the classification loss of the positives is weighted, [B, N], or None."""
        return positives.quality(self.guided) ** self.guided_power if self.guided else None

    def quality_loss(self, positives: typing.Any) -> tf.Tensor | None:
        """Loss [B, N] of a quality branch, or None."""
        return None
