"""Where each tensor of a PyTorch module belongs in the Keras layer that stands for it, and the loading itself."""

import dataclasses
import re
import typing

import keras
import numpy as np
import tensorflow as tf

from gfl_tf.checkpoints import architectures
from gfl_tf.layers.blocks import GroupNormalization, Scale
from gfl_tf.layers.deformable import DeformableConv2D
from gfl_tf.layers.star import StarConv2D
from gfl_tf.texts import first_ones

# torch's [out, in, height, width] -> Keras's [height, width, in, out]
CONV_AXES = (2, 3, 1, 0)
HEAD = re.compile(r"(bbox_)?head[./]")  # how the names of a head's tensors begin, in a file of PyTorch or of gfl_tf
MOST_NAMED = 3  # tensors of a kind in a message


@dataclasses.dataclass(frozen=True)
class Place:
    """A variable of the model and the tensor that it takes its value from.

    Attributes:
        names: of the tensor; the first that the file has counts, the others are older names of the same.
        shape: that the tensor must have.
        axes: how its axes are put in the variable's order.
    """

    names: tuple
    variable: typing.Any
    shape: tuple
    axes: tuple

    def assign(self, value):
        self.variable.assign(self._in_its_type(value).transpose(self.axes).reshape(self.variable.shape))

    def is_finite(self, value):
        """Whether all numbers are finite, in the variable's type too."""
        with np.errstate(over="ignore"):
            return bool(np.all(np.isfinite(self._in_its_type(value))))

    def _in_its_type(self, value):
        return np.asarray(value, tf.as_dtype(self.variable.dtype).as_numpy_dtype)


@dataclasses.dataclass(frozen=True)
class Report:
    """What an import did.

    Attributes:
        source: the file, for messages.
        loaded: names of the tensors that were loaded, as in the file.
        parameters: how many numbers they are.
        fresh: names of the tensors that the file lacks or has in another shape; the model's variables stay as they
            were.
        unused: names of the file's tensors that the model has no place for, or one of another shape.
        ignored: names of the file's tensors that hold nothing to load: counters and constants.
        remarks: what did not go in and why, and what was cut off the file's names, for people.
        outside: names of the file's tensors that belong to something else than the model, such as another model.
    """

    source: str
    loaded: tuple
    parameters: int
    fresh: tuple
    unused: tuple
    ignored: tuple
    remarks: tuple = ()
    outside: tuple = ()

    def __str__(self):
        taken = f"{len(self.loaded)} of {len(self.loaded) + len(self.fresh)} tensors taken from {self.source}"
        return "; ".join([taken, *self.remarks, *_listing("of something else in the file", self.outside)])


class Misfit(ValueError):
    """Tensors that do not fit the model.

    Attributes:
        source: the file, for messages.
        shapes: [(`Place`, shape of its tensor in the file)] of those that differ.
        is_other: whether the file is that of another model, which even a partial load refuses.
    """

    def __init__(self, text, source, shapes, is_other):
        super().__init__(text)
        self.source, self.shapes, self.is_other = source, shapes, is_other

    def explained(self, model: keras.Model, partial: str) -> ValueError:
        """The error with what a user can do.

        Args:
            model: the detector; where its classifier does not fit, both numbers of classes are named.
            partial: what to type for a partial load, such as "--partial".
        """
        if self.is_other:
            remedy = f"For its backbone alone: --config.model.backbone.weights={self.source}"
        else:
            remedy = f"Choose the config that the file was trained with, or take what fits: {partial}"
        bias = model.head.classification.bias
        outputs = next((shape[0] for place, shape in self.shapes if place.variable is bias), None)
        if outputs and not self.is_other:
            trained = outputs * model.num_classes // bias.shape[0]  # a class has an output per anchor
            remedy = f"The file has {trained} classes, the model {model.num_classes}. To take what fits: {partial}"
        return ValueError(f"{self}. {remedy}")


def places_of(name, layer):
    """The `Place`s of a layer's variables; `name`: of the module in the file.

    Raises:
        ValueError: no rule for this kind of layer.
    """
    if isinstance(layer, DeformableConv2D):
        offset = layer.offset_conv
        # In mmcv's first version the offset convolution was a neighbour: conv2_offset for conv2.conv_offset.
        places = [_conv((f"{name}.weight",), layer.kernel)]
        places.append(_conv((f"{name}.conv_offset.weight", f"{name}_offset.weight"), offset.kernel))
        places.append(_vector((f"{name}.conv_offset.bias", f"{name}_offset.bias"), offset.bias))
        return places + ([_vector((f"{name}.bias",), layer.bias)] if layer.use_bias else [])
    if isinstance(layer, StarConv2D):
        return [_conv((f"{name}.weight",), layer.kernel)]
    if isinstance(layer, (keras.layers.Conv2D, keras.layers.Dense)):
        places = [_conv((f"{name}.weight",), layer.kernel)]
        return places + ([_vector((f"{name}.bias",), layer.bias)] if layer.use_bias else [])
    if isinstance(layer, keras.layers.BatchNormalization):
        variables = {
            "weight": layer.gamma,
            "bias": layer.beta,
            "running_mean": layer.moving_mean,
            "running_var": layer.moving_variance,
        }
    elif isinstance(layer, GroupNormalization):
        variables = {"weight": layer.gamma, "bias": layer.beta}
    elif isinstance(layer, Scale):
        variables = {"scale": layer.scale}
    else:
        raise ValueError(f"{name}: there is no rule for weights of a {type(layer).__name__}")
    return [_vector((f"{name}.{leaf}",), variable) for leaf, variable in variables.items()]


def _vector(names, variable):
    """Of a variable that looks the same in the file, of any rank."""
    shape = tuple(variable.shape)
    return Place(names, variable, shape, tuple(range(len(shape))))


def _conv(names, kernel):
    """Of a convolution's kernel, or of a dense layer's, which in the file is a 1x1 convolution."""
    height, width, inputs, outputs = (1, 1, *kernel.shape)[-4:]
    return Place(names, kernel, (outputs, inputs, height, width), CONV_AXES)


def load(places, tensors, constants, partial=False, may_lack=lambda name: False, source="the file", renamed=""):
    """Assigns `tensors` to `places`: all of them or none, unless `partial`.

    Where less than half of what is no head (of backbone and neck, that is) fits, the file is that of another model: it
    is refused with `partial`, too.

    Args:
        places: list of `Place`.
        tensors: {name: array}.
        constants: {name: array} that the file may have, with these values.
        partial: load what fits and leave the rest.
        may_lack: may_lack(name): whether the file may do without a tensor.
        source: the file, for messages.
        renamed: what was cut off the file's names, for people; "" where it was nothing.

    Returns:
        `Report`.

    Raises:
        Misfit: names what is missing, left over or of another shape; nothing was loaded then.
        ValueError: numbers are not finite.
    """
    fitting, missing, misfits, shapes = _match(places, tensors)
    seen = {*misfits, *(name for name, _ in fitting)}
    ignored = []
    for name in tensors:
        if name in constants and not _is_constant(tensors[name], constants[name]):
            misfits[name] = f"is not {_brief(constants[name])}, as the model has it fixed"
        elif name in constants or name.endswith("num_batches_tracked"):
            ignored.append(name)
    left_over = [name for name in tensors if name not in seen and name not in ignored and name not in misfits]
    differ = _listing("not taken", [f"{name} {problem}" for name, problem in misfits.items()])
    heads = [architectures.head(names) for names in (tensors, (place.names[0] for place in places))]
    other_head = all(heads) and heads[0] != heads[1]
    remarks = [
        *([f"it has {heads[0]}, the config builds {heads[1]}"] if other_head else []),
        *differ,
        *_listing("missing in the file", missing),
        *_listing("without a place in the model", left_over),
        *filter(None, [renamed]),
    ]
    if _is_other(places, [place for _, place in fitting]):
        text = "; ".join([_other(places, fitting, tensors, source), *differ])
        raise Misfit(text, source, shapes, is_other=True)
    if not partial and (misfits or left_over or not all(map(may_lack, missing))):
        text = f"{source} does not fit the model, and nothing was loaded: {'; '.join(remarks)}"
        raise Misfit(text, source, shapes, is_other=False)
    _check_finite(fitting, tensors, source)
    for name, place in fitting:
        place.assign(tensors[name])
    return Report(
        source=str(source),
        loaded=tuple(name for name, _ in fitting),
        parameters=sum(tensors[name].size for name, _ in fitting),
        fresh=(*missing, *(place.names[0] for place, _ in shapes)),
        unused=(*left_over, *misfits),
        ignored=tuple(ignored),
        remarks=tuple(remarks),
    )


def _match(places, tensors):
    """([(name, place)] that fit, names that are missing, {name: what is wrong}, [(place, shape)] of these)."""
    fitting, missing, misfits, shapes = [], [], {}, []
    for place in places:
        name = next((name for name in place.names if name in tensors), None)
        problem = _misfit(tensors[name], place.shape) if name else ""
        if name is None:
            missing.append(place.names[0])
        elif problem:
            misfits[name] = problem
            shapes.append((place, tensors[name].shape))
        else:
            fitting.append((name, place))
    return fitting, missing, misfits, shapes


def _misfit(value, shape):
    if value.shape != shape:
        return f"{value.shape} is {shape} in the model"
    # bfloat16 is no number type to numpy ("V").
    return "" if value.dtype.kind in "fV" else f"holds {value.dtype}, no floating-point numbers"


def _is_constant(value, expected):
    return value.shape == expected.shape and np.array_equal(value, expected)


def _brief(values):
    return f"{values[0]:g}..{values[-1]:g}"


def _is_other(places, fitting):
    wanted, fits = ([place for place in some if not HEAD.match(place.names[0])] for some in (places, fitting))
    return 2 * len(fits) < len(wanted)


def _other(places, fitting, tensors, source):
    return (
        f"{source} has the weights of another model, and nothing was loaded: {len(fitting)} of the {len(places)} "
        f"tensors of the model fit. The file looks like {architectures.describe(tensors)}; the config builds "
        f"{architectures.describe(place.names[0] for place in places)}"
    )


def _check_finite(fitting, tensors, source):
    broken = [name for name, place in fitting if not place.is_finite(tensors[name])]
    if broken:
        raise ValueError(
            f"{source} has numbers that are not finite, and nothing was loaded: {', '.join(first_ones(broken))}. The "
            "training that wrote it diverged, or it is damaged: take an earlier checkpoint"
        )


def _listing(title, names):
    """A list with the title and the first of the names; empty where there is none."""
    return [f"{title}: {', '.join(first_ones(names, MOST_NAMED))}"] if names else []
