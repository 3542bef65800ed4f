"""SGD against PyTorch's update, computed by hand; weight decay and its exclusions; clipping."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from gfl_tf import compat
from gfl_tf.layers.deformable import DeformableConv2D
from gfl_tf.training.config import default_train
from gfl_tf.training.optimizers import SGD, build_optimizer


def _train(**fields):
    train = default_train()
    train.update(fields)
    return train


def _model():
    """Variables named kernel, bias, gamma and beta, all ones."""
    model = keras.Sequential([keras.layers.Dense(1), keras.layers.LayerNormalization()])
    model.build((None, 1))
    for variable in model.trainable_variables:
        variable.assign(tf.ones_like(variable))
    return model


def _by_name(model):
    return {compat.own_name(v): float(tf.squeeze(v)) for v in model.trainable_variables}


def test_sgd_by_hand():
    weight = tf.Variable([1.0, -2.0])
    optimizer = SGD(0.1, momentum=0.5, l2=0.1)
    optimizer.apply_gradients([(tf.constant([1.0, 0.0]), weight)])
    # buffer = gradient + 0.1 * weight = [1.1, -0.2]
    np.testing.assert_allclose(weight.numpy(), [0.89, -1.98], rtol=1e-6)
    optimizer.apply_gradients([(tf.constant([0.0, 2.0]), weight)])
    # buffer = 0.5 * [1.1, -0.2] + [0.089, 1.802] = [0.639, 1.702]
    np.testing.assert_allclose(weight.numpy(), [0.8261, -2.1502], rtol=1e-6)


def test_sgd_takes_a_new_learning_rate_at_once():
    """PyTorch's buffer holds gradients, not steps: after a drop of the rate, past gradients too move by the new one."""
    schedule = keras.optimizers.schedules.PiecewiseConstantDecay([0], [1.0, 0.1])
    weight = tf.Variable(0.0)
    optimizer = SGD(schedule, momentum=0.9)
    for _ in range(3):
        optimizer.apply_gradients([(tf.constant(1.0), weight)])
    # buffers 1, 1.9, 2.71; steps 1 * 1, 0.1 * 1.9, 0.1 * 2.71
    np.testing.assert_allclose(weight.numpy(), -1.461, rtol=1e-6)


def test_sgd_clips_before_the_decay():
    weight = tf.Variable([10.0, 10.0])
    SGD(1.0, momentum=0.0, l2=0.1, global_clipnorm=1.0).apply_gradients([(tf.constant([3.0, 4.0]), weight)])
    # Clipped to [0.6, 0.8], then + 1.
    np.testing.assert_allclose(weight.numpy(), [8.4, 8.2], rtol=1e-6)


def test_sgd_in_a_graph_equals_eager():
    results = []
    for wrap in (lambda function: function, tf.function):
        weight, other = tf.Variable([1.0, 2.0]), tf.Variable(3.0)
        optimizer = SGD(0.1, momentum=0.9, l2=0.01)
        update = wrap(lambda: optimizer.apply_gradients([(2.0 * weight, weight), (-1.0 * other, other)]))
        for _ in range(4):
            update()
        results.append([*weight.numpy(), other.numpy()])
    np.testing.assert_allclose(*results, rtol=1e-6)


def test_sgd_is_serializable():
    optimizer = SGD(0.3, momentum=0.8, l2=0.02, global_clipnorm=5.0)
    again = keras.optimizers.deserialize(keras.optimizers.serialize(optimizer))
    assert isinstance(again, SGD)
    assert again.get_config() == optimizer.get_config()
    assert (again.l2, again.momentum, again.global_clipnorm) == (0.02, 0.8, 5.0)


def test_sgd_refuses_what_it_does_not_do():
    with pytest.raises(ValueError, match="decoupled"):
        SGD(0.1, weight_decay=1e-4)


@pytest.mark.parametrize("name", ["sgd", "adamw"])
@pytest.mark.parametrize("decay_bias", [True, False])
@pytest.mark.parametrize("decay_norm", [True, False])
def test_exclusions(name, decay_bias, decay_norm):
    train = _train(optimizer=name, momentum=0.0, weight_decay=0.1, decay_bias=decay_bias, decay_norm=decay_norm)
    model = _model()
    optimizer = build_optimizer(train, 1.0, model)
    # No gradient: what moves is decay alone.
    optimizer.apply_gradients([(tf.zeros_like(v), v) for v in model.trainable_variables])
    decayed = {"kernel": True, "bias": decay_bias, "gamma": decay_norm, "beta": decay_norm}
    assert _by_name(model) == pytest.approx({key: 0.9 if value else 1.0 for key, value in decayed.items()})


def test_float16_skips_steps_that_overflow():
    model = _model()
    optimizer = build_optimizer(_train(), 1.0, model, precision="mixed_float16")
    assert isinstance(optimizer, keras.mixed_precision.LossScaleOptimizer)
    optimizer.build(model.trainable_variables)
    scale = _loss_scale(optimizer)
    optimizer.apply_gradients([(np.inf * tf.ones_like(v), v) for v in model.trainable_variables])
    assert set(_by_name(model).values()) == {1.0}
    assert _loss_scale(optimizer) < scale


def _loss_scale(optimizer):
    return float(compat.optimizer_state(optimizer, [])["loss_scale"])


# What three updates with these gradients and rates make of 1, computed with torch.optim.SGD. Its parameter groups are
# those of mmengine's constructor for a deformable convolution, a convolution and a group normalization, with
# bias_lr_mult=2, bias_decay_mult=0, norm_decay_mult=1 (mmcv 1.x's default, which VarifocalNet trained with).
GRADIENTS, RATES, DECAY = (1.0, -0.5, 0.25), (0.1, 0.1, 0.01), 0.01
AS_WEIGHT, AS_BIAS = 0.8508533, 0.7078


def _layered_model():
    """Its variables in order: kernel, offset kernel, offset bias, kernel, bias, gamma, beta; all ones."""
    layers = [
        DeformableConv2D(1, 1, modulated=False),
        keras.layers.Conv2D(1, 1),
        keras.layers.LayerNormalization(),
    ]
    model = keras.Sequential(layers)
    model.build((None, 4, 4, 1))
    for variable in model.trainable_variables:
        variable.assign(tf.ones_like(variable))
    return model


def _reference_updates(optimizer, model, strategy):
    with strategy.scope():
        optimizer.build(model.trainable_variables)
    # Keras 3 takes gradients of the scaled loss, Keras 2 of the loss.
    scale = _loss_scale(optimizer) if compat.KERAS_3 and hasattr(optimizer, "inner_optimizer") else 1.0
    for gradient in GRADIENTS:
        gradients = [scale * gradient * tf.ones_like(v) for v in model.trainable_variables]
        strategy.run(lambda values: optimizer.apply_gradients(zip(values, model.trainable_variables)), (gradients,))
    values = [float(tf.reduce_mean(variable)) for variable in model.trainable_variables]
    assert values == pytest.approx([AS_WEIGHT] * 4 + [AS_BIAS] + [AS_WEIGHT] * 2, rel=1e-6)


@pytest.mark.parametrize("how", ["plain", "revived", "mixed_float16", "mirrored"])
def test_bias_learning_rate_as_in_the_reference(how):
    train = _train(weight_decay=DECAY, decay_bias=False, bias_learning_rate_factor=2.0)
    rates = keras.optimizers.schedules.PiecewiseConstantDecay([1], [RATES[0], RATES[2]])
    strategy = tf.distribute.MirroredStrategy(["CPU:0"]) if how == "mirrored" else tf.distribute.get_strategy()
    with strategy.scope():
        model = _layered_model()
        optimizer = build_optimizer(train, rates, model, "mixed_float16" if how == "mixed_float16" else "float32")
    if how == "revived":
        factors = optimizer.get_config()["learning_rate_factors"]
        optimizer = keras.optimizers.deserialize(keras.optimizers.serialize(optimizer))
        assert optimizer.get_config()["learning_rate_factors"] == factors == [1, 1, 1, 1, 2, 1, 1]
        optimizer.exclude_from_weight_decay(var_list=[model.trainable_variables[4]])  # Keras does not store these
    _reference_updates(optimizer, model, strategy)


def test_learning_rate_factors_are_one_for_each_variable():
    with pytest.raises(ValueError, match="2 learning_rate_factors for 1 variables"):
        SGD(0.1, learning_rate_factors=[1.0, 2.0]).build([tf.Variable(1.0)])
