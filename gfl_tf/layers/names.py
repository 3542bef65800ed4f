"""Names of layers that depend on the architecture alone, not on what a process has built before."""

import collections
import collections.abc
import re

import keras

from gfl_tf import compat


def named_layers(model: keras.Model) -> list[tuple[str, keras.layers.Layer]]:
    """[(name, layer)] of all layers of a detector's backbone, neck and head, each once, the outer ones first.

    A name is that of the part and of the layers from the outermost in: "head/class_tower_0/norm".
    """
    parts = [(part, getattr(model, part)) for part in ("backbone", "neck", "head")]
    return [pair for part, layer in parts for pair in _collect(layer, part, set())]


def frozen_layers(model: keras.Model) -> list[str]:
    """The names of the layers of a detector that are not trainable, which Keras itself forgets."""
    return [name for name, layer in named_layers(model) if not layer.trainable]


def freeze_layers(model: keras.Model, names: collections.abc.Collection[str]) -> None:
    """Makes the layers of these names not trainable, and all others trainable."""
    for name, layer in named_layers(model):
        if layer.trainable == (name in names):
            layer.trainable = name not in names  # of the layers inside, too, which follow


def layers_inside(layer: keras.layers.Layer) -> list[tuple[str, keras.layers.Layer]]:
    """[(name, layer)] of a layer, whose own name is "", and of all layers inside it."""
    return _collect(layer, "", set())


def _collect(layer, name, seen):
    found = [(name, layer)]
    numbers = collections.Counter()
    for child in compat.sublayers(layer):
        generic = _generic_name(child)
        child_name = child.name
        if generic:  # numbered by the process that made it: number it by its place instead
            child_name = f"{generic}_{numbers[generic]}"
            numbers[generic] += 1
        if id(child) not in seen:
            seen.add(id(child))
            found += _collect(child, f"{name}/{child_name}" if name else child_name, seen)
    return found


def _generic_name(layer):
    """The name that Keras gives to layers of this class, without its number; None where the layer has its own."""
    for word in ("[A-Z][a-z]+", "[A-Z][a-z0-9]+"):  # Keras 3's rule, Keras 2's
        words = re.sub(f"(.)({word})", r"\1_\2", type(layer).__name__)
        words = re.sub("([a-z])([A-Z])", r"\1_\2", words).lower()
        if re.fullmatch(rf"{re.escape(words)}(_\d+)?", layer.name):
            return words.replace("_", "")  # the two differ in where they put it
    return None
