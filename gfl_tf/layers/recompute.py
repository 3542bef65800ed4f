"""Gradient checkpointing (Chen et al., arXiv:1604.06174): results that are made again in the backward pass in place of
being kept for it, which takes time and saves memory.

`tf.recompute_grad` does it, with two additions that Keras layers need: batch normalization must not update its moving
statistics a second time, and the layers must know also then that they are in training. `keras.RematScope` is the same
function around each layer by itself, in Keras 3 alone; there nearly all that would be saved is some layer's input.
"""

import collections.abc
import contextlib

import keras
import tensorflow as tf

from gfl_tf import compat

# Of a segment. 3 is a bottleneck, and two blocks where blocks have two.
MIN_CONVOLUTIONS = 3


class Segments:
    """A functional model in training, of whose backward pass the segments are computed again one by one.

    A segment has at least `MIN_CONVOLUTIONS` convolutions, and ends where one tensor alone, beside the model's outputs,
    is handed on, the last such place before another convolution: the blocks of a residual network, the stages of a
    CSPDarknet. Segments before the first one that is trained are left as they are: nothing of them is kept.

    Args:
        model: functional `keras.Model` with one input.
    """

    def __init__(self, model: keras.Model):
        outputs = list(model.output)
        self._names = {name: id(model.output[name]) for name in outputs}
        self._input = id(model.inputs[0])
        divided = _divided(compat.calls(model), self._input)
        self._segments = []
        for index, segment in enumerate(divided):
            later = {tensor for other in divided[index + 1 :] for call in other for tensor in call.inputs}
            self._segments.append(_Segment(segment, later.union(self._names.values())))

    def __len__(self) -> int:
        return len(self._segments)

    def __call__(self, images: tf.Tensor) -> dict[str, tf.Tensor]:
        """The model's outputs by name."""
        values, is_trained = {self._input: images}, False
        for segment in self._segments:
            is_trained = is_trained or segment.is_trained()
            compute = recomputed(segment.compute, segment.layers) if is_trained else segment.compute
            values.update(zip(segment.outputs, compute(*(values[tensor] for tensor in segment.inputs))))
        return {name: values[tensor] for name, tensor in self._names.items()}


def recomputed(
    function: collections.abc.Callable, layers: collections.abc.Sequence[keras.layers.Layer] = ()
) -> collections.abc.Callable:
    """A function of tensors that gives the same, once, and of which the backward pass needs its inputs alone.

    Args:
        function: of tensors to a tensor or a list of some.
        layers: that it calls, with those inside them; the first time alone they update moving statistics.
    """
    is_again = False

    def compute(*tensors):
        nonlocal is_again
        with held_statistics(layers) if is_again else contextlib.nullcontext():
            is_again = True
            return function(*tensors)

    return tf.recompute_grad(compute)


@contextlib.contextmanager
def held_statistics(layers: collections.abc.Iterable[keras.layers.Layer]) -> collections.abc.Iterator[None]:
    """What is computed inside leaves the moving statistics of batch normalization among these layers as they are."""
    norms = [layer for layer in layers if isinstance(layer, keras.layers.BatchNormalization)]
    momenta = [norm.momentum for norm in norms]
    try:
        for norm in norms:
            norm.momentum = 1.0
        yield
    finally:
        for norm, momentum in zip(norms, momenta):
            norm.momentum = momentum


class _Segment:
    """Some calls of a functional model, one after the other.

    Attributes:
        layers: those called, and those inside them.
        inputs, outputs: the tensors, see `compat.Call`, that it takes, and those that are needed afterwards.
    """

    def __init__(self, calls, needed):
        self._calls = calls
        self._in_training = _InTraining(self._run)
        made = dict.fromkeys(tensor for call in calls for tensor in call.outputs)
        self.inputs = list(dict.fromkeys(tensor for call in calls for tensor in call.inputs if tensor not in made))
        self.outputs = [tensor for tensor in made if tensor in needed]
        own = [call.layer for call in calls if isinstance(call.layer, keras.layers.Layer)]
        self.layers = [inner for layer in own for inner in compat.nested_layers(layer)]

    def is_trained(self):
        return any(layer.trainable_variables for layer in self.layers)

    def compute(self, *tensors):
        return self._in_training(list(tensors), training=True)

    def _run(self, tensors):
        values = dict(zip(self.inputs, tensors))
        for call in self._calls:
            args, kwargs = call.arguments(values)
            values.update(zip(call.outputs, tf.nest.flatten(call.layer(*args, **kwargs))))
        return [values[tensor] for tensor in self.outputs]


class _InTraining(keras.layers.Layer):
    """Calls a function of a list of tensors; the layers that it calls are in training where this one is.

    In the backward pass no layer is around them that would say so.
    """

    def __init__(self, function):
        super().__init__(autocast=False, name="segment")
        self.function = function
        self.built = True

    def call(self, tensors, training=None):
        return self.function(tensors)


def _divided(calls, image):
    """The calls in segments, see `Segments`."""
    last_use = {tensor: index for index, call in enumerate(calls) for tensor in call.inputs}
    # `rest`: the calls after the last possible end; `waiting`: the tensors that later ones take.
    segments, segment, rest, waiting = [], [], [], {image}
    for index, call in enumerate(calls):
        if _convolutions(call) and sum(map(_convolutions, segment)) >= MIN_CONVOLUTIONS:
            segments.append(segment)
            segment = []
        rest.append(call)
        waiting = {tensor for tensor in waiting.union(call.outputs) if last_use.get(tensor, -1) > index}
        if len(waiting) <= 1:
            segment, rest = segment + rest, []
    return [*segments, segment + rest]


def _convolutions(call):
    return sum(len(variable.shape) > 2 for variable in getattr(call.layer, "weights", ()))
