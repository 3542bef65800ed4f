"""Optimizers: SGD as the papers' code runs it, and AdamW."""

import keras
import tensorflow as tf

from gfl_tf import compat
from gfl_tf.layers.deformable import DeformableConv2D


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
        learning_rate_factors: one for each variable that it trains, in the order of `build`; None for 1 each.
        **kwargs: Keras's own, such as `global_clipnorm`, `use_ema`, `ema_momentum`.
    """

    def __init__(self, learning_rate=0.01, momentum=0.9, l2=0.0, learning_rate_factors=None, name="SGD", **kwargs):
        if kwargs.get("weight_decay") or kwargs.get("nesterov"):
            raise ValueError("this SGD has no decoupled weight_decay (use l2, or keras.optimizers.SGD) and no nesterov")
        super().__init__(learning_rate=learning_rate, momentum=momentum, name=name, **kwargs)
        self.l2 = l2
        self.learning_rate_factors = learning_rate_factors

    def build(self, var_list):
        factors = self.learning_rate_factors
        if factors is not None and len(factors) != len(var_list):
            raise ValueError(f"there are {len(factors)} learning_rate_factors for {len(var_list)} variables")
        super().build(var_list)

    def update_step(self, gradient, variable, learning_rate=None):
        """Keras 2 leaves out the learning rate."""
        learning_rate = self.learning_rate if learning_rate is None else learning_rate
        update = tf.convert_to_tensor(gradient)  # dense, also where an embedding gives slices
        if self.l2 and compat.is_decayed(self, variable):
            update += tf.cast(self.l2, variable.dtype) * variable
        index = compat.variable_index(self, variable)
        if self.momentum:
            buffer = compat.tf_variable(self.momentums[index])
            update += tf.cast(self.momentum, variable.dtype) * buffer
            buffer.assign(update)
        factor = 1.0 if self.learning_rate_factors is None else self.learning_rate_factors[index]
        variable.assign_sub(tf.cast(learning_rate * factor, variable.dtype) * update)

    def get_config(self):
        return {**super().get_config(), "l2": self.l2, "learning_rate_factors": self.learning_rate_factors}


def build_optimizer(train, learning_rate, model, precision="float32"):
    """The optimizer that `config.train` describes.

    Args:
        train: `config.train`, checked; reads optimizer, momentum, bias_learning_rate_factor, weight_decay, decay_bias,
            decay_norm, clip_norm.
        learning_rate: a float or a schedule.
        model: built model whose weights it will train.
        precision: "mixed_float16" adds dynamic loss scaling.
    """
    options = {"global_clipnorm": train.clip_norm or None, **compat.OPTIMIZER_OPTIONS}
    if train.optimizer == "sgd":
        if train.bias_learning_rate_factor != 1.0:
            options["learning_rate_factors"] = bias_factors(model, train.bias_learning_rate_factor)
        optimizer = SGD(learning_rate, momentum=train.momentum, l2=train.weight_decay, **options)
    else:
        optimizer = keras.optimizers.AdamW(learning_rate, weight_decay=train.weight_decay, **options)
    undecayed = undecayed_variables(model, train.decay_bias, train.decay_norm)
    if undecayed:
        optimizer.exclude_from_weight_decay(var_list=undecayed)
    if precision == "mixed_float16":
        optimizer = keras.mixed_precision.LossScaleOptimizer(optimizer)
    return optimizer


def undecayed_variables(model, decay_bias, decay_norm):
    """Those variables that no weight decay applies to: biases, and scale and offset of normalization, by choice."""
    undecayed = [] if decay_bias else bias_variables(model)
    if not decay_norm:
        trained = model.trainable_variables
        undecayed += [variable for variable in trained if compat.own_name(variable) in ("gamma", "beta")]
    return undecayed


def bias_factors(model, factor):
    """For each trainable variable, `factor` if it is one of `bias_variables`, otherwise 1."""
    biases = {id(variable) for variable in bias_variables(model)}
    return [factor if id(variable) in biases else 1.0 for variable in model.trainable_variables]


def bias_variables(model):
    """The biases that the reference treats as such: not the offset of a normalization, nor the bias of the convolution
    that makes a deformable convolution's offsets, which learns and decays like a weight."""
    deformable = [layer for layer in compat.nested_layers(model) if isinstance(layer, DeformableConv2D)]
    of_offsets = {id(layer.offset_conv.bias) for layer in deformable}
    return [
        variable
        for variable in model.trainable_variables
        if compat.own_name(variable) == "bias" and id(variable) not in of_offsets
    ]
