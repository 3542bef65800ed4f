"""A detector's weights in a file of numpy's, .npz, under names that depend on its architecture alone.

Keras's own .weights.h5 names layers after the order in which a process made them, and Keras 2 and Keras 3 do not read
each other's. A name here is that of the part, of the layers from the outermost in, and of the variable:
"backbone/conv1/kernel", "head/class_tower_0/norm/gamma".
"""

import collections
import re
import zipfile
import zlib

import numpy as np
import tensorflow as tf

from gfl_tf import compat, files
from gfl_tf.checkpoints import places

SUFFIX = ".npz"


def named_variables(model):
    """{name: variable} of a detector's backbone, neck and head, in this order.

    Raises:
        ValueError: two layers side by side have the same name.
    """
    return {
        f"{part}/{name}": variable
        for part in ("backbone", "neck", "head")
        for name, variable in layer_variables(getattr(model, part)).items()
    }


def layer_variables(layer):
    """{name: variable} of all weights of a layer or model; otherwise as `named_variables`."""
    named = {}
    _collect(layer, "", named, seen=set())
    return named


def _collect(layer, prefix, named, seen):
    for name, variable in compat.own_variables(layer):
        if tf.as_dtype(variable.dtype).is_floating:  # the others count what a normalization was adapted to
            _add(named, prefix + name, variable)
    numbers = collections.Counter()
    for child in compat.sublayers(layer):
        generic = _generic_name(child)
        name = child.name
        if generic:  # numbered by the process that made it: number it by its place instead
            name = f"{generic}_{numbers[generic]}"
            numbers[generic] += 1
        if id(child) not in seen:
            seen.add(id(child))
            _collect(child, f"{prefix}{name}/", named, seen)


def _generic_name(layer):
    """The name that Keras gives to layers of this class, without its number; None where the layer has its own."""
    for word in ("[A-Z][a-z]+", "[A-Z][a-z0-9]+"):  # Keras 3's rule, Keras 2's
        words = re.sub(f"(.)({word})", r"\1_\2", type(layer).__name__)
        words = re.sub("([a-z])([A-Z])", r"\1_\2", words).lower()
        if re.fullmatch(rf"{re.escape(words)}(_\d+)?", layer.name):
            return words.replace("_", "")  # the two differ in where they put it
    return None


def _add(named, name, variable):
    if name in named:
        raise ValueError(f"two layers of the model are called {name.rpartition('/')[0]}: give them different names")
    named[name] = variable


def save(variables, path):
    """Writes {name: variable} to a file that is never seen half written."""
    with files.replacing(path, "wb") as file:
        np.savez(file, **{name: variable.numpy() for name, variable in variables.items()})


def load(variables, path, partial=False, part=""):
    """Assigns the arrays of a file to {name: variable}: all of them or none, unless `partial`.

    Args:
        partial: take what fits and leave the rest.
        part: "backbone", "neck" or "head": the arrays of this part alone, with `variables` of `layer_variables`.

    Returns:
        `places.Report`.

    Raises:
        ValueError: the file cannot be read or does not fit; lists what is missing, left over or of another shape.
    """
    prefix = f"{part}/" if part else ""
    try:
        if not zipfile.is_zipfile(path):
            raise ValueError("it is no .npz file")
        with np.load(path, allow_pickle=False) as file:
            arrays = {name[len(prefix) :]: file[name] for name in file.files if name.startswith(prefix)}
    except (OSError, ValueError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise ValueError(f"{path} is no weight file of gfl_tf, or damaged: {error}") from error
    wanted = [
        places.Place((name,), variable, tuple(variable.shape), tuple(range(len(variable.shape))))
        for name, variable in variables.items()
    ]
    try:
        return places.load(wanted, arrays, constants={}, partial=partial)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error
