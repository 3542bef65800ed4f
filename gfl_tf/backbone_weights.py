"""Pretrained weights of a backbone: from a file, an address or a published preset."""

import contextlib
import functools
import os
import warnings

import keras
from absl import logging

from gfl_tf.backbones import keras_models
from gfl_tf.checkpoints import mmdet, weight_file

PYTORCH_FILES = (".pth", ".pt", ".pkl", ".safetensors")


def load(backbone, build, config, normalization, say):
    """Loads `config["weights"]`, see `gfl_tf.build.default_model`. Presets and addresses are downloaded.

    Args:
        backbone: made by the class or function `build` with `config["arguments"]`.
        config: `config.model.backbone` as a dict.
        normalization: {"mean", "std"} of the detector; a warning says where the weights were trained with others.
        say: takes the line that says how many tensors were taken.

    Raises:
        ValueError: weights that cannot be had or do not fit.
    """
    weights = config["weights"]
    if weights.endswith(PYTORCH_FILES):
        say(f"backbone: {mmdet.load_backbone(backbone, _local_file(weights))}")
        return
    variables = weight_file.layer_variables(backbone)
    if os.path.isfile(weights):
        if weights.endswith(weight_file.SUFFIX):
            say(f"backbone: {weight_file.load(variables, weights, part='backbone')}")
        else:
            _load_keras_file(backbone, weights)
            say(f"backbone: {len(variables)} of {len(variables)} tensors taken from {weights}")
        return
    known, fetch = _published(build, config["arguments"], weights)
    if weights not in known and not (build is keras_models.keras_hub and os.path.isdir(weights)):
        raise ValueError(f"config.model.backbone.weights: {weights!r} is neither a file nor one of {sorted(known)}")
    with _download(weights):
        pretrained = fetch()
        expected = _expected_normalization(build, config["arguments"], weights)
    arrays = {name: variable.numpy() for name, variable in weight_file.layer_variables(pretrained).items()}
    say(f"backbone: {weight_file.assign(variables, arrays, weights)}")
    if expected and not keras_models.same_normalization(normalization, expected):
        logging.warning(
            "config.model.mean is %s and std is %s, but the backbone weights %r were trained with %s and %s.",
            *normalization.values(), weights, expected["mean"], expected["std"],
        )  # fmt: skip


def _load_keras_file(backbone, path):
    try:
        with warnings.catch_warnings(record=True) as met:  # of a wrong file there are many before the error
            backbone.load_weights(path)
    except Exception as error:  # whatever Keras and h5py raise of a wrong file
        reason = " ".join(str(error).split())
        raise ValueError(f"config.model.backbone.weights: Keras cannot load {path}: {reason}") from error
    for warning in met:
        logging.warning("%s: %s", path, warning.message)


def _published(build, arguments, weights):
    """(names of the published weights, function that fetches the backbone with `weights`)"""
    if build is keras_models.keras_applications:
        return ["imagenet"], functools.partial(build, **{**arguments, "weights": weights})
    if build is keras_models.keras_hub:
        cls = keras_models.keras_hub_class(arguments["backbone"])
        return cls.presets, functools.partial(cls.from_preset, weights)
    # A builder of one's own has none.
    return getattr(build, "presets_with_weights", ()), lambda: build.from_preset(weights)


def _expected_normalization(build, arguments, weights):
    """{"mean", "std"} that the weights were trained with, where that is known and not up to the backbone's arguments"""
    if build is keras_models.keras_applications:
        return keras_models.normalization(**arguments)
    return keras_models.keras_hub_normalization(weights) if build is keras_models.keras_hub else None


def _local_file(weights):
    """The path of a file given by path or address."""
    if not weights.startswith("https://"):
        check_file(weights, "config.model.backbone.weights")
        return weights
    with _download(weights):
        return keras.utils.get_file(os.path.basename(weights), weights, cache_subdir="gfl_tf")


def check_file(path: str, field: str) -> None:
    """Raises ValueError where there is no file at the path that `field` has."""
    if os.path.isdir(path):
        raise ValueError(f"{field}: {path} is a folder: name a file in it, of a run {os.path.join(path, 'best.npz')}")
    if not os.path.exists(path):
        raise ValueError(f"{field}: there is no file {os.path.abspath(path)}")


@contextlib.contextmanager
def _download(weights):
    try:
        yield
    except Exception as error:  # whatever the download fails with, the user's choices are the same
        raise ValueError(
            f"could not fetch the backbone weights {weights!r} ({error}). Choose: --config.model.backbone.weights=FILE "
            "for weights that you have, or --config.model.backbone.weights= to start from random ones."
        ) from error
