"""What the configs of the published models share: COCO 2017, the reference's backbones, and its schedules."""

import ml_collections

from gfl_tf.backbones.blocks import IMAGENET_MEAN, IMAGENET_STD
from gfl_tf.build import default_model
from gfl_tf.training.config import default_data, default_train

_RESNET = dict(depth=50, groups=1, base_width=64)
_RES2NET = dict(depth=101, scales=4, base_width=26)
_COMMON = dict(frozen_stages=1, norm_eval=True)
_TORCHVISION = "https://download.pytorch.org/models/"
_OPENMMLAB = "https://download.openmmlab.com/pretrain/third_party/"
# The backbones, each with the ImageNet weights that the reference starts from.
BACKBONES = {
    "resnet50": ("reference_resnet", _RESNET, _TORCHVISION + "resnet50-19c8e357.pth"),
    "resnet101": ("reference_resnet", {**_RESNET, "depth": 101}, _TORCHVISION + "resnet101-5d3b4d8f.pth"),
    "resnext101_32x4d": (
        "reference_resnet",
        dict(depth=101, groups=32, base_width=4),
        _OPENMMLAB + "resnext101_32x4d-a5af3160.pth",
    ),
    "resnext101_64x4d": (
        "reference_resnet",
        dict(depth=101, groups=64, base_width=4),
        _OPENMMLAB + "resnext101_64x4d-ee2c6f71.pth",
    ),
    "res2net101_v1d_26w_4s": (
        "reference_res2net",
        _RES2NET,
        _OPENMMLAB + "res2net101_v1d_26w_4s_mmdetv2-f0a600f9.pth",
    ),
}


# Epochs (the reference's "1x" and "2x", and VFNet-X's), and where the learning rate falls.
MILESTONES = {12: (8, 11), 24: (16, 22), 41: (36, 40)}


# What single detectors have in their own way.
OWN = {
    "vfnet": dict(
        deformable_version=2,
        train=dict(warmup_factor=0.1, bias_learning_rate_factor=2.0, decay_bias=False),
    ),
}


def published_config(name, detector, backbone, epochs=12, short_side_range=(), deformable_stages=()):
    """The config of a published model.

    Args:
        name: the config's.
        detector: one of `gfl_tf.build.RECIPES`.
        backbone: one of `BACKBONES`.
        epochs: one of `MILESTONES`.
        short_side_range: of multi-scale training.
        deformable_stages: stages of the backbone with deformable convolutions, such as ("C4", "C5"); where the head can
            have them too, at the end of its towers.
    """
    config = ml_collections.ConfigDict()
    config.name = name
    config.seed = 0
    config.precision = "float32"

    config.model = model = default_model(detector)
    backbone_name, arguments, weights = BACKBONES[backbone]
    own = OWN.get(detector, {})
    deformable = dict(deformable_stages=deformable_stages, deformable_version=own.get("deformable_version", 1))
    arguments = {**arguments, **_COMMON, **deformable}
    model.backbone = dict(name=backbone_name, arguments=arguments, weights=weights, freeze_batch_norm=False)
    model.mean, model.std = IMAGENET_MEAN, IMAGENET_STD

    config.data = data = default_data()
    data.scale = (1333, 800)
    data.short_side_range = short_side_range
    data.keep_empty = False

    config.train = train = default_train()
    train.batch_size = 16
    train.learning_rate = 0.01
    train.epochs = epochs
    train.milestones = MILESTONES[epochs]
    train.update(own.get("train", {}))
    if "deformable" in model.head:
        model.head.deformable = bool(deformable_stages)
    return config
