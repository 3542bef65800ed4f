"""Every place where Keras 2.15 (TensorFlow 2.15) and Keras 3 (TensorFlow 2.19 and later) differ; nothing else asks for
a version, and private names of Keras stand here alone, each with its reason."""

import contextlib
import functools
import inspect
import io
import re
import typing

import keras
import tensorflow as tf

# KerasCV says on standard output which backend it uses, where programs read what the commands print.
with contextlib.redirect_stdout(io.StringIO()):
    import keras_cv

__all__ = ["keras_cv"]  # to be imported from here, and the functions below

KERAS_3 = not keras.__version__.startswith("2.")


# Layers and variables.


def nested_layers(layer):
    """`layer` and all layers inside it, each once.

    Keras 2 has `submodules` of tf.Module, Keras 3 nothing public that sees the layers of layers.
    """
    return list(layer._flatten_layers())  # in Keras 2 it can be gone through only once


def sublayers(layer):
    """The layers that `layer` itself holds, each once, in the order in which it came to them."""
    return list(layer._flatten_layers(include_self=False, recursive=False))


def own_variables(layer):
    """[(own name, such as "kernel"; variable)] of a layer's weights that no layer inside it holds."""
    if KERAS_3:
        variables = layer._trainable_variables + layer._non_trainable_variables
        # Keras numbers variables without a name on and on: number them by their place instead.
        unnamed = re.compile(r"^variable(_\d+)?$")
        return [(unnamed.sub(f"variable_{place}", value.name), value) for place, value in enumerate(variables)]
    variables = layer._trainable_weights + layer._non_trainable_weights
    names = [own_name(variable) for variable in variables]
    if isinstance(layer, keras.layers.DepthwiseConv2D):  # Keras 3 calls it as every other kernel
        names = [name.replace("depthwise_kernel", "kernel") for name in names]
    return list(zip(names, variables))


def own_name(variable):
    """A variable's name without its layer's: Keras 2 says "conv1/kernel:0", Keras 3 "kernel"."""
    return variable.name.split("/")[-1].split(":")[0]


def tf_variable(variable):
    """The `tf.Variable` of a Keras variable: Keras 3 wraps it."""
    return variable.value if KERAS_3 and isinstance(variable, keras.Variable) else variable


def check_arguments(cls, arguments):
    """Raises ValueError for arguments that a layer's or model's class does not name.

    Keras 3 reports those of layers as ValueError, and swallows those of functional models.
    """
    of_keras = {"name", "trainable"} if issubclass(cls, keras.Model) else {"name", "trainable", "dtype"}
    unknown = sorted(set(arguments) - of_keras - set(inspect.signature(cls.__init__).parameters))
    if unknown:
        raise ValueError(f"{cls.__name__} has no argument {', '.join(unknown)}")


def add_bias(layer, shape):
    """Gives a built convolution without bias one of zeros.

    Keras 3 locks the variables of a layer once it is built.
    """
    if KERAS_3:
        layer._tracker.unlock()
    layer.use_bias = True
    layer.bias = layer.add_weight(name="bias", shape=shape, initializer="zeros")
    if KERAS_3:
        layer._tracker.lock()


def slope(leaky_relu: keras.layers.LeakyReLU) -> float:
    """What a layer multiplies negative values by."""
    return leaky_relu.negative_slope if KERAS_3 else leaky_relu.alpha


# The graph of a functional model.


def is_called_once(layer):
    return len(_inbound_nodes(layer)) == 1


def consumers(layer):
    """[(layer, its call's further positional arguments, its call's `training`)] that take the output of `layer`."""
    if KERAS_3:
        calls = [(node.operation, node.arguments.args, node.arguments.kwargs) for node in layer._outbound_nodes]
    else:
        calls = [(node.outbound_layer, node.call_args, node.call_kwargs) for node in layer.outbound_nodes]
    return [(consumer, args[1:], kwargs.get("training")) for consumer, args, kwargs in calls]


def _inbound_nodes(layer):
    return layer._inbound_nodes if KERAS_3 else layer.inbound_nodes


class Call(typing.NamedTuple):
    """A call in the graph of a functional model, whose Keras tensors are named by their `id`.

    Attributes:
        layer: what is called; with Keras 3 it may be an operation that is no layer.
        inputs, outputs: the tensors that it takes and gives.
        arguments: function from {tensor: its value} to (args, kwargs).
    """

    layer: typing.Any
    inputs: list[int]
    outputs: list[int]
    arguments: typing.Any


def calls(model):
    """The `Call`s of a functional model, in an order in which they can be made."""
    by_depth = model._nodes_by_depth
    nodes = [node for depth in sorted(by_depth, reverse=True) for node in by_depth[depth] if not node.is_input]
    return [_call(node) for node in nodes]


def _call(node):
    outputs = [id(tensor) for tensor in tf.nest.flatten(node.outputs)]
    if KERAS_3:
        return Call(node.operation, [id(tensor) for tensor in node.input_tensors], outputs, node.arguments.fill_in)
    inputs = [id(tensor) for tensor in node.keras_inputs]

    def arguments(values):  # each is taken from its list as often as the call has it
        return node.map_arguments({str(tensor): [values[tensor]] * inputs.count(tensor) for tensor in inputs})

    return Call(node.layer, inputs, outputs, arguments)


def draws_random_numbers(layer):
    """Whether a layer, without those inside it, draws others each time it is called in training."""
    if type(layer).__name__ == "StochasticDepth":  # of keras.applications; Keras 2 has it draw without saying so
        return True
    if KERAS_3:
        return bool(layer._seed_generators)
    return isinstance(layer, keras.__internal__.layers.BaseRandomLayer) and getattr(layer, "rate", 1) > 0


# Batch normalization. Keras 3 computes it from single operations, in float32 also where the network computes in another
# type; updates its moving variance by the biased variance; and leaves each replica with statistics of its own. All of
# that changes results, and the first takes a third of a ResNet's training step on a CPU.


def batch_norm(layer, inputs, training=None, mask=None):
    """The call of a `keras.layers.BatchNormalization` over the channels of [B, H, W, C], as Keras 2 computes it."""
    if not KERAS_3:
        return keras.layers.BatchNormalization.call(layer, inputs, training=training)
    axis = layer.axis % inputs.shape.rank
    if inputs.shape.rank != 4 or axis != 3 or layer.renorm or layer.synchronized or mask is not None:
        return keras.layers.BatchNormalization.call(layer, inputs, training=training, mask=mask)
    mean, variance = (tf.cast(value, tf.float32) for value in (layer.moving_mean, layer.moving_variance))
    scale = tf.cast(layer.gamma, tf.float32) if layer.scale else tf.ones_like(mean)
    offset = tf.cast(layer.beta, tf.float32) if layer.center else tf.zeros_like(mean)
    fused = functools.partial(tf.compat.v1.nn.fused_batch_norm, inputs, scale, offset, epsilon=layer.epsilon)
    if not (training and layer.trainable):
        return fused(mean=mean, variance=variance, is_training=False)[0]
    outputs, batch_mean, batch_variance = fused(is_training=True)
    for moving, value in ((layer.moving_mean, batch_mean), (layer.moving_variance, batch_variance)):
        before = tf.cast(moving, value.dtype)
        moving.assign(before - (before - value) * (1.0 - layer.momentum))
    return outputs


def use_batch_norm(model):
    """Lets all batch normalization in a model be computed by `batch_norm`."""
    if not KERAS_3:
        return
    for layer in nested_layers(model):
        # What has a call of its own was changed on purpose, by this or by folding.
        if isinstance(layer, keras.layers.BatchNormalization) and _has_keras_call(layer):
            layer.call = functools.partial(batch_norm, layer)


def _has_keras_call(layer):
    return "call" not in vars(layer) and type(layer).call is keras.layers.BatchNormalization.call


def average_statistics(layers):
    """In a replica: gives the moving statistics of these layers the mean over all replicas.

    Keras 2 does so wherever they are read.
    """
    context = tf.distribute.get_replica_context()
    if not KERAS_3 or context is None or context.num_replicas_in_sync == 1:
        return
    norms = [layer for layer in layers if isinstance(layer, keras.layers.BatchNormalization) and layer.trainable]
    statistics = [tf_variable(value) for norm in norms for value in (norm.moving_mean, norm.moving_variance)]
    if statistics:
        means = context.all_reduce(tf.distribute.ReduceOp.MEAN, [value.read_value() for value in statistics])
        for variable, mean in zip(statistics, means):
            variable.assign(mean)


def share_statistics(model):
    """Gives every replica the mean over all of them of the moving statistics, on which the model is evaluated.

    In Keras 3 they have it already. All workers call it together, outside of replicas. Means of means are the same, so
    that training goes on as it would have without.
    """
    if KERAS_3:
        return
    for layer in nested_layers(model):
        if isinstance(layer, keras.layers.BatchNormalization):
            for variable in (layer.moving_mean, layer.moving_variance):
                variable.assign(variable.numpy())


def check_fit_on_workers(strategy):
    """Raises ValueError for Keras 3 on several workers: its `fit` cannot build a model there, nor gather metrics."""
    if not KERAS_3 or not isinstance(strategy, tf.distribute.MultiWorkerMirroredStrategy):
        return
    jobs = strategy.cluster_resolver.cluster_spec().as_dict()
    if sum(map(len, jobs.values())) > 1:
        raise ValueError(
            f"model.fit of Keras {keras.__version__} does not work on several workers. Train with gfl-train "
            "--strategy=multi_worker, in a loop of your own with strategy.run(model.train_step, (batch,)), or with "
            "TensorFlow 2.15 (docs/cluster/README.md)"
        )


# Compilation.


@contextlib.contextmanager
def without_xla(model):
    """Inside, the functions that a compiled model makes are not compiled with XLA."""
    name = "_jit_compile"  # Keras 3's property would choose by the hardware
    before = getattr(model, name, None)
    setattr(model, name, False)
    try:
        yield
    finally:
        setattr(model, name, before)


# Optimizers.

# Keras 2 would compile the update with XLA on a GPU, once more for each list of shapes; Keras 3 has no such argument.
OPTIMIZER_OPTIONS = {} if KERAS_3 else {"jit_compile": False}


def gradients(optimizer, loss, variables, tape):
    """What `apply_gradients` takes: a gradient, or None, for each variable, summed over replicas.

    With a `LossScaleOptimizer`, Keras 3's are still scaled.

    Args:
        loss: the replica's share of the loss.
        variables: to be trained, in the order in which the optimizer was built.
        tape: the `tf.GradientTape` that recorded the loss.
    """
    with tape:
        loss = scaled_loss(optimizer, loss)
    return summed_gradients(optimizer, tape.gradient(loss, variables))


def scaled_loss(optimizer, loss):
    """The loss, times the scale of a `LossScaleOptimizer`."""
    if KERAS_3:
        return optimizer.scale_loss(loss)
    return optimizer.get_scaled_loss(loss) if hasattr(optimizer, "inner_optimizer") else loss


def summed_gradients(optimizer, found):
    """Of a replica's gradients of `scaled_loss` those of `gradients`."""
    if not KERAS_3 and hasattr(optimizer, "inner_optimizer"):
        found = optimizer.get_unscaled_gradients(found)
    found = list(found)
    context = tf.distribute.get_replica_context()
    if context is not None and context.num_replicas_in_sync > 1:
        present = [index for index, gradient in enumerate(found) if gradient is not None]
        sums = context.all_reduce(tf.distribute.ReduceOp.SUM, [found[index] for index in present])
        for index, total in zip(present, sums):
            found[index] = total
    return found


def apply_gradients(optimizer, gradients, variables):
    """Updates the variables, in a replica; `gradients`: of the function of this name."""
    if KERAS_3:
        # Its optimizers clip on each replica and sum afterwards.
        _unscaled(optimizer)._all_reduce_sum_gradients = list
        optimizer.apply(gradients, variables)
    else:
        optimizer.apply_gradients(zip(gradients, variables), skip_gradients_aggregation=True)


def variable_index(optimizer, variable):
    """The place of a variable in the list that an optimizer was built with, inside its `update_step`."""
    if KERAS_3:
        return optimizer._get_variable_index(variable)
    return optimizer._index_dict[optimizer._var_key(variable)]


def is_decayed(optimizer, variable):
    """Whether `exclude_from_weight_decay` left this variable in, inside the optimizer's `update_step`."""
    return optimizer._use_weight_decay(variable)


def optimizer_state(optimizer, names):
    """{name: tf.Variable} of what a built SGD or Adam(W) optimizer, its loss scale included, goes on from.

    Args:
        names: of the variables that it was built with.
    """
    state = {"iterations": optimizer.iterations}
    # SGD's; those of Adam.
    for slot in ("momentums", "_momentums", "_velocities"):
        values = getattr(_unscaled(optimizer), slot, [])
        state.update({f"{slot.strip('_')}/{name}": value for name, value in zip(names, values)})
    scale = loss_scale(optimizer)
    if scale is not None:
        steps = optimizer.step_counter if KERAS_3 else optimizer._loss_scale._counter
        state.update(loss_scale=scale, loss_scale_steps=steps)
    return {name: tf_variable(value) for name, value in state.items()}


def loss_scale(optimizer):
    """The `tf.Variable` with the present scale of a built `LossScaleOptimizer`; None of another optimizer."""
    if not hasattr(optimizer, "inner_optimizer"):
        return None
    return tf_variable(optimizer.dynamic_scale) if KERAS_3 else optimizer._loss_scale._current_loss_scale


def _unscaled(optimizer):
    """The optimizer inside a `LossScaleOptimizer`, or itself."""
    return getattr(optimizer, "inner_optimizer", optimizer)


# TensorFlow Lite.


def tflite_interpreter(model_content):
    """The interpreter of a .tflite file's bytes; TensorFlow deprecates its own in favour of LiteRT's.

    Raises:
        ImportError: the newer TensorFlow without LiteRT.
    """
    if not KERAS_3:
        return tf.lite.Interpreter(model_content=model_content)
    try:
        from ai_edge_litert.interpreter import Interpreter
    except ImportError as error:
        raise ImportError("TensorFlow Lite models run in LiteRT: pip install ai-edge-litert") from error
    return Interpreter(model_content=model_content)


# KerasHub.


def keras_hub():
    """The module `keras_hub`.

    Raises:
        ImportError: it is not installed, or needs another Keras.
    """
    if not KERAS_3:
        raise ImportError(
            f"KerasHub needs Keras 3, and here is Keras {keras.__version__}. In another environment: "
            'pip install "tensorflow>=2.19,<2.22" keras-hub'
        )
    try:
        import keras_hub
    except ImportError as error:
        raise ImportError("KerasHub is not installed: pip install keras-hub") from error
    return keras_hub
