"""config -> model: the one table from config names to classes."""

import collections.abc
import contextlib
import dataclasses
import functools
import inspect
import os
import typing

import keras
import ml_collections
from absl import logging

from gfl_tf import backbone_weights, compat, detector_weights, field_rules, losses, rules
from gfl_tf.assigners.atss import ATSSAssigner
from gfl_tf.assigners.fcos import FCOSAssigner
from gfl_tf.assigners.max_iou import MaxIoUAssigner
from gfl_tf.backbones import keras_models
from gfl_tf.backbones.features import freeze_batch_norm
from gfl_tf.backbones.res2net import Res2Net
from gfl_tf.backbones.resnet import ResNet
from gfl_tf.boxes.distributions import GaussianDistribution, GeneralDistribution
from gfl_tf.boxes.points import AnchorDeltas, DiracDistances
from gfl_tf.compat import keras_cv
from gfl_tf.config_files import load_config
from gfl_tf.detectors import checks, recipes
from gfl_tf.detectors.decoder import PredictionDecoder
from gfl_tf.detectors.detector import Detector
from gfl_tf.heads.tower_head import TowerHead
from gfl_tf.heads.vfnet import VFNetHead
from gfl_tf.necks.fpn import FPN
from gfl_tf.necks.pafpnx import PAFPNX
from gfl_tf.ops.grid import GridSpec
from gfl_tf.parts import arguments
from gfl_tf.rules import COUNT, EMPTY, FLAG, NUMBER, POSITIVE, TEXT, either, one_of, several
from gfl_tf.scores.branch import QualityBranch
from gfl_tf.scores.dgqp import DGQPScore
from gfl_tf.scores.joint import JointScore

RECIPES = {
    "atss": recipes.ATSS,
    "fcos": recipes.FCOS,
    "gfl": recipes.GFL,
    "gflv2": recipes.GFLV2,
    "retinanet": recipes.RetinaNet,
    "vfnet": recipes.VFNet,
}
BACKBONES = {
    "csp_darknet": keras_cv.models.CSPDarkNetBackbone,
    "densenet": keras_cv.models.DenseNetBackbone,
    "efficientnet_v2": keras_cv.models.EfficientNetV2Backbone,
    "keras_applications": keras_models.keras_applications,
    "keras_hub": keras_models.keras_hub,
    "mobilenet_v3": keras_cv.models.MobileNetV3Backbone,
    "reference_res2net": Res2Net,
    "reference_resnet": ResNet,
    "resnet": keras_cv.models.ResNetBackbone,
    "resnet_v2": keras_cv.models.ResNetV2Backbone,
    "yolo_v8": keras_cv.models.YOLOV8Backbone,
}
# Of the fields of `config.model` that are parts: {name: class}. The fields without names have one class.
PARTS = {
    "neck": {"fpn": FPN, "pafpnx": PAFPNX},
    "head": {"towers": TowerHead, "vfnet": VFNetHead},
    "grid": GridSpec,
    "assigner": {"atss": ATSSAssigner, "fcos": FCOSAssigner, "max_iou": MaxIoUAssigner},
    "boxes": {
        "anchor_deltas": AnchorDeltas,
        "dirac": DiracDistances,
        "gaussian": GaussianDistribution,
        "general": GeneralDistribution,
    },
    "score": {"branch": QualityBranch, "dgqp": DGQPScore, "joint": JointScore},
    "classification_loss": {
        "focal": losses.FocalLoss,
        "quality_focal": losses.QualityFocalLoss,
        "varifocal": losses.VarifocalLoss,
    },
    "box_loss": {"ciou": losses.CIoULoss, "diou": losses.DIoULoss, "giou": losses.GIoULoss, "iou": losses.IoULoss},
    "decoder": PredictionDecoder,
}
# Of the fields of `config.model` that are no parts. The parts check their own values.
MODEL_RULES = {
    "weights": TEXT,
    "partial_weights": FLAG,
    "num_classes": COUNT,
    "bounding_box_format": TEXT,
    "mean": either(EMPTY, several(NUMBER, 3)),
    "std": either(EMPTY, several(POSITIVE, 3)),
    "backbone": {
        "name": TEXT,
        "arguments": field_rules.FIELDS,
        "weights": TEXT,
        "freeze_batch_norm": FLAG,
    },
}


def default_model(detector: str = "gflv2") -> ml_collections.ConfigDict:
    """`config.model` of one of `RECIPES`, every field with its paper's value, on KerasCV's ResNet-50.

    A part is `dict(name=..., **arguments of its class)`; its fields are described there.
    """
    rules.check_value("the detector", detector, one_of(*RECIPES))
    recipe = RECIPES[detector]
    model = ml_collections.ConfigDict()
    # Of the whole detector, to start from: a run's .npz file, or a .pth or .safetensors file as published for the
    # PyTorch reference.
    model.weights = ""
    model.partial_weights = False  # take from `weights` what fits, as another number of classes needs
    model.num_classes = 80  # a training takes it from its annotations
    model.bounding_box_format = "xyxy"  # KerasCV's name for the format of labels and predictions in Python
    model.backbone = dict(
        name="resnet",  # one of BACKBONES, built with these arguments of its class or function
        arguments=dict(
            stackwise_filters=(64, 128, 256, 512),
            stackwise_blocks=(3, 4, 6, 3),
            stackwise_strides=(1, 2, 2, 2),
            include_rescaling=True,
        ),
        # A KerasCV preset with weights, a run's .npz file, a .weights.h5 file of the backbone by the same Keras; for
        # the reference backbones a .pth file or its address; for those of KerasHub a preset or its folder, for those
        # of keras.applications "imagenet"; empty: random weights.
        weights="",
        freeze_batch_norm=False,  # batch norm on its moving statistics, for small batches on trained backbones
    )
    # RGB, in 0..255; empty where the backbone rescales its input. Those of KerasHub and keras.applications:
    # `gfl_tf.backbones.keras_models`.
    model.mean = ()
    model.std = ()  # as `mean`
    for field in dataclasses.fields(recipe):
        value = getattr(recipe, field.name)
        if value is not None:
            model[field.name] = part_config(field.name, value, recipe) if field.name in PARTS else value
    model.decoder = part_config("decoder", PredictionDecoder())
    return model


def part_config(field: str, value: typing.Any, recipe: recipes.Recipe | None = None) -> dict[str, typing.Any]:
    """The plain values from which `build_detector` makes the part `value` of a field of `config.model`.

    Args:
        value: a part, or the `functools.partial` of a neck or head.
        recipe: whose neck or head it is.
    """
    if isinstance(value, functools.partial):
        parameters = inspect.signature(value.func.__init__).parameters.values()
        decided = {"self", "num_classes", "kwargs", *_decided_elsewhere(field, value, recipe)}
        plain = {parameter.name: parameter.default for parameter in parameters if parameter.name not in decided}
        plain.update(value.keywords)
        cls = value.func
    else:
        plain, cls = arguments(value), type(value)
    names = [name for name, known in PARTS[field].items() if known is cls] if isinstance(PARTS[field], dict) else []
    return {**({"name": names[0]} if names else {}), **plain}


def _decided_elsewhere(field, value, recipe):
    """The arguments of a neck or head that other parts decide."""
    return ["levels"] if field == "neck" else value.func.fitting(recipe.grid, recipe.boxes, recipe.score)


def build_detector(
    config: ml_collections.ConfigDict | str | os.PathLike,
    load_weights: bool = True,
    say: collections.abc.Callable[[str], None] = logging.info,
) -> Detector:
    """The Keras model that a config describes, in its precision, with fresh weights unless the config names some.

    Args:
        config: a ConfigDict (its `model`, `precision` and `name` are read), or a config file: its path, or the name of
            one that comes with gfl_tf.
        load_weights: False leaves out the weights that the config names, where others are loaded afterwards.
        say: takes a line for each file of weights, which says how many of its tensors were taken and what was not.

    Raises:
        ValueError: an unknown name, field or value, before anything is built; weights that cannot be had or do not fit.
    """
    if isinstance(config, (str, os.PathLike)):
        config = load_config(config)
    model = _read(config)
    if model.weights or not load_weights:
        model.backbone["weights"] = ""  # they would be overwritten
    with precision_policy(config.get("precision", "float32")):
        recipe = _recipe(model.recipe, model.arguments["num_classes"])
        normalization = {name: model.arguments[name] for name in ("mean", "std")}
        backbone = _backbone(model.backbone, normalization, say)
        built = recipe(backbone, name=config.get("name", "detector"), **model.arguments)
    if model.weights and load_weights:
        class_names = (config.get("data") or {}).get("class_names") or ()
        detector_weights.load(built, model.weights, model.partial_weights, class_names, say)
    return built


def check_detector(config: ml_collections.ConfigDict) -> None:
    """Checks the model of a config as far as it shows without its backbone and weights.

    `config.model.num_classes` may be missing: a training takes it from its annotations.

    Raises:
        ValueError: as `build_detector`.
    """
    config = ml_collections.ConfigDict(config.to_dict())
    config.model.num_classes = config.model.get("num_classes", 1)
    model = _read(config)
    _recipe(model.recipe, model.arguments["num_classes"])


class _Model(typing.NamedTuple):
    """`config.model`, checked: the fields of the backbone, of the recipe, other arguments of the detector, weights."""

    backbone: dict
    recipe: dict
    arguments: dict
    weights: str
    partial_weights: bool


def _read(config):
    config = config.to_dict()
    rules.check(config, field_rules.TOP, "config")
    if "model" not in config:
        raise ValueError("the config has no config.model; see configs/ for whole ones")
    model = dict(config["model"])
    of_recipe = {field.name for field in dataclasses.fields(recipes.Recipe)}
    if "detector" in model:
        raise ValueError(
            "config.model.detector is of an earlier version of gfl_tf, whose runs this one does not read; "
            f"gfl_tf.build.default_model({model['detector']!r}) has the fields of today"
        )
    rules.check_known(model, {*MODEL_RULES, *of_recipe, "decoder"}, "config.model")
    own = {name: model.pop(name) for name in MODEL_RULES if name in model}
    _check_present(own, ("backbone", "num_classes"))
    rules.check(own, MODEL_RULES, "config.model")
    decoder = _part("decoder", model.pop("decoder", {}))
    arguments = dict(
        num_classes=own["num_classes"],
        bounding_box_format=own.get("bounding_box_format", "xyxy"),
        prediction_decoder=decoder,
        mean=tuple(own.get("mean", ())) or None,
        std=tuple(own.get("std", ())) or None,
    )
    with _named("config.model"):
        checks.check_interface(*(arguments[name] for name in ("bounding_box_format", "mean", "std")))
    backbone = {"arguments": {}, "weights": "", "freeze_batch_norm": False, **own["backbone"]}
    rules.check_value("config.model.backbone.name", backbone.get("name"), one_of(*BACKBONES))
    _check_backbone_arguments(backbone)
    return _Model(backbone, model, arguments, own.get("weights", ""), own.get("partial_weights", False))


@contextlib.contextmanager
def precision_policy(name: str) -> collections.abc.Iterator[None]:
    """Inside, new layers have this Keras policy: "float32", "mixed_bfloat16", "bfloat16", ..."""
    before = keras.mixed_precision.global_policy()
    keras.mixed_precision.set_global_policy(name)
    try:
        yield
    finally:
        keras.mixed_precision.set_global_policy(before)


def _recipe(fields, num_classes):
    """The `Recipe` of the fields of `config.model` that are its, with its neck and head made."""
    needed = [each.name for each in dataclasses.fields(recipes.Recipe) if each.default is dataclasses.MISSING]
    _check_present(fields, needed)
    parts = {name: _part(name, value) if name in PARTS else value for name, value in fields.items()}
    with _named("config.model"):
        return recipes.Recipe(**parts).with_layers(num_classes)


def _part(field, config):
    """The part of a field of `config.model`; of neck and head a `functools.partial`."""
    where, classes = f"config.model.{field}", PARTS[field]
    if not isinstance(config, dict):
        raise ValueError(f"{where} is {config!r}; it must be dict(name=..., and arguments of its class)")
    config = dict(config)
    cls = classes
    if isinstance(classes, dict):
        rules.check_value(f"{where}.name", config.get("name"), one_of(*classes))
        cls = classes[config.pop("name")]
    known = set(inspect.signature(cls.__init__).parameters) - {"self", "kwargs"}
    rules.check_known(config, known, f"{where}: {cls.__name__}")
    if issubclass(cls, keras.layers.Layer):
        return functools.partial(cls, **config)
    with _named(where):
        return cls(**config)


def _check_backbone_arguments(config):
    build = BACKBONES[config["name"]]
    if isinstance(build, type):
        with _named("config.model.backbone"):
            compat.check_arguments(build, config["arguments"])


def _backbone(config, normalization, say):
    """The backbone of `config.model.backbone`; `normalization`: the detector's mean and std."""
    build = BACKBONES[config["name"]]
    with _named("config.model.backbone"):
        backbone = build(**config["arguments"])
    if config["weights"]:
        backbone_weights.load(backbone, build, config, normalization, say)
    if config["freeze_batch_norm"]:
        freeze_batch_norm(backbone)
    return backbone


@contextlib.contextmanager
def _named(where):
    """Puts the field in front of what is said of its value."""
    try:
        yield
    except (ValueError, ImportError) as error:
        raise ValueError(f"{where}: {error}") from error


def _check_present(model, fields):
    missing = [name for name in fields if name not in model]
    if missing:
        raise ValueError(f"config.model.{missing[0]} is missing; gfl_tf.build.default_model('gfl') has all fields")
