"""What a detector is made of, and what it costs: parameters, FLOPs, memory, places and receptive fields."""

import dataclasses
import math
import typing

import keras
import numpy as np

from gfl_tf.description import graph as graphs
from gfl_tf.description import memory, receptive_field
from gfl_tf.detectors.detector import Detector
from gfl_tf.layers.names import layers_inside

OTHER = "other"
FLOPS = (
    "Of convolutions and matrix products, two a multiply-add. Biases, normalization, activations, resizing and the "
    "interpolation of deformable convolutions are not counted."
)


@dataclasses.dataclass(frozen=True)
class Part:
    """What a part costs.

    Attributes:
        parameters: numbers that a training can learn, frozen or not.
        statistics: moving means and variances of batch normalization.
        flops: of one image, see `FLOPS`.
    """

    parameters: int
    statistics: int
    flops: int


@dataclasses.dataclass(frozen=True)
class Level:
    """A level of the pyramid.

    Attributes:
        name: such as "P3".
        stride: in pixels.
        rows, columns: of its points.
        places: points times anchors.
        fields: {of what: receptive field in pixels}, of the neck's output, the class scores and the last boxes: see
            `receptive_field.fields`.
    """

    name: str
    stride: int
    rows: int
    columns: int
    places: int
    fields: dict[str, float]


@dataclasses.dataclass(frozen=True)
class Description:
    """Of a detector, for one image of `height` x `width` pixels.

    Attributes:
        parts: {name: `Part`}, of the head one for each of its stations.
        activations: `memory.Activations`.
        levels: of the pyramid.
    """

    name: str
    height: int
    width: int
    precision: str
    parts: dict[str, Part]
    activations: memory.Activations
    levels: list[Level]

    @property
    def total(self) -> Part:
        columns = zip(*(dataclasses.astuple(part) for part in self.parts.values()))
        return Part(*map(sum, columns))

    def content(self) -> dict[str, typing.Any]:
        """All of it as plain values for JSON; an infinite field is None."""
        levels = [dataclasses.asdict(level) for level in self.levels]
        for level in levels:
            level["fields"] = {name: None if math.isinf(field) else field for name, field in level["fields"].items()}
        return {
            "name": self.name,
            "image": [self.height, self.width],
            "precision": self.precision,
            "parts": {name: dataclasses.asdict(part) for name, part in self.parts.items()},
            "total": dataclasses.asdict(self.total),
            "flops": FLOPS,
            "activation_bytes": self.activations._asdict(),
            "levels": levels,
        }


def describe(model: Detector, height: int, width: int) -> Description:
    """The `Description` of a detector, for an image of that size; nothing is computed but shapes."""
    graph = graphs.trace(model, height, width)
    stations = {"backbone": [model.backbone], "neck": [model.neck]}
    stations.update((f"head, {name}", layers) for name, layers in model.head.stations().items())
    return Description(
        model.name,
        height,
        width,
        model.head.compute_dtype,
        _parts(graph, stations),
        memory.activations(graph),
        _levels(model, height, width),
    )


def _parts(graph, stations):
    owner, parts = {}, {}
    for name, layers in stations.items():
        variables, statistics = _variables(layers), _statistics(layers)
        owner.update(dict.fromkeys(variables, name))
        sizes = {key: math.prod(variable.shape) for key, variable in variables.items()}
        moving = sum(size for key, size in sizes.items() if key in statistics)
        parts[name] = Part(sum(sizes.values()) - moving, moving, 0)
    for product in graphs.products(graph):
        name = owner.get(product.variable, OTHER)
        part = parts.get(name, Part(0, 0, 0))
        parts[name] = dataclasses.replace(part, flops=part.flops + 2 * product.multiply_adds)
    return parts


def _variables(layers):
    """{id: variable}, each once."""
    return {id(variable): variable for layer in layers for variable in layer.weights}


def _statistics(layers):
    """The ids of the variables that follow the data, and that no training learns."""
    inside = [each for layer in layers for _, each in layers_inside(layer)]
    normalized = [each for each in inside if isinstance(each, keras.layers.BatchNormalization)]
    adapted = [each for each in inside if isinstance(each, keras.layers.Normalization)]
    moving = [variable for each in normalized for variable in (each.moving_mean, each.moving_variance)]
    return {id(variable) for variable in (*moving, *(value for each in adapted for value in each.weights))}


def _levels(model, height, width):
    grid = model.grid.on((height, width))
    side = receptive_field.canvas(max(model.grid.levels))
    graph = graphs.trace(model, side, side)
    fields = receptive_field.fields(graph)
    stations = model.head.stations()
    boxes = "refined box output" if "refined box output" in stations else "box output"
    of_head = {
        name: _outputs(graph, stations[station], len(model.grid.levels))
        for name, station in (("class scores", "class output"), ("boxes", boxes))
    }
    found = []
    for index, level in enumerate(model.grid.levels):
        rows, columns = map(int, np.array(grid.level_shapes)[index])
        tensors = {"neck": graph.levels[index], **{name: of_levels[index] for name, of_levels in of_head.items()}}
        found.append(
            Level(
                f"P{level}",
                2**level,
                rows,
                columns,
                int(grid.level_sizes[index]),
                {name: fields[tensor.name] for name, tensor in tensors.items()},
            )
        )
    return found


def _outputs(graph, layers, num_levels):
    """What a convolution that all levels share puts out, one tensor a level: of several operations a level the last."""
    variables = _variables(layers)
    of_levels = [each.operation for each in graphs.products(graph) if each.variable in variables]
    each_level = len(of_levels) // num_levels
    return [operation.outputs[0] for operation in of_levels[each_level - 1 :: each_level]]


def default_size(config: typing.Any) -> tuple[int, int]:
    """(height, width) of the largest image of a config's data, landscape; 640 x 640 where the data decide it."""
    scale = config.get("data", {}).get("scale", ())
    return (min(scale), max(scale)) if scale else (640, 640)
