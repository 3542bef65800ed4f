"""Loads checkpoints of mmdetection (2.x and 3.x) and of its forks GFocalV2 and VarifocalNet into detectors of gfl_tf.

`detector_modules` pairs the modules of the PyTorch detector with the layers of ours; `places` knows the layers. A new
neck is one function more, and one line in `NECKS`; a new head often a line in `OUTPUT_NAMES`.
"""

import dataclasses
import os
import re

import keras
import numpy as np

from gfl_tf.backbones.res2net import Res2Net
from gfl_tf.backbones.resnet import ResNet
from gfl_tf.boxes.distributions import GeneralDistribution
from gfl_tf.boxes.points import AnchorDeltas, DiracDistances
from gfl_tf.checkpoints import places, prefixes, state_dict
from gfl_tf.detectors.detector import Detector
from gfl_tf.heads.tower_head import TowerHead
from gfl_tf.heads.vfnet import VFNetHead
from gfl_tf.necks.fpn import FPN
from gfl_tf.necks.pafpnx import PAFPNX


def load_mmdet(
    model: Detector, path: str | os.PathLike, ema: bool | None = None, partial: bool = False, prefix: str | None = None
) -> places.Report:
    """Loads a published checkpoint into a detector. Nothing of the file is executed, and torch is not needed.

    ```
    model = gfl_tf.build_detector("gfl_r50_fpn_1x", load_weights=False)
    report = gfl_tf.checkpoints.load_mmdet(model, "gfl_r50_fpn_1x_coco_20200629_121244-25944287.pth")
    ```

    Args:
        model: a detector of gfl_tf with a backbone of gfl_tf.
        path: .pth file of mmdetection, 2.x or 3.x, or of the authors' forks; for other files see `state_dict.read`.
        ema: which of the weights of a training that averaged them; see `state_dict.read`.
        partial: load what fits, such as all but the last layers of a head for another number of classes.
        prefix: what the names of the detector's tensors begin with in the file, such as "teacher."; by default
            whatever stands there, if it is one.

    Returns:
        `places.Report`.

    Raises:
        ValueError: the file cannot be read, or does not fit: what is missing, left over or of another shape is listed,
            and the model is as it was. Or it holds several such detectors, and `prefix` does not say which.
        OSError: there is no such file.
    """
    try:
        return load_checkpoint(model, state_dict.read(path, ema), partial, prefix)
    except places.Misfit as error:
        raise error.explained(model, "partial=True") from error


def load_checkpoint(
    model: Detector, checkpoint: state_dict.Checkpoint, partial: bool = False, prefix: str | None = None
) -> places.Report:
    """`load_mmdet` of a file that is read already.

    Raises:
        places.Misfit: the weights do not fit.
        ValueError: as `load_mmdet`. A backbone of the file's other style too, whose tensors have the same names.
    """
    style = "caffe" if getattr(model.backbone, "stride_in_1x1", False) else "pytorch"
    if checkpoint.backbone_style not in (None, style):
        raise ValueError(
            f"{checkpoint.path} has a backbone of the style {checkpoint.backbone_style!r}, the model one of the style "
            f"{style!r}, which strides elsewhere and takes other pixels. Choose the config of that style, such as "
            "published:retinanet_r50_caffe_fpn_1x beside published:retinanet_r50_fpn_1x"
        )
    return assign(model, checkpoint.weights, partial, prefix, source=checkpoint.path)


def assign(
    model: Detector,
    weights: dict[str, np.ndarray],
    partial: bool = False,
    prefix: str | None = None,
    source: str | os.PathLike = "the file",
) -> places.Report:
    """Loads {name in mmdetection: array in torch's layout} into a detector; otherwise as `load_mmdet`.

    Args:
        source: the file, for messages.

    Raises:
        places.Misfit: the weights do not fit.
        ValueError: otherwise as `load_mmdet`. A file of GFL's first repository too, unless `partial`.
    """
    found = _all_places((model.backbone, model.neck, model.head), detector_modules(model))
    if not partial and any(name.endswith(FIRST_GFL) for name in weights):
        raise ValueError(
            f"{source} is of GFL's first repository, on mmdetection 1.x, whose points lie in the middle of their cells "
            "and whose boxes end a pixel early: import mmdetection's own file of the model, or take this one to "
            "fine-tune, with partial weights"
        )
    return _load(found, weights, prefix, source, constants=_constants(model.boxes), partial=partial)


def _load(found, weights, prefix, source, **options):
    try:
        chosen = prefixes.choose(weights, [name for place in found for name in place.names], prefix)
    except ValueError as error:
        raise ValueError(f"{source}: {error}") from error
    report = places.load(found, chosen.weights, source=source, renamed=chosen.said(), **options)
    return dataclasses.replace(report, outside=chosen.outside)


def load_backbone(backbone: ResNet | Res2Net, path: str | os.PathLike, prefix: str | None = None) -> places.Report:
    """Loads weights pretrained on ImageNet, or a detector's, into a backbone of gfl_tf.

    Files of torchvision, open-mmlab (ResNeXt, Res2Net) and mmclassification, or a whole detector's ("backbone." before
    the names; the rest of it is left). The classifier is ignored. Such files have no offset convolutions: where the
    backbone has deformable layers, these stay at zero, as in the reference, and are the report's `fresh`.

    Args:
        backbone: `ResNet` or `Res2Net`.
        path: .pth file, or another that `state_dict.read` takes.
        prefix: as of `load_mmdet`.

    Returns, raises: as `load_mmdet`.
    """
    weights = state_dict.read(path).weights
    backbones = {name: value for name, value in weights.items() if "fc" not in name.split(".")}
    found = _all_places((backbone,), _backbone(backbone))
    return _load(found, backbones, prefix, path, constants={}, may_lack=lambda name: ".conv_offset." in name)


def detector_modules(model: Detector) -> list[tuple[str, keras.layers.Layer]]:
    """[(module of the PyTorch detector, our layer)], all that have weights.

    Raises:
        ValueError: a backbone, neck or head that no published checkpoint has.
    """
    neck = type(model.neck)
    if neck not in NECKS:
        raise ValueError(f"there are no published checkpoints of a detector with {neck.__name__}")
    for part in ("neck", "head"):
        if getattr(getattr(model, part), "depthwise", False):
            raise ValueError(f"no published checkpoint is depthwise: set config.model.{part}.depthwise=False")
    parts = {"backbone": _backbone(model.backbone), "neck": NECKS[neck](model.neck), "bbox_head": _head(model)}
    return [(f"{part}.{name}", layer) for part, modules in parts.items() for name, layer in modules]


def _all_places(parts, modules):
    """The `Place`s of all variables of `parts`, layers with the given counterparts."""
    found = [place for name, layer in modules for place in places.places_of(name, layer)]
    known = {id(place.variable) for place in found}
    unknown = [variable.name for part in parts for variable in part.weights if id(variable) not in known]
    if unknown:
        raise ValueError(f"these variables of the model have no counterpart in PyTorch's: {', '.join(unknown)}")
    return found


def _backbone(backbone):
    if not isinstance(backbone, (ResNet, Res2Net)):
        raise ValueError(
            f"the backbone is a {type(backbone).__name__}; checkpoints in PyTorch's layout fit ResNet and Res2Net of "
            "gfl_tf.backbones, in a config: config.model.backbone.name = 'reference_resnet'"
        )
    return [(_module_name(layer.name), layer) for layer in backbone.layers if layer.weights]


def _module_name(layer_name):
    """layer1_0_downsample_1 -> layer1.0.downsample.1"""
    return re.sub(r"_(?=\d)|(?<=\d)_", ".", layer_name)


def _fpn(neck):
    laterals = [(f"lateral_convs.{i}.conv", layer) for i, layer in enumerate(neck.laterals.values())]
    outputs = (*neck.outputs.values(), *neck.extra.values())
    return laterals + [(f"fpn_convs.{i}.conv", layer) for i, layer in enumerate(outputs)]


def _pafpnx(neck):
    laterals = [(f"lateral_convs.{i}.conv", layer) for i, layer in enumerate(neck.laterals.values())]
    return [
        *laterals,
        *_blocks("fpn_convs", (*neck.outputs.values(), *neck.extra.values())),
        *_blocks("downsample_convs", neck.downsamples.values()),
        *_blocks("pafpn_convs", neck.aggregations.values()),
    ]


def _blocks(name, blocks):
    """Of a list of ConvGN."""
    return [pair for i, block in enumerate(blocks) for pair in _block(f"{name}.{i}", block)]


def _block(name, block):
    return [(f"{name}.conv", block.conv), *([(f"{name}.gn", block.norm)] if block.norm is not None else [])]


def _head(model):
    head, boxes = model.head, model.boxes
    if isinstance(head, VFNetHead):
        return _vfnet(head)
    names = None
    if isinstance(head, TowerHead):
        names = OUTPUT_NAMES.get((type(boxes), bool(head.quality), bool(head.scales)))
    if names is None:
        raise ValueError(
            f"there are no published checkpoints of a detector with {type(head).__name__}, {type(boxes).__name__} and "
            f"{type(model.score).__name__}"
        )
    if isinstance(boxes, GeneralDistribution) and boxes.bin_width != 1:
        raise ValueError("published checkpoints have bins of one stride: set config.model.boxes.bin_width=1.0")
    outputs = (head.classification, head.box, *([head.quality_branch] if head.quality else []))
    return [*_towers(head), *zip(names, outputs), *_dgqp(head.dgqp)]


def _towers(head):
    """What the heads have in common: two towers, and a factor for each level."""
    scales = [(f"scales.{i}", scale) for i, scale in enumerate(head.scales)]
    return _blocks("cls_convs", head.class_tower) + _blocks("reg_convs", head.box_tower) + scales


def _dgqp(dgqp):
    if dgqp is None:
        return []
    if dgqp.outputs != 1:
        raise ValueError(
            "no checkpoint of GFLv2's composed form is published: set config.model.score.composed_channels=0"
        )
    if set(dgqp.statistics) != {"topk", "mean"}:
        raise ValueError(f"published GFLv2 checkpoints have DGQP statistics topk and mean, not {dgqp.statistics}")
    return [("reg_conf.0", dgqp.hidden_layer), ("reg_conf.2", dgqp.output_layer)]


def _vfnet(head):
    if not (head.star and head.refine):
        raise ValueError(
            "published VFNet checkpoints have star-shaped features and refined boxes: set config.model.head.star=True "
            "and config.model.head.refine=True"
        )
    return [
        *_towers(head),
        *_block("vfnet_reg_conv", head.box_feature),
        ("vfnet_reg", head.box),
        ("vfnet_reg_refine_dconv", head.refine_star),
        ("vfnet_reg_refine", head.refinement),
        *((f"scales_refine.{i}", scale) for i, scale in enumerate(head.refinement_scales)),
        ("vfnet_cls_dconv", head.class_star),
        ("vfnet_cls", head.classification),
    ]


FIRST_GFL = "bbox_head.distribution_project.project"  # a tensor that no other files have
# By the class of the boxes, whether there is a quality branch, and whether levels have factors: the names of the output
# convolutions of class scores, boxes and quality.
OUTPUT_NAMES = {
    (GeneralDistribution, False, True): ("gfl_cls", "gfl_reg"),
    (AnchorDeltas, True, True): ("atss_cls", "atss_reg", "atss_centerness"),
    (AnchorDeltas, False, False): ("retina_cls", "retina_reg"),
    (DiracDistances, True, True): ("conv_cls", "conv_reg", "conv_centerness"),
}
NECKS = {FPN: _fpn, PAFPNX: _pafpnx}


def _constants(boxes):
    """What the file holds though it never changes: the values of the distribution's bins."""
    if isinstance(boxes, GeneralDistribution):
        return {"bbox_head.integral.project": np.arange(boxes.num_bins + 1, dtype=np.float32)}
    return {}
