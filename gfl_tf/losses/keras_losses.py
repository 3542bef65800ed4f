"""The loss functions as Keras `Loss` classes, for any model's `compile`.

They take Keras's usual `reduction` and `name`; the per-element losses are summed over the last axis where a
detector's loss is a sum over classes (`QualityFocalLoss` and its like), so `reduction` then averages over points.
"""

import keras
import tensorflow as tf

from gfl_tf.losses.distribution import distribution_focal_loss
from gfl_tf.losses.focal import focal_loss, quality_focal_loss, varifocal_loss
from gfl_tf.losses.giou import giou_loss

_register = keras.saving.register_keras_serializable(package="gfl_tf")


@_register
class FocalLoss(keras.losses.Loss):
    """`focal_loss` of targets and logits [..., C], summed over classes: [...] before reduction."""

    def __init__(self, alpha=0.25, gamma=2.0, name="focal_loss", **kwargs):
        super().__init__(name=name, **kwargs)
        self.alpha = alpha
        self.gamma = gamma

    def call(self, y_true, y_pred):
        return tf.reduce_sum(focal_loss(y_true, y_pred, self.alpha, self.gamma), axis=-1)

    def get_config(self):
        return {**super().get_config(), "alpha": self.alpha, "gamma": self.gamma}


@_register
class QualityFocalLoss(keras.losses.Loss):
    """`quality_focal_loss` of targets and logits [..., C], summed over classes: [...] before reduction."""

    def __init__(self, beta=2.0, name="quality_focal_loss", **kwargs):
        super().__init__(name=name, **kwargs)
        self.beta = beta

    def call(self, y_true, y_pred):
        return tf.reduce_sum(quality_focal_loss(y_true, y_pred, self.beta), axis=-1)

    def get_config(self):
        return {**super().get_config(), "beta": self.beta}


@_register
class VarifocalLoss(keras.losses.Loss):
    """`varifocal_loss` of targets and logits [..., C], summed over classes: [...] before reduction."""

    def __init__(self, alpha=0.75, gamma=2.0, iou_weighted=True, name="varifocal_loss", **kwargs):
        super().__init__(name=name, **kwargs)
        self.alpha = alpha
        self.gamma = gamma
        self.iou_weighted = iou_weighted

    def call(self, y_true, y_pred):
        return tf.reduce_sum(varifocal_loss(y_true, y_pred, self.alpha, self.gamma, self.iou_weighted), axis=-1)

    def get_config(self):
        config = {"alpha": self.alpha, "gamma": self.gamma, "iou_weighted": self.iou_weighted}
        return {**super().get_config(), **config}


@_register
class DistributionFocalLoss(keras.losses.Loss):
    """`distribution_focal_loss` of targets [...] in bins and logits [..., n + 1]: [...] before reduction."""

    def __init__(self, name="distribution_focal_loss", **kwargs):
        super().__init__(name=name, **kwargs)

    def call(self, y_true, y_pred):
        return distribution_focal_loss(y_true, y_pred)


@_register
class GIoULoss(keras.losses.Loss):
    """`giou_loss` of xyxy boxes [..., 4]: [...] before reduction."""

    def __init__(self, name="giou_loss", **kwargs):
        super().__init__(name=name, **kwargs)

    def call(self, y_true, y_pred):
        return giou_loss(y_true, y_pred)
