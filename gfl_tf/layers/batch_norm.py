"""Batch normalization that may stay on its moving statistics."""

import typing

import keras
import tensorflow as tf

from gfl_tf import compat


@keras.saving.register_keras_serializable(package="gfl_tf")
class BatchNormalization(keras.layers.BatchNormalization):
    """Keras's over the channels of [B, H, W, C]; the same numbers with Keras 2 and Keras 3.

    Args:
        norm_eval: it normalizes by its moving statistics in training, too, and leaves them as they are; scale and
            offset are trained.
        **kwargs: Keras's.
    """

    def __init__(self, norm_eval: bool = False, **kwargs: typing.Any):
        super().__init__(**kwargs)
        self.norm_eval = norm_eval

    def call(self, inputs, training=None, mask=None) -> tf.Tensor:
        return compat.batch_norm(self, inputs, training and not self.norm_eval, mask)

    def get_config(self) -> dict[str, typing.Any]:
        return {**super().get_config(), "norm_eval": self.norm_eval}
