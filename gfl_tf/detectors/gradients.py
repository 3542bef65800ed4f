"""The gradients of a training batch: of all of it at once, or of one micro-batch after the other.

The losses of a batch are divided by sums over all of it, of positives and of their weights, which follow from what is
predicted. So the mean of the gradients of micro-batches, each with sums of its own, is not the gradient of the batch.
Here the losses are those of the whole batch:

1. each micro-batch goes forward, and leaves its raw outputs alone;
2. the losses of all raw outputs, and their gradients with respect to these;
3. each micro-batch goes forward again, and the gradients of its raw outputs back to the weights, where they are added.

That is one more forward pass, about a third of a step. The other exact ways cost more: of the terms of the loss,
those with a divisor of their own would each need a backward pass.
"""

import typing

import tensorflow as tf

from gfl_tf import compat
from gfl_tf.detectors import training
from gfl_tf.layers.recompute import held_statistics


def of_batch(
    model: typing.Any, images: tf.Tensor, labels: dict[str, typing.Any], weights: tf.Tensor | None
) -> tuple[dict[str, tf.Tensor], list[tf.Tensor | None]]:
    """The losses and gradients of a compiled `Detector`, in a replica, of what `checks.unpack` gives.

    Returns:
        (losses, gradients): the scalars of `metric_names`, and more for `Detector.apply_gradients`, of the batch over
        all replicas; of each trainable variable its gradient, see `compat.gradients`.
    """
    if model.micro_batches > 1:
        return _of_micro_batches(model, images, labels, weights)
    with tf.GradientTape() as tape:
        loss, losses = training.loss_values(model, images, labels, model(images, training=True), weights)
    return losses, compat.gradients(model.optimizer, loss, model.trainable_variables, tape)


def _of_micro_batches(model, images, labels, weights):
    batch = _MicroBatches(images, model.micro_batches)
    outputs = batch.outputs(model)
    variables = model.trainable_variables
    with tf.GradientTape() as tape:
        tape.watch(outputs)
        loss, losses = training.loss_values(model, images, labels, outputs, weights)
        loss = compat.scaled_loss(model.optimizer, loss)
    own = {name: outputs[name] for name in model.output}
    # Variables have a part in this loss by their regularization alone.
    of_outputs, found = tape.gradient(loss, (own, variables))
    sums = batch.gradients(model, of_outputs)
    totals = [one if other is None else other if one is None else one + other for one, other in zip(sums, found)]
    return losses, compat.summed_gradients(model.optimizer, totals)


class _MicroBatches:
    """Images [B, H, W, 3] in `number` parts of the same size but for the last one, or in fewer where B is less."""

    def __init__(self, images, number):
        self._images = images
        self._size = -(-tf.shape(images)[0] // number)
        self._count = -(-tf.shape(images)[0] // self._size)

    def _part(self, index, values):
        return values[index * self._size : (index + 1) * self._size]

    def outputs(self, model):
        """{name: raw outputs [B, P, ...]} in training, with those of the teacher, if there is one."""
        channels = {name: output.shape[-1] for name, output in model.output.items()}
        if model.distillation:
            channels.update({f"teacher_{name}": channels[name] for name in model.distillation.TAUGHT})

        def write(index, arrays):
            images = self._part(index, self._images)
            found = model(images, training=True)
            if model.distillation:
                found = model.distillation.with_teacher(found, images)
            return index + 1, {name: array.write(index, found[name]) for name, array in arrays.items()}

        arrays = {
            name: tf.TensorArray(tf.float32, self._count, element_shape=[None, None, number], infer_shape=False)
            for name, number in channels.items()
        }
        _, arrays = self._loop(write, arrays)
        return {name: array.concat() for name, array in arrays.items()}

    def gradients(self, model, of_outputs):
        """Of the trainable variables, or None, by those of the raw outputs, [B, P, ...] or None."""
        variables = model.trainable_variables
        connected = [True] * len(variables)

        def add(index, sums):
            with tf.GradientTape() as tape, held_statistics(compat.nested_layers(model)):
                outputs = model(self._part(index, self._images), training=True)
            upstream = {name: self._part(index, value) for name, value in of_outputs.items() if value is not None}
            found = tape.gradient({name: outputs[name] for name in upstream}, variables, output_gradients=upstream)
            connected[:] = [gradient is not None for gradient in found]
            return index + 1, [total if one is None else total + one for total, one in zip(sums, found)]

        _, sums = self._loop(add, [tf.zeros(variable.shape, variable.dtype) for variable in variables])
        return [total if is_connected else None for total, is_connected in zip(sums, connected)]

    def _loop(self, body, values):
        def goes_on(index, _):
            return index < self._count

        # One after the other: together they would take the memory of the whole batch.
        return tf.while_loop(goes_on, body, (tf.constant(0), values), parallel_iterations=1)
