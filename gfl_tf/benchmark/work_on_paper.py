"""What a detector has to do, on paper: the FLOPs and bytes of its operations, forward and backward."""

import math
import typing

from gfl_tf.benchmark.workloads import Case
from gfl_tf.description import graph as graphs
from gfl_tf.description import memory
from gfl_tf.description.graph import Graph
from gfl_tf.detectors.detector import Detector

BYTES = 4  # of a trained number, its gradient and its momentum, which are float32 in mixed precision too
# The optimizer reads weights, gradients and momentum, and writes weights and momentum.
OPTIMIZER_PASSES = 5


class Operation(typing.NamedTuple):
    """An operation of the graph, of one image.

    Attributes:
        flops: of its forward pass, two a multiply-add; 0 but for convolutions and matrix products.
        bytes: that it reads and writes, had nothing a place in the caches.
        backward: how many times that much its gradients take: of a product one for its input and one for its weights,
            as far as they are needed; of others 2, as they read the gradient besides what the forward pass read.
    """

    flops: int
    bytes: int
    backward: int


class Step(typing.NamedTuple):
    """A training step.

    Attributes:
        operations: of one image.
        batch_size: images.
        trained: numbers that are learnt.
        activation_bytes: of one image's forward pass, all outputs of all operations.
    """

    operations: list[Operation]
    batch_size: int
    trained: int
    activation_bytes: int

    @property
    def gradient_bytes(self) -> int:
        return BYTES * self.trained

    @property
    def passing_bytes(self) -> int:
        """What a step holds while it is computed: activations and gradients."""
        return self.batch_size * self.activation_bytes + self.gradient_bytes

    @property
    def memory_bytes(self) -> int:
        """That, and weights and momentum."""
        return self.passing_bytes + 2 * self.gradient_bytes


def flops(model: Detector, height: int, width: int) -> int:
    """Of the forward pass of one image; see `describe.FLOPS` for what is counted."""
    return 2 * sum(product.multiply_adds for product in graphs.products(graphs.trace(model, height, width)))


def of_step(model: Detector, case: Case) -> Step:
    """The `Step` of a detector on a batch; losses and assignment are left out."""
    graph = graphs.trace(model, case.height, case.width)
    trained = {id(variable): math.prod(variable.shape) for variable in model.trainable_variables}
    return Step(
        operations(graph, set(trained)), case.batch_size, sum(trained.values()), memory.activations(graph).total
    )


def operations(graph: Graph, trained: set[int]) -> list[Operation]:
    """All operations between the images and the outputs.

    Args:
        graph: of one image.
        trained: `id`s of the variables that are learnt.
    """
    flops_of = {each.operation.name: 2 * each.multiply_adds for each in graphs.products(graph)}
    learnt = {name for name, variable in graph.variables.items() if variable in trained}
    seen, found = {graph.images.name}, []
    for operation in graph.operations:
        inputs, outputs = ({tensor.name: tensor for tensor in side} for side in (operation.inputs, operation.outputs))
        if learnt & set(inputs):
            learnt |= set(outputs)
        if not seen & set(inputs) or operation.type in memory.NO_ACTIVATIONS:
            continue
        seen |= set(outputs)
        if operation.type not in memory.VIEWS:
            flops = flops_of.get(operation.name, 0)
            backward = len(learnt & set(inputs)) if flops else 2 * bool(learnt & set(outputs))
            moved = sum(_bytes(tensor) for tensor in (*inputs.values(), *outputs.values()))
            found.append(Operation(flops, moved, backward))
    return found


def _bytes(tensor):
    known = tensor.shape.is_fully_defined() and tensor.dtype.size
    return tensor.shape.num_elements() * tensor.dtype.size if known else 0
