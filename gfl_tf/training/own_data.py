"""What the configs for data of one's own share: settings that hold for a few dozen images and for many thousands."""

import ml_collections

from gfl_tf.training.config import default_data, default_train


def data(long_side_limits: tuple[int, int]) -> ml_collections.ConfigDict:
    """`config.data`: the scale follows the boxes' sizes, within limits of the long side in pixels."""
    fields = default_data()
    fields.val_share = 0.15
    fields.scale = ()
    fields.long_side_limits = long_side_limits
    fields.cache = True
    fields.augmentations = (dict(name="zoom", factor=(0.75, 1.33)), dict(name="flip", probability=0.5))
    return fields


def train(learning_rate: float) -> ml_collections.ConfigDict:
    """`config.train`: AdamW on a cosine, of 1,500 steps or, if there are more images, 15 passes.

    Args:
        learning_rate: for a batch of 8 images.
    """
    fields = default_train()
    fields.batch_size = 8
    fields.base_batch_size = 8
    fields.epochs = 15
    fields.min_steps_per_epoch = 100
    fields.optimizer = "adamw"
    fields.learning_rate = learning_rate
    fields.weight_decay = 0.05
    fields.decay_bias = False
    fields.decay_norm = False
    fields.clip_norm = 10.0
    fields.warmup_share = 0.05
    fields.schedule = "cosine"
    fields.ema_momentum = 0.998
    fields.patience = 5
    return fields
