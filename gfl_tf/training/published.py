"""What the configs of the published models share: COCO 2017, the reference's backbones, and its schedules."""

import collections.abc
import typing

import ml_collections

from gfl_tf.backbones.blocks import DETECTRON_MEAN, DETECTRON_STD, IMAGENET_MEAN, IMAGENET_STD
from gfl_tf.build import default_model
from gfl_tf.training.config import default_data, default_train

_RES2NET = dict(depth=101, scales=4, base_width=26)
_DETECTRON = dict(groups=1, base_width=64, stride_in_1x1=True, bgr=True)
_TORCHVISION = "https://download.pytorch.org/models/"
_OPENMMLAB = "https://download.openmmlab.com/pretrain/third_party/"


class Backbone(typing.NamedTuple):
    """A backbone as the reference starts from it.

    Attributes:
        name: one of `gfl_tf.build.BACKBONES`.
        arguments: of its class.
        weights: address of its ImageNet weights.
        mean, std: of the pixels that they were trained with, RGB.
        freeze_batch_norm: scale and shift of batch normalization are not trained either.
    """

    name: str
    arguments: dict
    weights: str
    mean: tuple = IMAGENET_MEAN
    std: tuple = IMAGENET_STD
    freeze_batch_norm: bool = False


def _resnet(depth, file, groups=1, base_width=64):
    return Backbone("reference_resnet", dict(depth=depth, groups=groups, base_width=base_width), file)


def _caffe(depth, file, mean):
    """ResNets of He et al. as Caffe had them: BGR, strides in the first 1x1 convolution of a block."""
    arguments = {**_DETECTRON, "depth": depth}
    return Backbone("reference_resnet", arguments, _OPENMMLAB + file, mean, DETECTRON_STD, freeze_batch_norm=True)


BACKBONES = {
    "resnet18": _resnet(18, _TORCHVISION + "resnet18-f37072fd.pth"),
    "resnet34": _resnet(34, _TORCHVISION + "resnet34-b627a593.pth"),
    "resnet50": _resnet(50, _TORCHVISION + "resnet50-19c8e357.pth"),
    "resnet101": _resnet(101, _TORCHVISION + "resnet101-5d3b4d8f.pth"),
    # Of Detectron, and the same of Detectron 2 with another mean.
    "resnet50_caffe": _caffe(50, "resnet50_caffe-788b5fa3.pth", DETECTRON_MEAN),
    "resnet101_caffe": _caffe(101, "resnet101_caffe-3ad79236.pth", DETECTRON_MEAN),
    "resnet50_msra": _caffe(50, "resnet50_msra-5891d200.pth", IMAGENET_MEAN),
    "resnet101_msra": _caffe(101, "resnet101_msra-6cc46731.pth", IMAGENET_MEAN),
    "resnext101_32x4d": _resnet(101, _OPENMMLAB + "resnext101_32x4d-a5af3160.pth", 32, 4),
    "resnext101_64x4d": _resnet(101, _OPENMMLAB + "resnext101_64x4d-ee2c6f71.pth", 64, 4),
    # Detectron 2's, whose channels are blue, green, red.
    "resnext101_32x8d": Backbone(
        "reference_resnet",
        dict(depth=101, groups=32, base_width=8, bgr=True),
        _OPENMMLAB + "resnext101_32x8d-1516f1aa.pth",
    ),
    "res2net101_v1d_26w_4s": Backbone(
        "reference_res2net", _RES2NET, _OPENMMLAB + "res2net101_v1d_26w_4s_mmdetv2-f0a600f9.pth"
    ),
}


# Epochs (the reference's "1x", "2x" and "3x", and VFNet-X's), and where the learning rate falls.
MILESTONES = {12: (8, 11), 24: (16, 22), 36: (27, 33), 41: (36, 40)}

# The training of FCOS's authors, which those of GFL, ATSS and VarifocalNet took over: biases learn twice as fast and do
# not decay.
FAST_BIASES = dict(bias_learning_rate_factor=2.0, decay_bias=False)

# What single detectors have in their own way.
OWN = {
    "vfnet": dict(deformable_version=2, deformable_head=True, train=dict(warmup_factor=0.1, **FAST_BIASES)),
    "atss": dict(deformable_version=2, deformable_head=True),
    "fcos": dict(deformable_version=2, deformable_head=True),
}


def published_config(
    name: str,
    detector: str,
    backbone: str,
    epochs: int = 12,
    short_side_range: tuple[int, ...] = (),
    deformable_stages: tuple[str, ...] = (),
    **changes: collections.abc.Mapping[str, typing.Any],
) -> ml_collections.ConfigDict:
    """The config of a published model.

    Args:
        name: the config's.
        detector: one of `gfl_tf.build.RECIPES`.
        backbone: one of `BACKBONES`.
        epochs: one of `MILESTONES`.
        short_side_range: of multi-scale training.
        deformable_stages: stages of the backbone with deformable convolutions, such as ("C4", "C5"); where the
            detector has them in its head too, at the end of the towers.
        **changes: of single fields: `model`, `data` and `train`, dicts of them.
    """
    config = _on_coco(name, detector, epochs, short_side_range)
    model, source = config.model, BACKBONES[backbone]
    own = OWN.get(detector, {})
    arguments = dict(source.arguments, frozen_stages=1, norm_eval=True)
    arguments.update(deformable_stages=deformable_stages, deformable_version=own.get("deformable_version", 1))
    model.backbone = dict(
        name=source.name,
        arguments=arguments,
        weights=source.weights,
        freeze_batch_norm=source.freeze_batch_norm,
    )
    model.mean, model.std = source.mean, source.std
    model.head.deformable = bool(deformable_stages) and own.get("deformable_head", False)

    config.train.update(own.get("train", {}))
    config.update(changes)
    return config


def kerascv_config(
    name: str,
    detector: str,
    weights: str = "resnet50_imagenet",
    epochs: int = 12,
    short_side_range: tuple[int, ...] = (),
    **changes: collections.abc.Mapping[str, typing.Any],
) -> ml_collections.ConfigDict:
    """The config of a published model on KerasCV's ResNet in place of the reference's.

    Args:
        weights: KerasCV's preset, whose batch normalization is frozen; "": random ones.
        name, detector, epochs, short_side_range, **changes: as of `published_config`.
    """
    config = _on_coco(name, detector, epochs, short_side_range)
    config.model.backbone.update(weights=weights, freeze_batch_norm=bool(weights))
    config.update(changes)
    return config


def _on_coco(name, detector, epochs, short_side_range):
    """The detector in its default form, with the data and the training that the published models share."""
    config = ml_collections.ConfigDict()
    config.name = name
    config.seed = 0
    config.precision = "float32"

    config.model = default_model(detector)

    config.data = data = default_data()
    data.scale = (1333, 800)
    data.short_side_range = short_side_range
    data.keep_empty = False

    config.train = train = default_train()
    train.batch_size = 16
    train.learning_rate = 0.01
    train.epochs = epochs
    train.milestones = MILESTONES[epochs]
    return config
