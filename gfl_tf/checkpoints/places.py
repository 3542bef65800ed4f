"""Where each tensor of a PyTorch module belongs in the Keras layer that stands for it, and the loading itself."""

import collections
import dataclasses
import re
import typing

import keras
import numpy as np
import tensorflow as tf

from gfl_tf.layers.blocks import GroupNormalization, Scale
from gfl_tf.layers.deformable import DeformableConv2D
from gfl_tf.layers.star import StarConv2D

# torch's [out, in, height, width] -> Keras's [height, width, in, out]
CONV_AXES = (2, 3, 1, 0)
MODULE = re.compile(r"[^./ ]*(?:[./][^./ ]*)?")  # the first two steps of a name
# Longer lists of names are shortened to the first of them and counts of the rest.
LONGEST_LIST, FIRST = 40, 8


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
        loaded: names of the tensors that were loaded, as in the file.
        parameters: how many numbers they are.
        fresh: names of the tensors that the file lacks or has in another shape; the model's variables stay as they
            were.
        unused: names of the file's tensors that the model has no place for, or one of another shape.
        ignored: names of the file's tensors that hold nothing to load: counters and constants.
        renamed: what was cut off the file's names, for people; "" where it was nothing.
        outside: names of the file's tensors that belong to something else than the model, such as another model.
    """

    loaded: tuple
    parameters: int
    fresh: tuple
    unused: tuple
    ignored: tuple
    renamed: str = ""
    outside: tuple = ()

    def __str__(self):
        lines = [f"loaded {len(self.loaded)} tensors, {self.parameters:,} numbers"]
        lines += [self.renamed] if self.renamed else []
        listings = {
            "left as the model had them": self.fresh,
            "of the file not used (no place for them, or of another shape)": self.unused,
            "of the file belong to something else": self.outside,
        }
        return "\n".join(lines + [_listing(title, names) for title, names in listings.items() if names])


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


def load(places, tensors, constants, partial=False, may_lack=lambda name: False):
    """Assigns `tensors` to `places`: all of them or none, unless `partial`.

    Args:
        places: list of `Place`.
        tensors: {name: array}.
        constants: {name: array} that the file may have, with these values.
        partial: load what fits and leave the rest.
        may_lack: may_lack(name): whether the file may do without a tensor.

    Returns:
        `Report`.

    Raises:
        ValueError: lists what is missing, left over or of another shape; nothing was loaded then. With `partial`, if
            nothing at all fits. In any case if numbers are not finite.
    """
    fitting, missing, misfits, seen = [], [], {}, set()
    for place in places:
        name = next((name for name in place.names if name in tensors), None)
        if name is None:
            missing.append(place.names[0])
            continue
        seen.add(name)
        problem = _misfit(tensors[name], place.shape)
        if problem:
            misfits[name] = problem
        else:
            fitting.append((name, place))
    ignored = []
    for name in tensors:
        if name in constants and not _is_constant(tensors[name], constants[name]):
            misfits[name] = f"is not {_brief(constants[name])}, as the model has it fixed"
        elif name in constants or name.endswith("num_batches_tracked"):
            ignored.append(name)
    left_over = [name for name in tensors if name not in seen and name not in ignored and name not in misfits]
    lacking = [name for name in missing if not may_lack(name)]
    if lacking or left_over or misfits:
        if not partial or not fitting:
            raise ValueError(_complaint(lacking, left_over, misfits, fits=bool(fitting)))
    _check_finite(fitting, tensors)
    for name, place in fitting:
        place.assign(tensors[name])
    fresh = missing + [place.names[0] for place in places if set(place.names) & set(misfits)]
    return Report(
        loaded=tuple(name for name, _ in fitting),
        parameters=sum(tensors[name].size for name, _ in fitting),
        fresh=tuple(fresh),
        unused=tuple(left_over) + tuple(misfits),
        ignored=tuple(ignored),
    )


def _misfit(value, shape):
    if value.shape != shape:
        return f"is {value.shape} in the file and {shape} in the model"
    # bfloat16 is no number type to numpy ("V").
    return "" if value.dtype.kind in "fV" else f"holds {value.dtype}, no floating-point numbers"


def _is_constant(value, expected):
    return value.shape == expected.shape and np.array_equal(value, expected)


def _brief(values):
    return f"{values[0]:g}..{values[-1]:g}"


def _check_finite(fitting, tensors):
    broken = [name for name, place in fitting if not place.is_finite(tensors[name])]
    if broken:
        raise ValueError(
            f"{_listing('of the file have numbers that are not finite', broken)}\nNothing was loaded: the training "
            "that wrote the file diverged, or the file is damaged. Take an earlier checkpoint"
        )


def _complaint(missing, left_over, misfits, fits):
    parts = ["the file does not fit the model, and nothing was loaded."]
    listings = {
        "missing in the file": missing,
        "in the file, without a place in the model": left_over,
        "different": [f"{name} {problem}" for name, problem in misfits.items()],
    }
    parts += [_listing(title, names) for title, names in listings.items() if names]
    if fits:
        parts.append("Choose the config that the file was trained with; a partial import (--partial) takes what fits.")
    else:
        parts.append(
            "Not one tensor fits, so that a partial import is none: this is the file of another kind of model."
        )
    return "\n".join(parts)


def _listing(title, names):
    """The title with the number of names, and the names, one a line; of many the first, and where the others belong."""
    shown = names if len(names) <= LONGEST_LIST else names[:FIRST]
    lines = [f"{len(names)} {title}:", *(f"    {name}" for name in shown)]
    rest = collections.Counter(MODULE.match(name)[0] for name in names[len(shown) :])
    if rest:
        groups = [f"{count} of {group}" for group, count in rest.most_common(8)]
        lines.append(f"    and {sum(rest.values())} more: {', '.join(groups)}{', ...' if len(rest) > 8 else ''}")
    return "\n".join(lines)
