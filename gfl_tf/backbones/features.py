"""P3 to P5 features of any functional Keras model that says which of its tensors they are."""

import collections.abc
import difflib
import functools
import typing

import keras
import tensorflow as tf

from gfl_tf import compat
from gfl_tf.layers.grouped import use_grouped_conv
from gfl_tf.layers.recompute import Segments

ANY_SIZE = (256, 352)  # pixels: what levels are measured with where a backbone takes images of any size


class PyramidFeatures(keras.Model):
    """The functional model that `pyramid_features` makes.

    `recompute`, which `Detector.compile` sets: in training, the results inside its `Segments` are not kept for the
    backward pass, but made again in it.
    """

    recompute = False

    def call(self, inputs, training=None, mask=None) -> dict[str, tf.Tensor]:
        if self.recompute and training:
            return Segments(self)(inputs)
        return super().call(inputs, training=training, mask=mask)


def pyramid_features(backbone: keras.Model, levels: collections.abc.Sequence[int] = (3, 4, 5)) -> PyramidFeatures:
    """A model from images to {"P3": features, ...} of these levels, sharing the backbone's layers and weights.

    The backbone's layers past P5, which no gradient reaches, become non-trainable.

    Args:
        backbone: one of KerasCV's, KerasHub's or ours, a `gfl_tf.backbones.Pyramid`, or any functional Keras model
            with a `pyramid_level_inputs` dict from "P3", "P4", "P5" to layer names.
        levels: the backbone's levels that are wanted.

    Raises:
        ValueError: it does not say what its levels are; a level is missing, names no layer, or has not 1/2^level of
            the image's size (P3: 1/8), rounded up.
    """
    tensors = _sized_levels(backbone, [f"P{i}" for i in levels])
    features = PyramidFeatures(inputs=backbone.inputs, outputs=tensors, name="pyramid_features")
    compat.use_batch_norm(backbone)
    use_grouped_conv(compat.nested_layers(backbone))
    _use_own_statistics(compat.nested_layers(backbone))
    used = {id(layer) for layer in features.layers}
    for layer in backbone.layers:
        if id(layer) not in used:
            layer.trainable = False
    return features


def level_tensors(backbone: keras.Model) -> dict[str, typing.Any]:
    """{"P3": Keras tensor, ...} of all levels, as the backbone calls them; errors as `pyramid_features`."""
    if hasattr(backbone, "pyramid_outputs"):  # KerasHub's
        return dict(backbone.pyramid_outputs)
    names = getattr(backbone, "pyramid_level_inputs", None)
    if not names:
        raise ValueError(
            f"backbone {backbone.name} does not say which of its layers are its levels. Name them: "
            'gfl_tf.backbones.Pyramid(model, {"P3": "LAYER", "P4": "LAYER", "P5": "LAYER"})'
        )
    return {level: _layer(backbone, level, name).output for level, name in names.items()}


def freeze_batch_norm(model: keras.Model) -> None:
    """Makes every BatchNormalization of `model` run on its moving statistics, its weights fixed, in training too."""
    for layer in compat.nested_layers(model):
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.trainable = False


def _use_own_statistics(layers):
    """Lets Keras's normalization of pixels go by its weights.

    By itself it goes by a copy of them, which stays behind when weights are assigned. EfficientNetB0 to B7 of
    keras.applications have it.
    """
    for layer in layers:
        is_adapted = isinstance(layer, keras.layers.Normalization) and layer.input_mean is None
        if is_adapted and not layer.invert and tuple(layer.axis) in ((3,), (-1,)):
            layer.call = functools.partial(_normalize, layer)


def _normalize(layer, inputs):
    mean, variance = (tf.cast(value, layer.compute_dtype) for value in (layer.adapt_mean, layer.adapt_variance))
    stddev = tf.maximum(tf.sqrt(variance), keras.backend.epsilon())
    return (tf.cast(inputs, layer.compute_dtype) - mean) / stddev


def _layer(backbone, level, name):
    names = [layer.name for layer in backbone.layers]
    if name not in names:
        near = ", ".join(difflib.get_close_matches(name, names, n=4, cutoff=0.4)) or f"its last is {names[-1]}"
        raise ValueError(f"backbone {backbone.name} has no layer {name!r} to be {level}. Like it are: {near}")
    return backbone.get_layer(name)


def _sized_levels(backbone, levels):
    """{level: Keras tensor} of the right sizes; others are refused. `levels`: such as ["P3", "P4", "P5"].

    KerasHub numbers the levels of some models after their stages, whatever their sizes (CSPDarkNet's P3 has 1/4 of the
    image's size): of its levels the last of each size is taken.
    """
    tensors = level_tensors(backbone)
    image = tuple(backbone.inputs[0].shape[1:3])
    image = image if None not in image else ANY_SIZE
    model = keras.Model(backbone.inputs, tensors)
    try:
        shapes = model.compute_output_shape((1, *image, 3))
    except NotImplementedError:  # Keras 2, where TensorFlow functions stand in the graph: call it, which is slower
        outputs = model(keras.Input((*image, 3)))
        shapes = {level: output.shape for level, output in outputs.items()}
    sizes = {level: tuple(shape[1:3]) for level, shape in shapes.items()}
    names = {level: level for level in levels if level in tensors}
    if hasattr(backbone, "pyramid_outputs"):
        names = {level: name for name in tensors for level in levels if sizes[name] == _size(image, level)}
    missing = [level for level in levels if level not in names]
    if missing:
        found = ", ".join(f"{level} {_text(size)}" for level, size in sizes.items())
        raise ValueError(
            f"backbone {backbone.name} has no {', '.join(missing)}. Of {_text(image)} pixels its levels have: {found}"
        )
    for level, name in names.items():
        if sizes[name] != _size(image, level):
            raise ValueError(
                f"backbone {backbone.name}: {level} ({backbone.pyramid_level_inputs[level]}) must have 1/"
                f"{2 ** int(level[1:])} of the image's size. Of {_text(image)} pixels that is "
                f"{_text(_size(image, level))}, not {_text(sizes[name])}"
            )
    return {level: tensors[names[level]] for level in levels}


def _text(size):
    return " x ".join(map(str, size))


def _size(image, level):
    return tuple(-(-side // 2 ** int(level[1:])) for side in image)
