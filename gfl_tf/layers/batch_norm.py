"""Batch normalization that may stay on its moving statistics."""

import keras

from gfl_tf import compat


@keras.saving.register_keras_serializable(package="gfl_tf")
class BatchNormalization(keras.layers.BatchNormalization):
    """Keras's over the channels of [B, H, W, C]; the same numbers with Keras 2 and Keras 3.

    Args:
        norm_eval: it normalizes by its moving statistics in training, too, and leaves them as they are; scale and
            offset are trained.
        **kwargs: Keras's.
    """

    def __init__(self, norm_eval=False, **kwargs):
        super().__init__(**kwargs)
        self.norm_eval = norm_eval

    def call(self, inputs, training=None, mask=None):
        return compat.batch_norm(self, inputs, training and not self.norm_eval, mask)

    def get_config(self):
        return {**super().get_config(), "norm_eval": self.norm_eval}
