"""A detector's weights in a file of numpy's, .npz, under names that depend on its architecture alone.

Keras's own .weights.h5 names layers after the order in which a process made them, and Keras 2 and Keras 3 do not read
each other's. A name here is that of the part, of the layers from the outermost in, and of the variable:
"backbone/conv1/kernel", "head/class_tower_0/norm/gamma".
"""

import os
import typing
import zipfile
import zlib

import keras
import numpy as np
import tensorflow as tf

from gfl_tf import compat, files
from gfl_tf.checkpoints import places
from gfl_tf.layers import names

SUFFIX = ".npz"


def named_variables(model: keras.Model) -> dict[str, typing.Any]:
    """{name: variable} of a detector's backbone, neck and head, in this order.

    Raises:
        ValueError: two layers side by side have the same name.
    """
    return _variables(names.named_layers(model))


def layer_variables(layer: keras.layers.Layer) -> dict[str, typing.Any]:
    """{name: variable} of all weights of a layer or model; otherwise as `named_variables`."""
    return _variables(names.layers_inside(layer))


def _variables(layers):
    named = {}
    for layer_name, layer in layers:
        for own_name, variable in compat.own_variables(layer):
            name = f"{layer_name}/{own_name}" if layer_name else own_name
            if name in named:
                raise ValueError(f"two layers of the model are called {layer_name}: give them different names")
            if tf.as_dtype(variable.dtype).is_floating:  # the others count what a normalization was adapted to
                named[name] = variable
    return named


def save(variables: dict[str, typing.Any], path: str | os.PathLike) -> None:
    """Writes {name: variable} to a file that is never seen half written."""
    with files.replacing(path, "wb") as file:
        np.savez(file, **{name: variable.numpy() for name, variable in variables.items()})


def load(
    variables: dict[str, typing.Any], path: str | os.PathLike, partial: bool = False, part: str = ""
) -> places.Report:
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
