"""The heads of GFL and GFLv2: layers and raw outputs only."""

import math

import tensorflow as tf
from tensorflow import keras

from gfl_tf.layers.blocks import ConvGN, Scale
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
        self.class_tower = [ConvGN(channels, groups, name=f"class_tower_{i}") for i in range(num_convs)]
        self.box_tower = [ConvGN(channels, groups, name=f"box_tower_{i}") for i in range(num_convs)]
        bias = keras.initializers.Constant(-math.log((1 - prior) / prior))
        self.classification = keras.layers.Conv2D(
            num_classes, 3, padding="same", kernel_initializer=_normal(), bias_initializer=bias, dtype="float32",
            name="classification",
        )
        self.box = keras.layers.Conv2D(
            4 * (num_bins + 1), 3, padding="same", kernel_initializer=_normal(), dtype="float32", name="box"
        )
        self.scales = [Scale(dtype="float32", name=f"scale_p{i}") for i in range(3, 8)]

    def build(self, input_shape):
        for tower in (self.class_tower, self.box_tower):
            shape = tuple(input_shape[0])
            for block in tower:
                block.build(shape)
                shape = (*shape[:-1], self.channels)
        class_channels = shape[-1]
        if self.composed is not None:
            self.composed.build((*shape[:-1], 4 * (self.num_bins + 1)))
            class_channels += self.composed.outputs
        self.classification.build((*shape[:-1], class_channels))
        self.box.build(shape)
        for scale in self.scales:
            scale.build(())
        self.built = True

    def call(self, features):
        levels = [self._level(feature, scale) for feature, scale in zip(features, self.scales)]
        return {
            name: tf.concat([_flatten(level[name]) for level in levels], axis=1) for name in ("classification", "box")
        }

    def _level(self, feature, scale):
        class_feature = box_feature = feature
        for class_block, box_block in zip(self.class_tower, self.box_tower):
            class_feature = class_block(class_feature)
            box_feature = box_block(box_feature)
        box = scale(self.box(box_feature))
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
        self.base.build(input_shape)
        self.dgqp.build((None, None, 4 * (self.num_bins + 1)))
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


def _normal():
    # One instance a layer: Keras's unseeded initializers repeat their values when used twice.
    return keras.initializers.RandomNormal(stddev=0.01)


def _flatten(level):
    """[B, H, W, C] -> [B, H * W, C]."""
    return tf.reshape(level, [tf.shape(level)[0], -1, level.shape[-1]])
