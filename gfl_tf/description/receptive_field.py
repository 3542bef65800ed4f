"""How much of the image a place can see."""

import math
import typing

from gfl_tf.description import graph as graphs
from gfl_tf.description.graph import Graph

_WINDOWS = {"MaxPool": "ksize", "AvgPool": "ksize"}
_FILTERS = ("Conv2D", "DepthwiseConv2dNative")
# Rows that a map of the top level has on the canvas that this is measured on.
ROWS_AT_THE_TOP = 8


def canvas(top_level: int) -> int:
    """The side of a square image, in pixels, on which the fields of a detector of these levels are measured."""
    return ROWS_AT_THE_TOP * 2**top_level


def fields(graph: Graph) -> dict[str, float]:
    """{name of a tensor: side in pixels of the square of the image that one of its places depends on}.

    Theoretical: of kernels and strides, whatever the weights, and as if the image had no end. Statistics over a whole
    map (group normalization, squeeze and excitation) are left out, through which all places depend a little on all
    pixels. Infinite behind a deformable convolution, which looks where its input says.

    Args:
        graph: of an image of `canvas` pixels. There the rows of every map say how far apart its places are: maps are
            padded by a few rows, and their distances are powers of two.
    """
    side = graph.images.shape[1]
    found = {graph.images.name: 1.0}
    for operation in graph.operations:
        known = [found[tensor.name] for tensor in operation.inputs if tensor.name in found]
        if not known:
            continue
        field = max(known) + _growth(operation, side)
        found.update((output.name, field) for output in operation.outputs if _has_places(output))
    return found


def _growth(operation, side):
    """What an operation adds to the field of its input, in pixels."""
    if graphs.deformable_options(operation):
        return math.inf
    if operation.type in _WINDOWS:
        size, dilation = operation.get_attr(_WINDOWS[operation.type])[1], 1
    elif operation.type in _FILTERS:
        size, dilation = operation.inputs[1].shape[0], operation.get_attr("dilations")[1]
    elif operation.type == "ResizeBilinear":
        size, dilation = 2, 1
    else:
        return 0
    distance = 2 ** round(math.log2(side / operation.inputs[0].shape[1]))
    return dilation * (size - 1) * distance


def _has_places(tensor: typing.Any) -> bool:
    """Whether it is a map, and not statistics over one."""
    shape = tensor.shape
    return shape.rank is not None and shape.rank >= 4 and shape[1] > 1
