"""The losses of the detectors: pure unreduced functions, and Keras `Loss` classes around them."""

from gfl_tf.losses.distribution import distillation_loss, distribution_focal_loss, generalized_focal_loss
from gfl_tf.losses.focal import focal_loss, quality_focal_loss, varifocal_loss
from gfl_tf.losses.iou import ciou_loss, diou_loss, giou_loss, iou_loss
from gfl_tf.losses.keras_losses import (
    CIoULoss,
    DIoULoss,
    DistributionFocalLoss,
    FocalLoss,
    GIoULoss,
    IoULoss,
    QualityFocalLoss,
    VarifocalLoss,
)
