"""The heads of GFL and GFLv2: layers and raw outputs only."""

import keras
import tensorflow as tf

from gfl_tf.heads import towers
from gfl_tf.layers.dgqp import DGQP

_register = keras.saving.register_keras_serializable(package="gfl_tf")


@_register
class GFLHead(keras.layers.Layer):
    """The GFL head (GFL, figure 4): two towers shared by all levels, joint class-quality scores and box distributions.

    Input: list of feature maps P3 to P7, [B, H_l, W_l, channels].
    Output: dict of float32 raw outputs over all points, levels in order, row-major:
        "classification": [B, P, C] logits of the joint score; "box": [B, P, 4 * (n + 1)] distribution logits,
        side-major (left, top, right, bottom).

    Args:
        num_classes: C.
        num_bins: n; a side's distribution has the n + 1 values 0..n.
        channels, num_convs: width and depth of the towers.
        groups: of the group normalization.
        prior: class score of every point at the start of training (Lin et al., ICCV 2017, section 4.1).
        composed: a `DGQP` whose outputs are appended to the class features (GFLv2, figure 5, right), or None.
    """

    def __init__(
        self, num_classes, num_bins=16, channels=256, num_convs=4, groups=32, prior=0.01, composed=None, **kwargs
    ):
        super().__init__(**kwargs)
        self.num_classes = num_classes
        self.num_bins = num_bins
        self.channels = channels
        self.num_convs = num_convs
        self.groups = groups
        self.prior = prior
        self.composed = keras.saving.deserialize_keras_object(composed) if isinstance(composed, dict) else composed
        self.class_tower = towers.tower("class_tower", num_convs, channels, groups)
        self.box_tower = towers.tower("box_tower", num_convs, channels, groups)
        self.classification = towers.output_conv(num_classes, "classification", prior)
        self.box = towers.output_conv(4 * (num_bins + 1), "box")
        self.scales = towers.level_scales()

    def build(self, input_shape):
        class_shape = towers.build_tower(self.class_tower, input_shape[0])
        box_shape = towers.build_tower(self.box_tower, input_shape[0])
        if self.composed is not None:
            towers.build_once(self.composed, (*box_shape[:-1], 4 * (self.num_bins + 1)))
            class_shape = (*class_shape[:-1], class_shape[-1] + self.composed.outputs)
        self.classification.build(class_shape)
        self.box.build(box_shape)
        for scale in self.scales:
            scale.build(())
        self.built = True

    def call(self, features):
        return towers.concat_levels([self._level(feature, scale) for feature, scale in zip(features, self.scales)])

    def _level(self, feature, scale):
        class_feature = towers.run_tower(self.class_tower, feature)
        box = scale(self.box(towers.run_tower(self.box_tower, feature)))
        if self.composed is not None:
            distribution_feature = tf.cast(self.composed(box), class_feature.dtype)
            class_feature = tf.concat([class_feature, distribution_feature], axis=-1)
        return {"classification": self.classification(class_feature), "box": box}

    def get_config(self):
        return {
            **super().get_config(),
            "num_classes": self.num_classes,
            "num_bins": self.num_bins,
            "channels": self.channels,
            "num_convs": self.num_convs,
            "groups": self.groups,
            "prior": self.prior,
            "composed": keras.saving.serialize_keras_object(self.composed),
        }


@_register
class GFLV2Head(keras.layers.Layer):
    """The GFLv2 head in its decomposed form (GFLv2, figure 3): a GFL head and a DGQP on its box distributions.

    Output: `GFLHead`'s dict and "quality": [B, P, 1], the logit of the IoU scalar I.
    The composed form is a `GFLHead` whose `composed` is a DGQP.
    """

    def __init__(self, base, dgqp=None, **kwargs):
        super().__init__(**kwargs)
        self.base = keras.saving.deserialize_keras_object(base) if isinstance(base, dict) else base
        self.dgqp = keras.saving.deserialize_keras_object(dgqp) if isinstance(dgqp, dict) else dgqp or DGQP(name="dgqp")

    @property
    def num_bins(self):
        return self.base.num_bins

    def build(self, input_shape):
        towers.build_once(self.base, input_shape)
        towers.build_once(self.dgqp, (None, None, 4 * (self.num_bins + 1)))
        self.built = True

    def call(self, features):
        outputs = self.base(features)
        return {**outputs, "quality": self.dgqp(outputs["box"])}

    def get_config(self):
        return {
            **super().get_config(),
            "base": keras.saving.serialize_keras_object(self.base),
            "dgqp": keras.saving.serialize_keras_object(self.dgqp),
        }
