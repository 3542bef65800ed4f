"""Averages of the weights, which are evaluated and kept in place of the weights themselves.

Each has `state`, {name: tf.Variable} of all that a stopped training needs to go on, and `applied()`, the context in
which the model has the average. Create it in the strategy's scope, like the model.
"""

import contextlib

import keras
import numpy as np
import tensorflow as tf

from gfl_tf import compat
from gfl_tf.detectors.checks import unpack


class MovingAverage:
    """The exponential moving average of the weights, from those that the training starts with.

    Its momentum rises: at update t, counted from 0, it is the smaller of `momentum` and (1 + t) / (10 + t), as in
    `tf.train.ExponentialMovingAverage`. The optimizers of Keras have an average, too, but not that.

    Args:
        model: built `keras.Model`.
        variables: {name: variable} of it; the trainable ones are averaged.
        momentum: average = momentum * average + (1 - momentum) * weight, after each update.
    """

    def __init__(self, model, variables, momentum):
        self._momentum = momentum
        self._weights = _trainable(model, variables)
        self.state = {name: tf.Variable(weight, trainable=False) for name, weight in self._weights.items()}

    def update(self, step, is_made):
        """To be called in the cross-replica context after a step, with the number of steps before it, int64 [], and
        whether it changed the weights, bool []."""
        made = tf.cast(step, tf.float32)
        momentum = tf.where(is_made, tf.minimum(self._momentum, (1.0 + made) / (10.0 + made)), 1.0)
        for name, weight in self._weights.items():
            average = self.state[name]
            average.assign(momentum * average + (1.0 - momentum) * weight)

    @contextlib.contextmanager
    def applied(self):
        """Inside this context the model has the averages."""
        weights = list(self._weights.values())
        with _restored(weights):
            _assign(weights, _values(self.state.values()))
            yield


class WeightAverage:
    """Stochastic weight averaging: the mean of the weights at the ends of the learning rate's cycles (Izmailov et al.,
    UAI 2018, algorithm 1; of detectors Zhang et al., arXiv:2012.12645).

    The moving statistics of batch normalization are not averaged. They are measured anew for the mean weights, as the
    algorithm has it, and belong to the average from then on. The training goes on as if there were none of this.

    Args:
        model: built `keras.Model` of images.
        variables: {name: variable} of it.
        strategy: the `tf.distribute.Strategy` that it trains in.
    """

    def __init__(self, model, variables, strategy):
        # Of those that the model runs on their moving statistics in training, too, the measurement changes nothing.
        norms = [layer for layer in compat.nested_layers(model) if isinstance(layer, keras.layers.BatchNormalization)]
        self._norms = [layer for layer in norms if layer.trainable]
        weights = _trainable(model, variables)
        of_norms = {id(value) for layer in self._norms for value in (layer.moving_mean, layer.moving_variance)}
        statistics = {name: value for name, value in variables.items() if id(value) in of_norms}
        self._weights = list(weights.values())
        self._statistics = [compat.tf_variable(value) for value in statistics.values()]
        self._count = tf.Variable(0, trainable=False, dtype=tf.int64)
        self._mean_weights = [tf.Variable(tf.zeros(weight.shape), trainable=False) for weight in self._weights]
        self._mean_statistics = [tf.Variable(tf.zeros(value.shape), trainable=False) for value in self._statistics]
        self.state = {
            "count": self._count,
            **{f"weights/{name}": mean for name, mean in zip(weights, self._mean_weights)},
            **{f"statistics/{name}": mean for name, mean in zip(statistics, self._mean_statistics)},
        }

        def forward(images):
            model(images, training=True)
            compat.average_statistics(self._norms)

        self._forward = tf.function(lambda images: strategy.run(forward, (images,)), autograph=False)

    @property
    def count(self):
        """The number of cycles that ended so far."""
        return int(self._count.numpy())

    @contextlib.contextmanager
    def applied(self):
        """Inside this context the model has the mean weights and their statistics, once a cycle has ended."""
        if not self.count:
            yield
            return
        with _restored(self._weights + self._statistics):
            _assign(self._weights, _values(self._mean_weights))
            _assign(self._statistics, _values(self._mean_statistics))
            yield

    def end_cycle(self, batches, num_batches):
        """Takes the model's weights into the mean, and measures the mean's statistics.

        Args:
            batches: function that returns an iterator of (images, labels), distributed as for training; not called
                for a model without batch normalization in training.
            num_batches: how many of them to measure with; the statistics are the mean of theirs.
        """
        count = self.count + 1
        pairs = zip(_values(self._mean_weights), _values(self._weights))
        _assign(self._mean_weights, [mean + (weight - mean) / count for mean, weight in pairs])
        _assign(self._mean_statistics, _values(self._statistics))
        self._count.assign(count)
        if self._norms:
            with self.applied():
                _assign(self._mean_statistics, self._measure(batches(), num_batches))

    def _measure(self, batches, num_batches):
        """The statistics of batches under the model's present weights; changes those of the model."""
        before = _values(self._statistics)
        total = [np.zeros(value.shape) for value in before]
        momenta = [layer.momentum for layer in self._norms]
        try:
            for layer in self._norms:
                layer.momentum = 0.0  # the moving statistics are then those of the last batch
            for _ in range(num_batches):
                images, *_ = unpack(next(batches))
                self._forward(images)
                measured = _values(self._statistics)
                if all(map(np.array_equal, measured, before)):
                    return before  # all of them stay as they are: one batch has shown it
                total = [one + other for one, other in zip(total, measured)]
        finally:
            for layer, momentum in zip(self._norms, momenta):
                layer.momentum = momentum
        return [value / num_batches for value in total]


def _trainable(model, variables):
    trained = {id(variable) for variable in model.trainable_variables}
    return {name: compat.tf_variable(variable) for name, variable in variables.items() if id(variable) in trained}


@contextlib.contextmanager
def _restored(variables):
    """Whatever happens to variables inside this context, afterwards they are as before."""
    values = _values(variables)
    try:
        yield
    finally:
        _assign(variables, values)


def _values(variables):
    return [variable.numpy() for variable in variables]


def _assign(variables, values):
    for variable, value in zip(variables, values):
        variable.assign(value)
