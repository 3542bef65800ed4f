"""config -> model: the one place that knows which config name means which class."""

import contextlib
import functools
import os

import keras
import ml_collections
from absl import logging

from gfl_tf import compat, losses
from gfl_tf.backbones import keras_models
from gfl_tf.backbones.features import freeze_batch_norm
from gfl_tf.backbones.res2net import Res2Net
from gfl_tf.backbones.resnet import ResNet
from gfl_tf.checkpoints import mmdet, weight_file
from gfl_tf.compat import keras_cv
from gfl_tf.config_files import load_config
from gfl_tf.detectors.atss import ATSS
from gfl_tf.detectors.decoder import PredictionDecoder
from gfl_tf.detectors.gfl import GFL, GFLV2
from gfl_tf.detectors.vfnet import VFNet
from gfl_tf.heads.atss import ATSSHead
from gfl_tf.heads.gfl import GFLHead, GFLV2Head
from gfl_tf.heads.vfnet import VFNetHead
from gfl_tf.layers.dgqp import DGQP
from gfl_tf.necks.fpn import FPN
from gfl_tf.necks.pafpnx import PAFPNX

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
NECKS = {"fpn": FPN, "pafpnx": PAFPNX}
CLASSIFICATION_LOSSES = {
    "quality_focal": losses.QualityFocalLoss,
    "focal": losses.FocalLoss,
    "varifocal": losses.VarifocalLoss,
}
TORCH_FILES = (".pth", ".pt")


def default_model(detector="gflv2"):
    """`config.model` of a detector with its paper's values, and KerasCV's ResNet-50.

    GFL: section 3; GFLv2: sections 3.2 and 4; ATSS: sections 3 and 4 of its paper; VarifocalNet: section 4.
    """
    model = ml_collections.ConfigDict()
    model.detector = detector  # one of DETECTORS; only "gfl" and "gflv2" have the same fields
    # Of the whole detector, to start from: a run's .npz file, or a .pth file as published for the PyTorch
    # reference. `partial_weights` takes from it what fits, as another number of classes needs.
    model.weights = ""
    model.partial_weights = False
    model.num_classes = 80
    model.bounding_box_format = "xyxy"
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
    model.std = ()
    model.neck = dict(name="fpn", channels=256)
    model.head = dict(channels=256, num_convs=4, groups=32, prior=0.01)
    model.box_weight = 2.0
    model.decoder = PredictionDecoder().get_config()
    if detector == "atss":
        model.classification_weight = 1.0
        model.centerness_weight = 1.0
        return model
    if detector == "vfnet":
        model.neck.extra_relu = True
        model.head.num_convs = 3
        # Table 3: star=False, refine=False; see `VFNetHead` for these and the others.
        model.head.update(star=True, refine=True, deformable=False, box_normalization="reg_denom", star_gradient=0.1)
        model.classification_loss = "varifocal"  # or "focal", "quality_focal"
        model.varifocal = dict(alpha=0.75, gamma=2.0, iou_weighted=True)  # table 2
        model.quality_targets = True  # False: the class target of a positive is 1, not its IoU; for "focal"
        model.classification_weight = 1.0
        model.box_weight = 1.5
        model.refined_box_weight = 2.0
        return model
    model.head.num_bins = 16
    # composed_channels: 0 for the decomposed score J = C x I, otherwise d of the composed form. GFLv2 only.
    model.dgqp = dict(k=4, hidden=64, statistics=("topk", "mean"), prior=0.5, composed_channels=0)
    model.bin_width = 1.0
    model.classification_loss = "quality_focal"  # or "focal", "varifocal"
    model.quality_targets = True  # False: the class target of a positive is 1, not its IoU
    model.quality_weight = 1.0
    model.distribution_weight = 0.25
    return model


def build_detector(config, load_weights=True):
    """The Keras model that a config describes, with fresh weights unless `model.weights` or its backbone names some.

    Args:
        config: a ConfigDict (its `model` part is read), or a config file: its path, or the name of one that comes with
            gfl_tf.
        load_weights: False leaves out the weights that the config names, where others are loaded afterwards.

    Raises:
        ValueError: an unknown name or field; weights that cannot be had or do not fit.
    """
    if isinstance(config, (str, os.PathLike)):
        config = load_config(config)
    model = config.model.to_dict()
    weights, partial = model.pop("weights", ""), model.pop("partial_weights", False)
    if not load_weights:
        weights = model["backbone"]["weights"] = ""
    elif weights:
        model["backbone"]["weights"] = ""  # they would be overwritten
    detector = _choose(DETECTORS, model.pop("detector"), "config.model.detector")
    try:
        common = {
            "backbone": _backbone(model.pop("backbone"), _normalization(model)),
            "neck": _neck(model.pop("neck")),
            "prediction_decoder": PredictionDecoder(**model.pop("decoder")),
            "name": config.name,
        }
        built = detector(model, common)
    except (TypeError, ImportError) as error:  # an argument that the class does not have; KerasHub
        raise ValueError(f"config.model of {config.name}: {error}") from error
    if weights:
        _load_weights(built, weights, partial)
    return built


@contextlib.contextmanager
def precision_policy(name):
    """Inside, new layers have this Keras policy: "float32", "mixed_bfloat16", "bfloat16", ..."""
    before = keras.mixed_precision.global_policy()
    keras.mixed_precision.set_global_policy(name)
    try:
        yield
    finally:
        keras.mixed_precision.set_global_policy(before)


def _make(cls, arguments, **more):
    compat.check_arguments(cls, arguments)
    return cls(**arguments, **more)


def _gfl(model, common):
    head = _make(GFLHead, model.pop("head"), num_classes=model["num_classes"], name="head")
    model.pop("dgqp", None)
    return GFL(head=head, **_gfl_arguments(model), **common)


def _gflv2(model, common):
    dgqp = model.pop("dgqp")
    composed_channels = dgqp.pop("composed_channels", 0)
    if composed_channels:
        composed = _make(DGQP, dgqp, outputs=composed_channels, name="dgqp")
        head = _make(GFLHead, model.pop("head"), num_classes=model["num_classes"], composed=composed, name="head")
    else:
        head = _make(GFLHead, model.pop("head"), num_classes=model["num_classes"], name="base")
        head = GFLV2Head(head, _make(DGQP, dgqp, name="dgqp"), name="head")
    return GFLV2(head=head, **_gfl_arguments(model), **common)


def _atss(model, common):
    head = _make(ATSSHead, model.pop("head"), num_classes=model["num_classes"], name="head")
    return ATSS(head=head, **_arguments(model), **common)


def _vfnet(model, common):
    head = _make(VFNetHead, model.pop("head"), num_classes=model["num_classes"], name="head")
    arguments = _arguments(model)
    varifocal = arguments.pop("varifocal", {})
    name = arguments.pop("classification_loss", "varifocal")
    loss = _choose(CLASSIFICATION_LOSSES, name, "config.model.classification_loss")
    loss = loss(**varifocal) if name == "varifocal" else loss()
    return VFNet(head=head, classification_loss=loss, **arguments, **common)


DETECTORS = {"atss": _atss, "gfl": _gfl, "gflv2": _gflv2, "vfnet": _vfnet}


def _gfl_arguments(model):
    arguments = _arguments(model)
    name = arguments.pop("classification_loss", "quality_focal")
    if name != "quality_focal":
        loss = _choose(CLASSIFICATION_LOSSES, name, "config.model.classification_loss")
        arguments["classification_loss"] = loss()
    return arguments


def _arguments(model):
    """The remaining fields of `config.model`: arguments of the detector, by their own names."""
    return {**model, **_normalization(model)}


def _normalization(model):
    return {field: tuple(model[field]) if model.get(field) else None for field in ("mean", "std")}


def _neck(config):
    return _make(_choose(NECKS, config.pop("name"), "config.model.neck.name"), config, name="neck")


def _backbone(config, normalization):
    """The backbone of `config.model.backbone`; `normalization`: the detector's mean and std."""
    build = _choose(BACKBONES, config["name"], "config.model.backbone.name")
    if isinstance(build, type):
        compat.check_arguments(build, config["arguments"])
    backbone = build(**config["arguments"])
    if config["weights"]:
        _load_backbone_weights(backbone, build, config, normalization)
    if config["freeze_batch_norm"]:
        freeze_batch_norm(backbone)
    return backbone


def _load_backbone_weights(backbone, build, config, normalization):
    """`config["weights"]`: see `default_model`. Presets and addresses are downloaded."""
    weights = config["weights"]
    if weights.endswith(TORCH_FILES):
        logging.info("backbone: %s", mmdet.load_backbone(backbone, _local_file(weights)))
        return
    if os.path.isfile(weights):
        if weights.endswith(weight_file.SUFFIX):
            weight_file.load(weight_file.layer_variables(backbone), weights, part="backbone")
        else:
            backbone.load_weights(weights)
        return
    known, fetch = _published(build, config["arguments"], weights)
    if weights not in known and not (build is keras_models.keras_hub and os.path.isdir(weights)):
        raise ValueError(f"config.model.backbone.weights: {weights!r} is neither a file nor one of {sorted(known)}")
    with _download(weights):
        pretrained = fetch()
        expected = _expected_normalization(build, config["arguments"], weights)
    backbone.set_weights(pretrained.get_weights())
    if expected and not keras_models.same_normalization(normalization, expected):
        logging.warning(
            "config.model.mean is %s and std is %s, but the backbone weights %r were trained with %s and %s.",
            *normalization.values(), weights, expected["mean"], expected["std"],
        )  # fmt: skip


def _published(build, arguments, weights):
    """(names of the published weights, function that fetches the backbone with `weights`)"""
    if build is keras_models.keras_applications:
        return ["imagenet"], functools.partial(build, **{**arguments, "weights": weights})
    if build is keras_models.keras_hub:
        cls = keras_models.keras_hub_class(arguments["backbone"])
        return cls.presets, functools.partial(cls.from_preset, weights)
    return build.presets_with_weights, functools.partial(build.from_preset, weights)


def _expected_normalization(build, arguments, weights):
    """{"mean", "std"} that the weights were trained with, where that is known and not up to the backbone's arguments"""
    if build is keras_models.keras_applications:
        return keras_models.normalization(**arguments)
    return keras_models.keras_hub_normalization(weights) if build is keras_models.keras_hub else None


def _load_weights(model, weights, partial):
    _check_exists(weights, "config.model.weights")
    if weights.endswith(TORCH_FILES):
        logging.warning("%s", mmdet.load_mmdet(model, weights, partial=partial))
    else:
        report = weight_file.load(weight_file.named_variables(model), weights, partial)
        if partial:
            logging.warning("%s", report)


def _local_file(weights):
    """The path of a file given by path or address."""
    if not weights.startswith("https://"):
        _check_exists(weights, "config.model.backbone.weights")
        return weights
    with _download(weights):
        return keras.utils.get_file(os.path.basename(weights), weights, cache_subdir="gfl_tf")


def _check_exists(path, field):
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


def _choose(table, name, field):
    if name not in table:
        raise ValueError(f"{field}: {name!r} is not one of {sorted(table)}")
    return table[name]
