"""A detector's graph for images of one size, in which every tensor has a known shape: nothing of it is computed."""

import math
import typing

import keras
import tensorflow as tf

from gfl_tf import compat
from gfl_tf.layers.deformable import traced_options


class Graph(typing.NamedTuple):
    """The forward pass of one image.

    Attributes:
        operations: in the order in which they were made, which is one in which they can be run.
        images: the input, [1, H, W, 3].
        levels: the neck's outputs, one a level.
        variables: {name of a tensor of the graph: `id` of the variable that it stands for}.
    """

    operations: list[tf.Operation]
    images: tf.Tensor
    levels: list[tf.Tensor]
    variables: dict[str, int]


class Product(typing.NamedTuple):
    """An operation that multiplies by weights: a convolution or a matrix product.

    Attributes:
        operation: of the graph.
        variable: `id` of its weights; None: of both sides from the image.
        multiply_adds: of one image.
    """

    operation: tf.Operation
    variable: int | None
    multiply_adds: int


def trace(model: keras.Model, height: int, width: int) -> Graph:
    """The `Graph` of a detector."""
    with_levels = keras.Model(model.inputs, (model.neck.output, model.output))
    function = tf.function(lambda images: with_levels(images, training=False), autograph=False)
    concrete = function.get_concrete_function(tf.TensorSpec((1, height, width, 3)))
    graph = concrete.graph
    handles = {id(compat.tf_variable(value).handle): id(value) for value in model.weights}
    variables = {inner.name: handles[id(outer)] for outer, inner in graph.captures if id(outer) in handles}
    levels, _ = graph.structured_outputs
    # The outputs are copies; what they are copies of lies in the graph's flow.
    return Graph(graph.get_operations(), graph.inputs[0], [level.op.inputs[0] for level in levels], variables)


def products(graph: Graph) -> list[Product]:
    """All convolutions and matrix products of a graph, in its order."""
    found = []
    for operation in graph.operations:
        count = _multiply_adds(operation)
        if count:
            found.append(Product(operation, _weights_of(operation, graph), count))
    return found


def deformable_options(operation: tf.Operation) -> typing.Any:
    """The `Options` of a deformable convolution, which stands in a graph as a call of a function; None: of others."""
    return traced_options(operation.get_attr("f").name) if operation.type.endswith("PartitionedCall") else None


def _multiply_adds(operation):
    output = operation.outputs[0].shape if operation.outputs else None
    if operation.type == "Conv2D":
        return output.num_elements() * math.prod(operation.inputs[1].shape[:3])
    if operation.type == "DepthwiseConv2dNative":
        return output.num_elements() * math.prod(operation.inputs[1].shape[:2])
    if operation.type == "MatMul":
        return output.num_elements() * operation.inputs[0].shape[0 if operation.get_attr("transpose_a") else 1]
    if operation.type in ("BatchMatMul", "BatchMatMulV2", "BatchMatMulV3"):
        return output.num_elements() * operation.inputs[0].shape[-2 if operation.get_attr("adj_x") else -1]
    if operation.type == "Einsum":
        return _of_einsum(operation)
    if deformable_options(operation):  # of the convolution; its bilinear interpolation is left out
        return output.num_elements() * math.prod(operation.inputs[2].shape[:3])
    return 0


def _of_einsum(operation):
    sizes = {}
    for indices, tensor in zip(operation.get_attr("equation").decode().split("->")[0].split(","), operation.inputs):
        sizes.update(zip(indices.strip(), tensor.shape))
    return math.prod(sizes.values())


def _weights_of(operation, graph):
    """The variable that an operation multiplies by: alone behind one of its inputs."""
    for tensor in reversed(operation.inputs):
        sources = _sources(tensor)
        if graph.images.name not in sources:
            known = [graph.variables[name] for name in sources if name in graph.variables]
            if known:
                return known[0]
    return None


def _sources(tensor):
    """The names of the tensors of a graph that a tensor is made of and that come from nowhere."""
    found, seen, waiting = set(), set(), [tensor]
    while waiting:
        tensor = waiting.pop()
        if tensor.name in seen:
            continue
        seen.add(tensor.name)
        if tensor.op.type == "Placeholder":
            found.add(tensor.name)
        waiting.extend(tensor.op.inputs)
    return found
