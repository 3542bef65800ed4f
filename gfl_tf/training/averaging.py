"""Averages of the weights, which are evaluated and kept in place of the weights themselves."""

import contextlib

import keras
import numpy as np
import tensorflow as tf

from gfl_tf.detectors.dense import unpack


class WeightAverage:
    """Stochastic weight averaging: the mean of the weights at the ends of the learning rate's cycles (Izmailov et al.,
    UAI 2018, algorithm 1; of detectors Zhang et al., arXiv:2012.12645).

    The moving statistics of batch normalization are not averaged. They are measured anew for the mean weights, as the
    algorithm has it, and belong to the average from then on. The training goes on as if there were none of this.

    Args:
        model: built `keras.Model` of images.
        strategy: the `tf.distribute.Strategy` that it trains in; create the average in its scope, like the model.

    Attributes:
        state: a `tf.train.Checkpoint` of all that a stopped training needs to go on.
    """

    def __init__(self, model, strategy):
        # Of those that the model runs on their moving statistics in training, too, the measurement changes nothing.
        norms = [layer for layer in model.submodules if isinstance(layer, keras.layers.BatchNormalization)]
        self._norms = [layer for layer in norms if layer.trainable]
        self._weights = model.trainable_variables
        self._statistics = [value for layer in self._norms for value in (layer.moving_mean, layer.moving_variance)]
        self.state = tf.train.Checkpoint(
            count=tf.Variable(0, trainable=False, dtype=tf.int64),
            weights=[tf.Variable(tf.zeros(weight.shape), trainable=False) for weight in self._weights],
            statistics=[tf.Variable(tf.zeros(value.shape), trainable=False) for value in self._statistics],
        )

        def forward(images):
            model(images, training=True)

        self._forward = tf.function(lambda images: strategy.run(forward, (images,)), autograph=False)

    @property
    def count(self):
        """The number of cycles that ended so far."""
        return int(self.state.count.numpy())

    @contextlib.contextmanager
    def applied(self):
        """Inside this context the model has the mean weights and their statistics, once a cycle has ended."""
        if not self.count:
            yield
            return
        with _restored(self._weights + self._statistics):
            _assign(self._weights, _values(self.state.weights))
            _assign(self._statistics, _values(self.state.statistics))
            yield

    def end_cycle(self, batches, num_batches):
        """Takes the model's weights into the mean, and measures the mean's statistics.

        Args:
            batches: function that returns an iterator of (images, labels), distributed as for training; not called
                for a model without batch normalization in training.
            num_batches: how many of them to measure with; the statistics are the mean of theirs.
        """
        count = self.count + 1
        pairs = zip(_values(self.state.weights), _values(self._weights))
        _assign(self.state.weights, [mean + (weight - mean) / count for mean, weight in pairs])
        _assign(self.state.statistics, _values(self._statistics))
        self.state.count.assign(count)
        if self._norms:
            with self.applied():
                _assign(self.state.statistics, self._measure(batches(), num_batches))

    def _measure(self, batches, num_batches):
        """The statistics of batches under the model's present weights; changes those of the model."""
        before = _values(self._statistics)
        total = [np.zeros(value.shape) for value in before]
        momenta = [layer.momentum for layer in self._norms]
        try:
            for layer in self._norms:
                layer.momentum = 0.0  # the moving statistics are then those of the last batch
            for _ in range(num_batches):
                images, _ = unpack(next(batches))
                self._forward(images)
                measured = _values(self._statistics)
                if all(map(np.array_equal, measured, before)):
                    return before  # all of them stay as they are: one batch has shown it
                total = [one + other for one, other in zip(total, measured)]
        finally:
            for layer, momentum in zip(self._norms, momenta):
                layer.momentum = momentum
        return [value / num_batches for value in total]


@contextlib.contextmanager
def averaged_weights(model, average=None):
    """Inside this context a compiled model has the averages of its weights, where there are any.

    Args:
        average: `WeightAverage`; without one, the moving average that the model's optimizer keeps (`use_ema`).
    """
    if average is not None:
        with average.applied():
            yield
    elif model.optimizer.use_ema:
        variables = model.trainable_variables
        with _restored(variables):
            model.optimizer.finalize_variable_values(variables)
            yield
    else:
        yield


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
