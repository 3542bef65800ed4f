"""config -> model: the one place that knows which config name means which class."""

import importlib.util
import os

import keras_cv
import ml_collections

from gfl_tf import losses
from gfl_tf.backbones.features import freeze_batch_norm
from gfl_tf.detectors.decoder import PredictionDecoder
from gfl_tf.detectors.gfl import GFL, GFLV2
from gfl_tf.heads.gfl import GFLHead, GFLV2Head
from gfl_tf.layers.dgqp import DGQP
from gfl_tf.necks.fpn import FPN

BACKBONES = {
    "csp_darknet": keras_cv.models.CSPDarkNetBackbone,
    "densenet": keras_cv.models.DenseNetBackbone,
    "efficientnet_v2": keras_cv.models.EfficientNetV2Backbone,
    "mobilenet_v3": keras_cv.models.MobileNetV3Backbone,
    "resnet": keras_cv.models.ResNetBackbone,
    "resnet_v2": keras_cv.models.ResNetV2Backbone,
    "yolo_v8": keras_cv.models.YOLOV8Backbone,
}
NECKS = {"fpn": FPN}
CLASSIFICATION_LOSSES = {
    "quality_focal": losses.QualityFocalLoss,
    "focal": losses.FocalLoss,
    "varifocal": losses.VarifocalLoss,
}


def default_model():
    """`config.model` with the papers' values (GFL, section 3; GFLv2, sections 3.2 and 4) and KerasCV's ResNet-50."""
    model = ml_collections.ConfigDict()
    model.detector = "gflv2"  # or "gfl"
    model.num_classes = 80
    model.bounding_box_format = "xyxy"
    model.backbone = dict(
        name="resnet",  # one of BACKBONES, built with these arguments of its class
        arguments=dict(
            stackwise_filters=(64, 128, 256, 512),
            stackwise_blocks=(3, 4, 6, 3),
            stackwise_strides=(1, 2, 2, 2),
            include_rescaling=True,
        ),
        weights="",  # a KerasCV preset with weights, or a .weights.h5 file; empty: random ones
        freeze_batch_norm=False,  # batch norm on its moving statistics, for small batches on trained backbones
    )
    model.mean = ()  # RGB, in 0..255; empty where the backbone rescales its input
    model.std = ()
    model.neck = dict(name="fpn", channels=256)
    model.head = dict(num_bins=16, channels=256, num_convs=4, groups=32, prior=0.01)
    # composed_channels: 0 for the decomposed score J = C x I, otherwise d of the composed form. GFLv2 only.
    model.dgqp = dict(k=4, hidden=64, statistics=("topk", "mean"), prior=0.5, composed_channels=0)
    model.bin_width = 1.0
    model.classification_loss = "quality_focal"  # or "focal", "varifocal"
    model.quality_targets = True  # False: the class target of a positive is 1, not its IoU
    model.quality_weight = 1.0
    model.box_weight = 2.0
    model.distribution_weight = 0.25
    model.decoder = PredictionDecoder().get_config()
    return model


def build_detector(config):
    """The Keras model that a config describes, with fresh weights unless its backbone names some.

    Args:
        config: a ConfigDict (its `model` part is read), or the path of a config file with `get_config()`.

    Raises:
        ValueError: an unknown name or field; backbone weights that cannot be had.
    """
    if isinstance(config, (str, os.PathLike)):
        config = load_config(config)
    model = config.model.to_dict()
    detector = _choose(DETECTORS, model.pop("detector"), "config.model.detector")
    try:
        common = {
            "backbone": _backbone(model.pop("backbone")),
            "neck": _neck(model.pop("neck")),
            "prediction_decoder": PredictionDecoder(**model.pop("decoder")),
            "name": config.name,
        }
        return detector(model, common)
    except TypeError as error:  # an argument that the class does not have
        raise ValueError(f"config.model of {config.name}: {error}") from error


def load_config(path):
    """The ConfigDict of a config file (a Python file with `get_config()`)."""
    spec = importlib.util.spec_from_file_location("gfl_tf_config", os.fspath(path))
    if spec is None or not os.path.exists(path):
        raise ValueError(f"no config file at {path}: give the path of a .py file with get_config()")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return ml_collections.ConfigDict(module.get_config())


def _gfl(model, common):
    head = GFLHead(model["num_classes"], name="head", **model.pop("head"))
    model.pop("dgqp", None)
    return GFL(head=head, **_gfl_arguments(model), **common)


def _gflv2(model, common):
    dgqp = model.pop("dgqp")
    composed_channels = dgqp.pop("composed_channels", 0)
    if composed_channels:
        composed = DGQP(outputs=composed_channels, name="dgqp", **dgqp)
        head = GFLHead(model["num_classes"], composed=composed, name="head", **model.pop("head"))
    else:
        head = GFLHead(model["num_classes"], name="base", **model.pop("head"))
        head = GFLV2Head(head, DGQP(name="dgqp", **dgqp), name="head")
    return GFLV2(head=head, **_gfl_arguments(model), **common)


DETECTORS = {"gfl": _gfl, "gflv2": _gflv2}


def _gfl_arguments(model):
    """The remaining fields of `config.model`: arguments of the detector, by their own names."""
    arguments = dict(model)
    name = arguments.pop("classification_loss", "quality_focal")
    if name != "quality_focal":
        loss = _choose(CLASSIFICATION_LOSSES, name, "config.model.classification_loss")
        arguments["classification_loss"] = loss()
    for field in ("mean", "std"):
        arguments[field] = tuple(arguments[field]) if arguments.get(field) else None
    return arguments


def _neck(config):
    return _choose(NECKS, config.pop("name"), "config.model.neck.name")(name="neck", **config)


def _backbone(config):
    cls = _choose(BACKBONES, config["name"], "config.model.backbone.name")
    backbone = cls(**config["arguments"])
    if config["weights"]:
        _load_backbone_weights(backbone, cls, config["weights"])
    if config["freeze_batch_norm"]:
        freeze_batch_norm(backbone)
    return backbone


def _load_backbone_weights(backbone, cls, weights):
    """`weights`: the name of a KerasCV preset, which is downloaded, or the path of a .weights.h5 file."""
    if os.path.exists(weights):
        backbone.load_weights(weights)
        return
    if weights not in cls.presets_with_weights:
        presets = sorted(cls.presets_with_weights)
        raise ValueError(f"config.model.backbone.weights: {weights!r} is neither a file nor one of {presets}")
    try:
        pretrained = cls.from_preset(weights)
    except Exception as error:  # whatever the download fails with, the user's choices are the same
        raise ValueError(
            f"could not fetch the backbone weights {weights!r} ({error}). Choose: "
            "--config.model.backbone.weights=FILE.weights.h5 for weights that you have, or "
            "--config.model.backbone.weights= to start from random ones."
        ) from error
    backbone.set_weights(pretrained.get_weights())


def _choose(table, name, field):
    if name not in table:
        raise ValueError(f"{field}: {name!r} is not one of {sorted(table)}")
    return table[name]
