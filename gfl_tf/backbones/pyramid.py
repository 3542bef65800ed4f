"""Any functional Keras model as a backbone."""

import functools
import re
import typing

import keras

from gfl_tf import compat
from gfl_tf.backbones import features
from gfl_tf.compat import keras_cv


@keras.saving.register_keras_serializable(package="gfl_tf")
class Pyramid(keras_cv.models.Backbone):
    """A functional Keras model together with the names of the layers whose outputs are its levels.

    `Pyramid(keras.applications.ResNet50V2(weights=None, include_top=False), {"P3": "conv3_block3_out", ...})`. It
    shares the model's layers and weights, takes what it takes, and goes where a KerasCV backbone goes. Build the model
    for images of any size: keras.applications do so with `include_top=False` and no `input_shape`.

    What the model expects of its pixels is for the detector's `mean` and `std`, or for the model itself; see
    `gfl_tf.backbones.keras_models.normalization` for keras.applications.

    Args:
        model: a functional Keras model from images [B, H, W, 3], with weights if they are to be kept.
        levels: {"P3": name of a layer, "P4": ..., "P5": ...}, with 1/8, 1/16 and 1/32 of the image's size.

    Raises:
        ValueError: the model is not functional; a name is none of its layers', or one that it will not have when it is
            loaded. What else is wrong with the levels is for `pyramid_features`, and so for the detectors, to refuse.
    """

    def __init__(self, model: keras.Model, levels: dict[str, str], **kwargs: typing.Any):
        compat.check_arguments(type(self), kwargs)
        if not getattr(model, "inputs", None):
            raise ValueError(f"a backbone must be a functional Keras model, with inputs; {model!r} is not")
        super().__init__(inputs=model.input, outputs=model.output, **{"name": model.name, **kwargs})
        self.pyramid_level_inputs = dict(levels)
        features.level_tensors(self)
        _check_names(model, levels)
        # Not the model itself: Keras would save its weights twice.
        self.serialized_model = functools.partial(keras.saving.serialize_keras_object, model)

    def get_config(self) -> dict[str, typing.Any]:
        config = {**super().get_config(), "model": self.serialized_model(), "levels": dict(self.pyramid_level_inputs)}
        if config["trainable"]:  # set, it would make all layers trainable; the model's config knows which are
            del config["trainable"]
        return config

    @classmethod
    def from_config(cls, config) -> "Pyramid":
        return cls(**{**config, "model": keras.saving.deserialize_keras_object(config["model"])})


def _check_names(model, levels):
    """Keras numbers layers without a name on and on, so a model that makes them itself names them otherwise again."""
    for level, name in levels.items():
        layer = model.get_layer(name)
        is_numbered = re.sub(r"_\d+$", "", name).replace("_", "") == type(layer).__name__.lower()
        if is_numbered and "layers" not in model.get_config():
            raise ValueError(
                f"backbone {model.name}: {level} is to be its layer {name!r}, but {type(model).__name__} gives that "
                "layer another number each time it is built; choose one with a name of its own"
            )
