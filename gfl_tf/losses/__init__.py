"""The losses of GFL, GFLv2 and VarifocalNet: pure unreduced functions, and Keras `Loss` classes around them."""

from gfl_tf.losses.distribution import distribution_focal_loss, generalized_focal_loss
from gfl_tf.losses.focal import focal_loss, joint_quality_focal_loss, quality_focal_loss, varifocal_loss
from gfl_tf.losses.giou import giou_loss
from gfl_tf.losses.keras_losses import (
    DistributionFocalLoss,
    FocalLoss,
    GIoULoss,
    QualityFocalLoss,
    VarifocalLoss,
)
