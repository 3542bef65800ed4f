"""Backbones out of KerasHub and of keras.applications, by name."""

import difflib
import sys
import typing

import keras
import numpy as np

from gfl_tf import compat
from gfl_tf.backbones.pyramid import Pyramid

# What EfficientNetBackbone of KerasHub 0.32 takes without naming it, and what it leaves out of its config.
UNNAMED = ("width_coefficient", "depth_coefficient")
FORGOTTEN = ("num_features", "stackwise_nores_option")


def keras_hub(backbone: str, levels: dict[str, str] | None = None, **arguments: typing.Any) -> keras.Model:
    """A backbone of KerasHub, with random weights.

    It expects pixels as its preset's image converter makes them, `pixels * scale + offset`: mean=-offset/scale and
    std=1/scale of the detector.

    Args:
        backbone: the name of its class, such as "ResNetBackbone", "CSPNetBackbone" or "EfficientNetBackbone".
        levels: as of `Pyramid`, for the classes that do not say what their levels are, such as "MobileNetBackbone".
        **arguments: of the class.

    Raises:
        ImportError: KerasHub is not installed, or this is Keras 2.
        ValueError: an unknown class, or an argument that the class forgets when it is saved.
        TypeError: an argument that the class does not have.
    """
    cls = keras_hub_class(backbone)
    compat.check_arguments(cls, {name: value for name, value in arguments.items() if name not in UNNAMED})
    model = cls(**arguments)
    config = model.get_config()
    forgotten = [name for name in arguments if name in FORGOTTEN and name not in config]
    if forgotten:
        raise ValueError(
            f"KerasHub's {backbone} leaves {', '.join(forgotten)} out of its config, so that a detector with it could "
            "not be loaded or exported"
        )
    return Pyramid(model, levels) if levels else model


def keras_hub_class(name: str) -> type:
    """The class of KerasHub's backbone of this name; errors as `keras_hub`."""
    models = compat.keras_hub().models
    names = [known for known in dir(models) if known.endswith("Backbone")]
    return getattr(models, _known(name, names, "a backbone of keras_hub.models"))


def keras_applications(model: str, levels: dict[str, str], **arguments: typing.Any) -> Pyramid:
    """A model of keras.applications as a backbone.

    With weights="imagenet" the models that Keras trained on BGR (see `normalization`) take RGB, as all backbones do:
    the channels of their first convolution are turned around.

    Args:
        model: its name, such as "ResNet50V2".
        levels: as of `Pyramid`.
        **arguments: the model's; by default include_top=False and weights=None.

    Raises:
        ValueError: an unknown model or a wrong argument.
    """
    built = _application(model)(**{"include_top": False, "weights": None, **arguments})
    if arguments.get("weights") == "imagenet" and (normalization(model) or {}).get("channels") == "BGR":
        turn_channels(built)
    return Pyramid(built, levels)


def turn_channels(model: keras.Model) -> None:
    """Lets a model for BGR images take RGB ones, or the other way round, by the kernel of its first convolution."""
    first = next(layer for layer in model.layers if isinstance(layer, keras.layers.Conv2D))
    kernel, *others = first.get_weights()
    first.set_weights([kernel[:, :, ::-1], *others])


def normalization(
    model: str, include_preprocessing: bool = True, include_rescaling: bool = True, **arguments: typing.Any
) -> dict[str, typing.Any] | None:
    """What the ImageNet weights of a model of keras.applications expect: {"mean", "std", "channels"}.

    | models | mean | std | channels |
    | --- | --- | --- | --- |
    | ResNet50, 101, 152, VGG16, VGG19 | (123.68, 116.779, 103.939), of R, G, B | (1, 1, 1) | BGR |
    | ResNet50V2, 101V2, 152V2, MobileNet, MobileNetV2, Xception | (127.5, 127.5, 127.5) | as the mean | RGB |
    | DenseNet121, 169, 201 | (123.675, 116.28, 103.53) | (58.395, 57.12, 57.375) | RGB |
    | EfficientNet, EfficientNetV2, MobileNetV3, ConvNeXt, RegNet, ResNetRS | None: they do it themselves | None | RGB |

    The last row holds where they are built with that, as by default; None is returned where one of the arguments
    include_preprocessing and include_rescaling says otherwise. `keras_applications` sees to the channels; mean and std
    are for the detector.

    Args:
        model: its name.
        include_preprocessing, include_rescaling, **arguments: those that it is built with.
    """
    if not (include_preprocessing and include_rescaling):
        return None
    preprocess = sys.modules[_application(model).__module__].preprocess_input
    black, red, green, blue = (preprocess(np.array([[pixel]], np.float64))[0, 0] for pixel in 255.0 * np.eye(4, 3, -1))
    if np.array_equal(red, [255, 0, 0]):
        return {"mean": None, "std": None, "channels": "RGB"}
    is_bgr = red[0] == black[0]
    scale = (red + green + blue - 3 * black) / 255
    mean, std = -black / scale, 1 / scale
    if is_bgr:
        mean, std = mean[::-1], std[::-1]
    return {
        "mean": tuple(np.round(mean, 3).tolist()),
        "std": tuple(np.round(std, 3).tolist()),
        "channels": "BGR" if is_bgr else "RGB",
    }


def keras_hub_normalization(preset: str) -> dict[str, typing.Any] | None:
    """{"mean", "std"} that the weights of a KerasHub preset expect; None where it does not say."""
    try:
        converter = compat.keras_hub().layers.ImageConverter.from_preset(preset)
    except (ValueError, FileNotFoundError):  # it has none
        return None
    scale = 1.0 if converter.scale is None else converter.scale
    offset = 0.0 if converter.offset is None else converter.offset
    scale, offset = np.broadcast_to(scale, 3), np.broadcast_to(offset, 3)
    return {"mean": tuple((-offset / scale).tolist()), "std": tuple((1 / scale).tolist())}


def same_normalization(one: dict[str, typing.Any], other: dict[str, typing.Any]) -> bool:
    """Whether two {"mean", "std"} do the same to pixels in 0..255, but for a thousandth of their range."""

    def black_and_white(mean, std, **_):
        mean, std = (0.0, 1.0) if mean is None else (np.array(mean), np.array(std))
        return (0 - mean) / std + np.zeros(3), (255 - mean) / std + np.zeros(3)

    one, other = np.array(black_and_white(**one)), np.array(black_and_white(**other))
    return bool(np.all(np.abs(one - other) < 1e-3 * np.ptp(other)))


def _application(name):
    applications = keras.applications
    names = [known for known in dir(applications) if known[0].isupper() and callable(getattr(applications, known))]
    return getattr(applications, _known(name, names, "a model of keras.applications"))


def _known(name, names, what):
    if name not in names:
        near = difflib.get_close_matches(name, names, n=4, cutoff=0.3) or sorted(names)
        raise ValueError(f"{name!r} is not {what}; it has {', '.join(near)}")
    return name
