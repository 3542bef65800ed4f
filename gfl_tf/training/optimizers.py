"""Optimizers: SGD as the papers' code runs it, and AdamW."""

import tensorflow as tf
from tensorflow import keras


@keras.saving.register_keras_serializable(package="gfl_tf")
class SGD(keras.optimizers.SGD):
    """SGD with momentum as PyTorch computes it, which the papers' hyperparameters are meant for.

        buffer = momentum * buffer + gradient + l2 * weight
        weight = weight - learning_rate * buffer

    Keras differs twice. Its `weight_decay` shrinks the weights beside the update, so that with momentum 0.9 the same
    number decays ten times less; `l2` enters before the momentum. And its buffer holds past learning rates, so that a
    change of the rate takes many steps to arrive; here it acts at once.

    `exclude_from_weight_decay` (before `build`) keeps variables out of `l2`. Clipping comes before the decay, as in
    PyTorch.

    Args:
        learning_rate, momentum: as Keras.
        l2: factor of the weights in the gradient.
        **kwargs: Keras's own, such as `global_clipnorm`, `use_ema`, `ema_momentum`.
    """

    def __init__(self, learning_rate=0.01, momentum=0.9, l2=0.0, name="SGD", **kwargs):
        if kwargs.get("weight_decay") or kwargs.get("nesterov"):
            raise ValueError("this SGD has no decoupled weight_decay (use l2, or keras.optimizers.SGD) and no nesterov")
        super().__init__(learning_rate=learning_rate, momentum=momentum, name=name, **kwargs)
        self.l2 = l2

    def update_step(self, gradient, variable):
        gradient = tf.convert_to_tensor(gradient)  # dense, also where an embedding gives slices
        if self.l2 and self._use_weight_decay(variable):
            gradient += tf.cast(self.l2, variable.dtype) * variable
        buffer = self.momentums[self._index_dict[self._var_key(variable)]]
        buffer.assign(tf.cast(self.momentum, variable.dtype) * buffer + gradient)
        variable.assign_sub(tf.cast(self.learning_rate, variable.dtype) * buffer)

    def get_config(self):
        return {**super().get_config(), "l2": self.l2}


def build_optimizer(train, learning_rate, model, precision="float32"):
    """The optimizer that `config.train` describes.

    Args:
        train: `config.train`; reads optimizer, momentum, weight_decay, decay_bias, decay_norm, clip_norm, ema_momentum.
        learning_rate: a float or a schedule.
        model: whose weights it will train.
        precision: "mixed_float16" adds dynamic loss scaling.

    Raises:
        ValueError: unknown `train.optimizer`.
    """
    options = {"global_clipnorm": train.clip_norm or None, "jit_compile": False}
    if train.ema_momentum:
        options.update(use_ema=True, ema_momentum=train.ema_momentum)
    if train.optimizer == "sgd":
        optimizer = SGD(learning_rate, momentum=train.momentum, l2=train.weight_decay, **options)
    elif train.optimizer == "adamw":
        optimizer = keras.optimizers.AdamW(learning_rate, weight_decay=train.weight_decay, **options)
    else:
        raise ValueError(f"config.train.optimizer is {train.optimizer!r}; choose 'sgd' or 'adamw'")
    undecayed = undecayed_variables(model.trainable_variables, train.decay_bias, train.decay_norm)
    if undecayed:
        optimizer.exclude_from_weight_decay(var_list=undecayed)
    if precision == "mixed_float16":
        optimizer = keras.mixed_precision.LossScaleOptimizer(optimizer)
    return optimizer


def undecayed_variables(variables, decay_bias, decay_norm):
    """Those variables that no weight decay applies to: biases, and scale and offset of normalization, by choice."""
    names = (() if decay_bias else ("bias",)) + (() if decay_norm else ("gamma", "beta"))
    return [variable for variable in variables if variable.name.split("/")[-1].split(":")[0] in names]
