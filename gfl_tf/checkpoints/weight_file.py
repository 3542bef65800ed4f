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
from gfl_tf.checkpoints import other_files, places
from gfl_tf.layers import names as layer_names
from gfl_tf.texts import first_ones

SUFFIX = ".npz"


def named_variables(model: keras.Model) -> dict[str, typing.Any]:
    """{name: variable} of a detector's backbone, neck and head, in this order.

    Raises:
        ValueError: two layers side by side have the same name.
    """
    return _variables(layer_names.named_layers(model))


def layer_variables(layer: keras.layers.Layer) -> dict[str, typing.Any]:
    """{name: variable} of all weights of a layer or model; otherwise as `named_variables`."""
    return _variables(layer_names.layers_inside(layer))


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


def save_arrays(arrays: dict[str, np.ndarray], path: str | os.PathLike) -> None:
    """Writes {name: array} to a file that is never seen half written.

    Raises:
        ValueError: a number is not finite; the file stays as it was.
        OSError: it cannot be written, and stays as it was.
    """
    wrong = not_finite(arrays)
    if wrong:
        raise ValueError(f"{wrong} is not finite: {path} stays as it was")
    write(arrays, path)


def write(arrays: dict[str, np.ndarray], path: str | os.PathLike) -> None:
    """Writes {name: array} as `save_arrays` does, unchecked."""
    with files.replacing(path, "wb", synced=True) as file:
        np.savez(file, **arrays)


def not_finite(arrays: dict[str, np.ndarray]) -> str | None:
    """The name of the first of {name: array} in which a number is not finite."""
    return next((name for name, value in arrays.items() if not np.isfinite(value).all()), None)


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
        ValueError: the file cannot be read, or (`places.Misfit`) does not fit.
    """
    return assign(variables, read(path, f"{part}/" if part else ""), path, partial)


def assign(
    variables: dict[str, typing.Any], arrays: dict[str, np.ndarray], source: str | os.PathLike, partial: bool = False
) -> places.Report:
    """Assigns {name: array} to {name: variable}; otherwise as `load`. `source`: the file, for messages."""
    wanted = [
        places.Place((name,), variable, tuple(variable.shape), tuple(range(len(variable.shape))))
        for name, variable in variables.items()
    ]
    return places.load(wanted, arrays, constants={}, partial=partial, source=source)


def read(path: str | os.PathLike, prefix: str = "") -> dict[str, np.ndarray]:
    """{name without the prefix: array} of the file's arrays that have it; their checksums are compared.

    Raises:
        ValueError: the file cannot be read.
    """
    try:
        with open(path, "rb") as file:
            what = other_files.describe(file.read(other_files.LONGEST))
        if what or not zipfile.is_zipfile(path):
            raise ValueError(f"it is {what or 'no .npz file'}")
        with np.load(path, allow_pickle=False) as file:
            names = file.files
            arrays = {name[len(prefix) :]: file[name] for name in names if name.startswith(prefix)}
    # A wrong bit can stand for encryption (RuntimeError) or an unknown compression (NotImplementedError, one of these).
    except (OSError, ValueError, EOFError, RuntimeError, zipfile.BadZipFile, zlib.error) as error:
        raise ValueError(f"{path} is no weight file of gfl_tf, or damaged: {error}") from error
    if not arrays or not all(isinstance(value, np.ndarray) for value in arrays.values()):
        wanted = f"arrays {prefix}..." if prefix else "arrays of numpy"
        there = ", ".join(first_ones(names, 3)) or "nothing"
        raise ValueError(f"{path} is no weight file of gfl_tf, which has {wanted}; it has {there}")
    return arrays
