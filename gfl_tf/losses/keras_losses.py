"""The loss functions as Keras `Loss` classes, for a detector's parts and for any model's `compile`.

They take Keras's usual `reduction` and `name`. Classification losses are summed over the last axis, as a detector's
loss is a sum over classes, so `reduction` then averages over points.
"""

import typing

import keras
import tensorflow as tf

from gfl_tf.losses.distribution import distribution_focal_loss
from gfl_tf.losses.focal import focal_loss, quality_focal_loss, varifocal_loss
from gfl_tf.losses.iou import ciou_loss, diou_loss, giou_loss, iou_loss
from gfl_tf.parts import arguments, check_fields
from gfl_tf.rules import FLAG, NOT_NEGATIVE, SHARE

_register = keras.saving.register_keras_serializable(package="gfl_tf")


class _Loss(keras.losses.Loss):
    """Calls `function` with the constructor's own arguments, which are attributes."""

    function = None

    def __init__(self, name: str | None = None, **kwargs: typing.Any):
        super().__init__(name=name or type(self).function.__name__, **kwargs)

    def call(self, y_true: tf.Tensor, y_pred: tf.Tensor) -> tf.Tensor:
        return type(self).function(y_true, y_pred)

    def get_config(self) -> dict[str, typing.Any]:
        return {**super().get_config(), **arguments(self)}


class _ClassificationLoss(_Loss):
    """Targets and logits [..., C], quality logits [..., 1] or None -> [...] before reduction."""

    def call(self, y_true: tf.Tensor, y_pred: tf.Tensor, quality_logits: tf.Tensor | None = None) -> tf.Tensor:
        loss = type(self).function(y_true, y_pred, quality_logits, **arguments(self))
        return tf.reduce_sum(loss, axis=-1)


@_register
class FocalLoss(_ClassificationLoss):
    """`focal_loss` of targets and logits [..., C], summed over classes."""

    function = focal_loss

    def __init__(self, alpha: float = 0.25, gamma: float = 2.0, **kwargs: typing.Any):
        super().__init__(**kwargs)
        self.alpha = alpha
        self.gamma = gamma
        check_fields(self, {"alpha": SHARE, "gamma": NOT_NEGATIVE})


@_register
class QualityFocalLoss(_ClassificationLoss):
    """`quality_focal_loss` of targets and logits [..., C], summed over classes."""

    function = quality_focal_loss

    def __init__(self, beta: float = 2.0, **kwargs: typing.Any):
        super().__init__(**kwargs)
        self.beta = beta
        check_fields(self, {"beta": NOT_NEGATIVE})


@_register
class VarifocalLoss(_ClassificationLoss):
    """`varifocal_loss` of targets and logits [..., C], summed over classes."""

    function = varifocal_loss

    def __init__(self, alpha: float = 0.75, gamma: float = 2.0, iou_weighted: bool = True, **kwargs: typing.Any):
        super().__init__(**kwargs)
        self.alpha = alpha
        self.gamma = gamma
        self.iou_weighted = iou_weighted
        check_fields(self, {"alpha": NOT_NEGATIVE, "gamma": NOT_NEGATIVE, "iou_weighted": FLAG})


@_register
class DistributionFocalLoss(_Loss):
    """`distribution_focal_loss` of targets [...] in bins and logits [..., n + 1]: [...] before reduction."""

    function = distribution_focal_loss


@_register
class IoULoss(_Loss):
    """`iou_loss` of xyxy boxes [..., 4]: [...] before reduction."""

    function = iou_loss


@_register
class GIoULoss(_Loss):
    """`giou_loss` of xyxy boxes [..., 4]: [...] before reduction."""

    function = giou_loss


@_register
class DIoULoss(_Loss):
    """`diou_loss` of xyxy boxes [..., 4]: [...] before reduction."""

    function = diou_loss


@_register
class CIoULoss(_Loss):
    """`ciou_loss` of xyxy boxes [..., 4]: [...] before reduction."""

    function = ciou_loss
