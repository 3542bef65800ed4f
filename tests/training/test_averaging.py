"""The moving average of the weights; stochastic weight averaging: their mean, and batch statistics of its own."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from gfl_tf.checkpoints.weight_file import layer_variables
from gfl_tf.layers.batch_norm import BatchNormalization
from gfl_tf.training.averaging import MovingAverage, WeightAverage

BATCHES = np.random.default_rng(0).normal(1.0, size=(3, 2, 4, 4, 3)).astype(np.float32)


def _model(norm="trained"):
    """1x1 convolution and batch normalization, which is "trained", "frozen", or run on its moving statistics."""
    inputs = keras.Input((4, 4, 3))
    layer = BatchNormalization(norm_eval=norm == "norm_eval", momentum=0.9)
    layer.trainable = norm != "frozen"
    features = keras.layers.Conv2D(3, 1, use_bias=False, name="conv")(inputs)
    return keras.Model(inputs, layer(features))


def _average(model):
    return WeightAverage(model, layer_variables(model), tf.distribute.get_strategy())


class _Batches:
    """A function that returns an iterator of batches; counts what is taken."""

    def __init__(self, batches=BATCHES):
        self.batches = batches
        self.taken = 0

    def __call__(self):
        for batch in self.batches:
            self.taken += 1
            yield tf.constant(batch), {"boxes": (), "classes": ()}


def _cycle_ends(model, average, batches, count=3):
    """Ends that many cycles, each with other weights and statistics, and returns the weights by cycle."""
    weights = []
    for cycle in range(count):
        random = np.random.default_rng(cycle)
        model.set_weights([random.uniform(0.5, 2.0, value.shape).astype(np.float32) for value in model.get_weights()])
        weights.append([value.numpy() for value in model.trainable_variables])
        before = model.get_weights()
        average.end_cycle(batches, len(BATCHES))
        assert _equal(model.get_weights(), before)  # the training's own weights and statistics
        assert [layer.momentum for layer in model.layers if hasattr(layer, "momentum")] == [0.9]
    return weights


def _equal(one, other):
    return all(map(np.array_equal, one, other))


@pytest.mark.parametrize("norm", ["trained", "norm_eval", "frozen"])
def test_average_is_the_mean_of_the_weights_at_the_cycle_ends(norm):
    model = _model(norm)
    average = _average(model)
    with average.applied():
        before = model.get_weights()
    assert average.count == 0 and _equal(model.get_weights(), before)  # no average yet: the model's own
    weights = _cycle_ends(model, average, _Batches())
    last = model.get_weights()
    with average.applied():
        for variable, *values in zip(model.trainable_variables, *weights):
            np.testing.assert_allclose(variable.numpy(), np.mean(values, axis=0), rtol=1e-6)
    assert average.count == 3 and _equal(model.get_weights(), last)


def test_statistics_are_those_of_the_mean_weights():
    model = _model()
    average = _average(model)
    batches = _Batches()
    weights = _cycle_ends(model, average, batches)
    assert batches.taken == 9

    def expected(kernel):  # mean over the batches of their own moments; Keras keeps the unbiased variance
        pixels = (BATCHES @ kernel[0, 0]).reshape(len(BATCHES), -1, 3)
        return pixels.mean(axis=1).mean(axis=0), pixels.var(axis=1, ddof=1).mean(axis=0)

    kernels = [values[0] for values in weights]
    with average.applied():
        found = [value.numpy() for value in model.non_trainable_variables]
    for value, of_mean, of_last in zip(found, expected(np.mean(kernels, axis=0)), expected(kernels[-1])):
        np.testing.assert_allclose(value, of_mean, rtol=1e-4, atol=1e-6)
        assert np.abs(value - of_last).max() > 0.05


@pytest.mark.parametrize("norm, taken", [("norm_eval", 3), ("frozen", 0)])
def test_statistics_that_training_leaves_alone(norm, taken):
    """Those of the model, and no more than one batch a cycle to find out."""
    model = _model(norm)
    average = _average(model)
    batches = _Batches()
    _cycle_ends(model, average, batches)
    statistics = [value.numpy() for value in model.non_trainable_variables if "moving" in value.name]
    with average.applied():
        now = [value.numpy() for value in model.non_trainable_variables if "moving" in value.name]
    assert len(now) == 2 and _equal(now, statistics) and batches.taken == taken


def test_state_is_all_that_a_checkpoint_needs(tmp_path):
    model = _model()
    average = _average(model)
    _cycle_ends(model, average, _Batches(), count=2)
    path = tf.train.Checkpoint(average=average.state).write(str(tmp_path / "state"))
    again = _average(model)
    tf.train.Checkpoint(average=again.state).read(path).assert_consumed()
    assert again.count == 2
    with average.applied():
        expected = model.get_weights()
    with again.applied():
        assert _equal(model.get_weights(), expected)


def test_moving_average_starts_from_the_first_weights():
    model = _model()
    kernel = model.trainable_variables[0]
    kernel.assign(tf.ones_like(kernel))
    average = MovingAverage(model, layer_variables(model), 0.75)
    # The third step is one that loss scaling skipped. After 26 steps, (1 + t) / (10 + t) would be 0.77.
    steps = ((0.0, 0, True, 0.1), (4.0, 1, True, 3.2909), (8.0, 2, False, 3.2909), (0.0, 28, True, 2.4682))
    for value, step, is_made, expected in steps:
        kernel.assign(value * tf.ones_like(kernel))
        average.update(tf.constant(step, tf.int64), tf.constant(is_made))
        with average.applied():
            np.testing.assert_allclose(kernel.numpy(), np.full(kernel.shape, expected), rtol=1e-4)
        np.testing.assert_array_equal(kernel.numpy(), np.full(kernel.shape, value))
    assert len(average.state) == 3 and not any("moving" in name for name in average.state)  # kernel, scale and offset
