"""The training step of a run: its update is made only where the loss and the gradients are finite."""

import collections.abc
import typing

import keras
import numpy as np
import tensorflow as tf

from gfl_tf import compat


class Numbers(typing.NamedTuple):
    """What a step computes before its update.

    Attributes:
        losses: {name: scalar} of the batch over all replicas, see `Detector.compute_gradients`.
        gradients: of each trainable variable, or None, summed over replicas.
        squares: float32 [V], half the sum of the squares of each of these.
        is_finite: bool [], whether the update can be made.
    """

    losses: dict[str, tf.Tensor]
    gradients: list[tf.Tensor | None]
    squares: tf.Tensor
    is_finite: tf.Tensor


class Done(typing.NamedTuple):
    """What a step says: `means` are those of the losses since the metrics were reset, the others see `Numbers`."""

    means: dict[str, tf.Tensor]
    losses: dict[str, tf.Tensor]
    squares: tf.Tensor
    is_finite: tf.Tensor


def numbers(model: keras.Model, batch: typing.Any) -> Numbers:
    """Those of a compiled detector and one batch, in a replica.

    A gradient that is not finite is left to the `LossScaleOptimizer`, where there is one: it makes no update, and
    halves its scale. That of a scale of 1 or less has another reason.
    """
    losses, gradients = model.compute_gradients(batch)
    squares = tf.stack([0.0 if gradient is None else tf.nn.l2_loss(gradient) for gradient in gradients])
    # Of the sum, as clipping to a norm makes all gradients NaN where that is not finite.
    has_update = tf.math.is_finite(tf.reduce_sum(squares))
    scale = compat.loss_scale(model.optimizer)
    if scale is not None:
        has_update |= scale > 1.0
    return Numbers(losses, gradients, squares, tf.math.is_finite(losses["loss"]) & has_update)


def read(
    model: keras.Model, variables: dict[str, typing.Any], found: Numbers | Done
) -> tuple[dict[str, float], list[str]]:
    """(losses by the model's `metric_names`, names of the variables whose gradients are not finite).

    Args:
        variables: {name: variable} of the model.
        found: of a step that was made.
    """
    names = {id(variable): name for name, variable in variables.items()}
    finite = np.isfinite(found.squares)
    not_finite = [names[id(variable)] for variable, whole in zip(model.trainable_variables, finite) if not whole]
    return {name: float(found.losses[name]) for name in model.metric_names}, not_finite


def build(
    model: keras.Model, strategy: tf.distribute.Strategy, moving_average: typing.Any = None
) -> collections.abc.Callable[[typing.Any], Done]:
    """A function of a distributed batch that makes a step, and counts it in the optimizer's `iterations`.

    Where the numbers are not finite, everything is as before the step, on all replicas: weights, optimizer, averages,
    metrics, the statistics of normalizations, and `iterations`.

    Args:
        model: compiled detector, whose optimizer is built.
        strategy: in whose scope it was made.
        moving_average: `MovingAverage` of its weights.
    """
    iterations = compat.tf_variable(model.optimizer.iterations)
    # A forward pass changes some of them; to read the others costs nothing.
    states = [compat.tf_variable(variable) for variable in model.non_trainable_variables]

    def compute(batch):
        before = [state.read_value() for state in states]
        return numbers(model, batch), before

    def undo(before):
        for state, value in zip(states, before):
            state.assign(value)

    @tf.function(autograph=False)  # converting the model's Python takes longer than tracing it, and is not needed
    def step(batch):
        start = tf.identity(iterations)
        found, before = strategy.run(compute, (batch,))

        def first(values):  # they are the same on all replicas
            return tf.nest.map_structure(lambda value: strategy.experimental_local_results(value)[0], values)

        squares, is_finite = first(found.squares), first(found.is_finite)

        def make():
            strategy.run(model.apply_gradients, (found.losses, found.gradients))
            iterations.assign(start + 1)  # also where the loss's scale was too large
            if moving_average:
                moving_average.update(start, tf.math.is_finite(tf.reduce_sum(squares)))
            return tf.constant(True)

        def leave():
            strategy.run(undo, (before,))
            return tf.constant(False)

        is_finite = tf.cond(is_finite, make, leave)
        # Keras metrics are the mean over replicas on each of them.
        return Done(first(strategy.run(model.mean_losses)), first(found.losses), squares, is_finite)

    return step
