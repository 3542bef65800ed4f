"""How much memory the activations of a graph take."""

import typing

from gfl_tf.description.graph import Graph

# Their output is their input under another shape or name.
VIEWS = ("ExpandDims", "Identity", "IdentityN", "Reshape", "Squeeze", "StopGradient")
NO_ACTIVATIONS = ("Const", "Placeholder", "ReadVariableOp")


class Activations(typing.NamedTuple):
    """Bytes of one image's forward pass.

    Attributes:
        total: of the outputs of all operations: the most that training keeps.
        peak: the most at a time where each is freed after its last use, one operation runs after the other and none in
            place: about what inference needs.
    """

    total: int
    peak: int


def activations(graph: Graph) -> Activations:
    """The memory of a graph's activations; weights and constants are left out."""
    buffer_of, size, last_use, ends = {graph.images.name: graph.images.name}, {}, {}, {}
    size[graph.images.name] = _bytes(graph.images)
    for index, operation in enumerate(graph.operations):
        for tensor in operation.inputs:
            if tensor.name in buffer_of:
                last_use[buffer_of[tensor.name]] = index
        if operation.type in NO_ACTIVATIONS:
            continue
        if operation.type in VIEWS:
            pairs = zip(operation.outputs, operation.inputs)
            buffer_of.update((to.name, buffer_of[tensor.name]) for to, tensor in pairs if tensor.name in buffer_of)
            continue
        for output in operation.outputs:
            if output.shape.is_fully_defined() and output.dtype.size and _depends_on_images(operation, buffer_of):
                buffer_of[output.name], size[output.name] = output.name, _bytes(output)
                last_use[output.name] = index
    for name, index in last_use.items():
        ends.setdefault(index, []).append(name)
    now = peak = size[graph.images.name]
    for index, operation in enumerate(graph.operations):
        now += sum(size.get(output.name, 0) for output in operation.outputs if output.name != graph.images.name)
        peak = max(peak, now)
        now -= sum(size[name] for name in ends.get(index, ()))
    return Activations(sum(size.values()), peak)


def _depends_on_images(operation, buffer_of):
    return any(tensor.name in buffer_of for tensor in operation.inputs)


def _bytes(tensor):
    return tensor.shape.num_elements() * tensor.dtype.size
