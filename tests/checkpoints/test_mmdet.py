"""Tensors find their places by name: on a small detector value by value, on the published ones name by name."""

import functools
import types
from pathlib import Path

import keras
import keras_cv
import numpy as np
import pytest
import tensorflow as tf

from gfl_tf.backbones.resnet import ResNet
from gfl_tf.boxes.distributions import GaussianDistribution
from gfl_tf.checkpoints import load_mmdet, mmdet, places, state_dict
from gfl_tf.detectors import recipes
from gfl_tf.heads.tower_head import TowerHead
from gfl_tf.necks.fpn import FPN
from gfl_tf.scores.branch import QualityBranch
from gfl_tf.scores.joint import JointScore
from tests.checkpoints.detectors import SMALL, all_values, all_weights, small
from tests.checkpoints.shapes import (
    BINS,
    CHANNELS,
    CLASSES,
    atss_shapes,
    conv,
    detector_shapes,
    fcos_shapes,
    gfl_shapes,
    gflv2_shapes,
    random_weights,
    resnet18_shapes,
    retinanet_shapes,
)

DATA = Path(__file__).parent / "data"


def conv_gn_shapes(name, offsets=False):
    """3x3, without bias; `offsets`: deformable, v2."""
    shapes = {f"{name}.conv.weight": (CHANNELS, CHANNELS, 3, 3), f"{name}.gn.weight": (CHANNELS,)}
    shapes[f"{name}.gn.bias"] = (CHANNELS,)
    return {**shapes, **(conv(f"{name}.conv.conv_offset", 27, CHANNELS, 3) if offsets else {})}


def vfnet_shapes():
    """With deformable convolutions at the end of the towers."""
    shapes = detector_shapes() | conv_gn_shapes("bbox_head.vfnet_reg_conv")
    for name in ("cls_convs.1", "reg_convs.1"):
        shapes |= conv_gn_shapes(f"bbox_head.{name}", offsets=True)
    for name in ("vfnet_reg_refine_dconv", "vfnet_cls_dconv"):
        shapes[f"bbox_head.{name}.weight"] = (CHANNELS, CHANNELS, 3, 3)
    for name, outputs in {"vfnet_reg": 4, "vfnet_reg_refine": 4, "vfnet_cls": CLASSES}.items():
        shapes |= conv(f"bbox_head.{name}", outputs, CHANNELS, 3)
    return shapes | {f"bbox_head.scales_refine.{i}.scale": () for i in range(5)}


def vfnetx_shapes():
    shapes = {name: shape for name, shape in vfnet_shapes().items() if not name.startswith("neck.fpn_convs.")}
    for name, count in {"fpn_convs": 5, "downsample_convs": 2, "pafpn_convs": 3}.items():
        for i in range(count):
            shapes |= conv_gn_shapes(f"neck.{name}.{i}", offsets=name == "pafpn_convs")
    return shapes


def built(backbone, recipe, num_classes=CLASSES, widths=(128, 256, 512)):
    """What the import looks at of a detector, without the time that its graph takes."""
    recipe = recipe.with_layers(num_classes)
    recipe.neck.build({f"P{level}": (None, None, None, width) for level, width in enumerate(widths, start=3)})
    recipe.head.build([(None, None, None, recipe.neck.channels)] * 5)
    parts = {name: getattr(recipe, name) for name in ("neck", "head", "boxes", "score")}
    return types.SimpleNamespace(backbone=backbone, **parts)


@pytest.mark.parametrize(
    "name, shapes",
    [
        ("gfl", gfl_shapes()),
        ("gflv2", gflv2_shapes()),
        ("atss", atss_shapes()),
        ("vfnet", vfnet_shapes()),
        ("vfnetx", vfnetx_shapes()),
        ("fcos", fcos_shapes()),
        ("retinanet", retinanet_shapes()),
    ],
    ids=["gfl", "gflv2", "atss", "vfnet", "vfnetx", "fcos", "retinanet"],
)
def test_every_tensor_finds_its_place(name, shapes, resnet18, gflv2):
    model = gflv2 if name == "gflv2" else built(resnet18, SMALL[name])
    weights = random_weights(shapes, seed=len(shapes))  # other values for each: they share the backbone
    before = all_values(model)
    report = mmdet.assign(model, weights)
    constants = {key for key in weights if key.endswith(("num_batches_tracked", "project"))}
    assert set(report.loaded) == set(weights) - constants and set(report.ignored) == constants
    assert (report.fresh, report.unused) == ((), ())
    assert report.parameters == sum(value.size for value in before) == sum(map(np.size, all_values(model)))
    for variable, old in zip(all_weights(model), before):
        assert np.mean(variable.numpy() == old) < 0.01, variable.name


def test_values(gflv2):
    weights = random_weights(gflv2_shapes(), seed=1)
    mmdet.assign(gflv2, weights)
    backbone, neck, head = gflv2.backbone, gflv2.neck, gflv2.head
    kernel = backbone.get_layer("layer3_0_downsample_0").kernel.numpy()
    np.testing.assert_array_equal(kernel[0, 0], weights["backbone.layer3.0.downsample.0.weight"][:, :, 0, 0].T)
    kernel = backbone.get_layer("conv1").kernel.numpy()
    assert kernel[2, 5, 1, 33] == weights["backbone.conv1.weight"][33, 1, 2, 5]
    for leaf, variable in {
        "weight": "gamma", "bias": "beta", "running_mean": "moving_mean", "running_var": "moving_variance"
    }.items():  # fmt: skip
        value = getattr(backbone.get_layer("layer4_1_bn2"), variable).numpy()
        np.testing.assert_array_equal(value, weights[f"backbone.layer4.1.bn2.{leaf}"])
    for i, level in enumerate(("P3", "P4", "P5")):
        np.testing.assert_array_equal(neck.laterals[level].bias, weights[f"neck.lateral_convs.{i}.conv.bias"])
        np.testing.assert_array_equal(neck.outputs[level].bias, weights[f"neck.fpn_convs.{i}.conv.bias"])
    for i, level in ((3, "P6"), (4, "P7")):
        np.testing.assert_array_equal(neck.extra[level].bias, weights[f"neck.fpn_convs.{i}.conv.bias"])
    np.testing.assert_array_equal(head.class_tower[1].norm.gamma, weights["bbox_head.cls_convs.1.gn.weight"])
    np.testing.assert_array_equal(head.box_tower[0].norm.beta, weights["bbox_head.reg_convs.0.gn.bias"])
    np.testing.assert_array_equal(head.classification.bias, weights["bbox_head.gfl_cls.bias"])
    np.testing.assert_array_equal(head.box.bias, weights["bbox_head.gfl_reg.bias"])
    assert head.scales[4].scale.numpy() == weights["bbox_head.scales.4.scale"]
    np.testing.assert_array_equal(head.dgqp.hidden_layer.kernel, weights["bbox_head.reg_conf.0.weight"][:, :, 0, 0].T)
    np.testing.assert_array_equal(head.dgqp.output_layer.bias, weights["bbox_head.reg_conf.2.bias"])


def test_values_of_vfnetx(resnet18):
    weights = random_weights(vfnetx_shapes(), seed=6)
    model = built(resnet18, SMALL["vfnetx"])
    mmdet.assign(model, weights)
    neck, head = model.neck, model.head
    for name, blocks in {
        "neck.fpn_convs": (*neck.outputs.values(), *neck.extra.values()),
        "neck.downsample_convs": (neck.downsamples["P4"], neck.downsamples["P5"]),
        "neck.pafpn_convs": (neck.aggregations["P3"], neck.aggregations["P4"], neck.aggregations["P5"]),
        "bbox_head.cls_convs": head.class_tower,
        "bbox_head.reg_convs": head.box_tower,
    }.items():
        for i, block in enumerate(blocks):
            np.testing.assert_array_equal(block.norm.gamma, weights[f"{name}.{i}.gn.weight"])
            kernel = block.conv.kernel.numpy().transpose(3, 2, 0, 1)
            np.testing.assert_array_equal(kernel, weights[f"{name}.{i}.conv.weight"])
    offset_conv = head.class_tower[1].conv.offset_conv
    np.testing.assert_array_equal(offset_conv.bias, weights["bbox_head.cls_convs.1.conv.conv_offset.bias"])
    np.testing.assert_array_equal(head.box_feature.norm.beta, weights["bbox_head.vfnet_reg_conv.gn.bias"])
    for name, layer in {"vfnet_reg_refine_dconv": head.refine_star, "vfnet_cls_dconv": head.class_star}.items():
        np.testing.assert_array_equal(layer.kernel.numpy()[0, 2], weights[f"bbox_head.{name}.weight"][:, :, 0, 2].T)
    for name, layer in {"reg": head.box, "reg_refine": head.refinement, "cls": head.classification}.items():
        np.testing.assert_array_equal(layer.bias, weights[f"bbox_head.vfnet_{name}.bias"])
    assert head.scales[2].scale.numpy() == weights["bbox_head.scales.2.scale"]
    assert head.refinement_scales[3].scale.numpy() == weights["bbox_head.scales_refine.3.scale"]


def test_convolutions_are_torchs(gflv2):
    """A convolution's value at one place, summed by hand in torch's layout."""
    weights = random_weights(gflv2_shapes(), seed=2)
    mmdet.assign(gflv2, weights)
    image = np.random.default_rng(0).normal(size=[1, 9, 11, CHANNELS]).astype(np.float32)
    output = gflv2.head.classification(image).numpy()
    kernel, bias = weights["bbox_head.gfl_cls.weight"], weights["bbox_head.gfl_cls.bias"]
    by_hand = np.einsum("oiyx,yxi->o", kernel, image[0, 3:6, 6:9]) + bias
    np.testing.assert_allclose(output[0, 4, 7], by_hand, rtol=1e-4, atol=1e-4)


@pytest.fixture(scope="module")
def resnet50():
    return ResNet(50)


@pytest.mark.parametrize(
    "name, recipe",
    [
        ("gfl_r50_fpn", recipes.GFL),
        ("gfocal_r50_fpn", recipes.GFLV2),
        ("atss_r50_fpn", recipes.ATSS),
        ("vfnet_r50_fpn", recipes.VFNet),
    ],
    ids=["gfl", "gflv2", "atss", "vfnet"],
)
def test_published_names_and_shapes(name, recipe, shared, resnet50):
    reference = np.load(shared / "reference" / f"{name}.npz")
    shapes = [tuple(map(int, shape.split(","))) if shape else () for shape in reference["state/shapes"]]
    weights = {key: np.broadcast_to(np.float32(0), shape) for key, shape in zip(reference["state/names"], shapes)}
    if "bbox_head.integral.project" in weights:
        weights["bbox_head.integral.project"] = np.arange(17, dtype=np.float32)
    model = built(resnet50, recipe, num_classes=80, widths=(512, 1024, 2048))
    report = mmdet.assign(model, weights)
    assert len(report.loaded) == len(all_weights(model)) and len(report.loaded) + len(report.ignored) == len(weights)
    assert (report.fresh, report.unused) == ((), ())


def test_what_does_not_fit_is_listed_and_nothing_is_loaded(gflv2):
    weights = random_weights(gflv2_shapes(), seed=3)
    del weights["neck.fpn_convs.4.conv.bias"], weights["backbone.bn1.running_var"]
    weights["bbox_head.gfl_cls.weight"] = np.zeros([80, CHANNELS, 3, 3], np.float32)
    weights["bbox_head.gfl_reg.bias"] = np.zeros([4 * (BINS + 1)], np.int8)
    weights["bbox_head.integral.project"] = np.arange(BINS + 1, dtype=np.float32) / 2
    weights["bbox_head.extra.weight"] = np.zeros([1], np.float32)
    before = all_values(gflv2)
    with pytest.raises(ValueError) as raised:
        mmdet.assign(gflv2, weights)
    message = str(raised.value)
    for part in (
        "the file does not fit the model, and nothing was loaded: ",
        "not taken: bbox_head.gfl_cls.weight (80, 8, 3, 3) is (3, 8, 3, 3) in the model, bbox_head.gfl_reg.bias holds "
        "int8, no floating-point numbers, bbox_head.integral.project is not 0..16, as the model has it fixed; ",
        "missing in the file: backbone.bn1.running_var, neck.fpn_convs.4.conv.bias; ",
        "without a place in the model: bbox_head.extra.weight",
    ):
        assert part in message, message
    assert "\n" not in message
    for variable, value in zip(all_weights(gflv2), before):
        np.testing.assert_array_equal(variable, value)


def test_partial(gflv2):
    weights = random_weights(gflv2_shapes(), seed=4)
    for leaf, shape in (("weight", (80, CHANNELS, 3, 3)), ("bias", (80,))):
        weights[f"bbox_head.gfl_cls.{leaf}"] = np.zeros(shape, np.float32)
    del weights["bbox_head.reg_conf.2.bias"]
    weights["bbox_head.extra.weight"] = np.zeros([1], np.float32)
    fresh = [gflv2.head.classification.bias.numpy(), gflv2.head.dgqp.output_layer.bias.numpy()]
    report = mmdet.assign(gflv2, weights, partial=True)
    classes = {"bbox_head.gfl_cls.weight", "bbox_head.gfl_cls.bias"}
    assert set(report.fresh) == {*classes, "bbox_head.reg_conf.2.bias"}
    assert set(report.unused) == {*classes, "bbox_head.extra.weight"}
    assert np.all(gflv2.head.classification.bias == fresh[0])
    assert np.all(gflv2.head.dgqp.output_layer.bias == fresh[1])
    np.testing.assert_array_equal(gflv2.head.box.bias, weights["bbox_head.gfl_reg.bias"])
    with pytest.raises(ValueError, match="nothing was loaded"):
        mmdet.assign(gflv2, {"a": np.zeros([1], np.float32)}, partial=True)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float64"])
def test_other_precisions(gflv2, dtype):
    exact = random_weights(gflv2_shapes(), seed=5)
    weights = {name: value.astype(tf.as_dtype(dtype).as_numpy_dtype) for name, value in exact.items()}
    mmdet.assign(gflv2, weights)
    kernel = gflv2.head.box.kernel.numpy().transpose(3, 2, 0, 1)
    np.testing.assert_array_equal(kernel, weights["bbox_head.gfl_reg.weight"].astype(np.float32))
    eps = {"float16": 2**-11, "bfloat16": 2**-8, "float64": 2**-24}[dtype]
    np.testing.assert_allclose(kernel, exact["bbox_head.gfl_reg.weight"], rtol=eps, atol=1e-7)


def test_deformable_layers():
    backbone = ResNet(18, deformable_stages=("C5",), deformable_version=2)
    shapes = gflv2_shapes()
    for block in (0, 1):
        shapes |= conv(f"backbone.layer4.{block}.conv2.conv_offset", 27, 512, 3)
    weights = random_weights(shapes)
    model = built(backbone, SMALL["gflv2"])
    mmdet.assign(model, weights)
    layer = backbone.get_layer("layer4_1_conv2")
    kernel = layer.offset_conv.kernel.numpy().transpose(3, 2, 0, 1)
    np.testing.assert_array_equal(kernel, weights["backbone.layer4.1.conv2.conv_offset.weight"])
    np.testing.assert_array_equal(layer.offset_conv.bias, weights["backbone.layer4.1.conv2.conv_offset.bias"])
    np.testing.assert_array_equal(layer.kernel.numpy()[1, 2], weights["backbone.layer4.1.conv2.weight"][:, :, 1, 2].T)

    old_names = {name.replace(".conv_offset.", "_offset."): value for name, value in weights.items()}
    assert "backbone.layer4.1.conv2_offset.weight" in old_names
    layer.offset_conv.bias.assign(tf.zeros([27]))
    report = mmdet.assign(model, old_names)
    assert "backbone.layer4.1.conv2_offset.bias" in report.loaded and not report.fresh
    np.testing.assert_array_equal(layer.offset_conv.bias, weights["backbone.layer4.1.conv2.conv_offset.bias"])


def as_file(monkeypatch, weights):
    """Lets the readers find `weights` in every file."""
    checkpoint = state_dict.Checkpoint("file.pth", weights, (), {}, None)
    monkeypatch.setattr(state_dict, "read", lambda path, ema=None: checkpoint)


def imagenet_weights(prefix="", classifier="fc"):
    weights = {prefix + name: value for name, value in random_weights(resnet18_shapes()).items()}
    return weights | random_weights({f"{classifier}.weight": (1000, 512), f"{classifier}.bias": (1000,)})


@pytest.mark.parametrize(
    "prefix, classifier",
    [("", "fc"), ("backbone.", "head.fc"), ("module.", "module.fc"), ("module.backbone.", "module.head.fc")],
)
def test_backbone(monkeypatch, prefix, classifier, resnet18):
    weights = imagenet_weights(prefix, classifier)
    as_file(monkeypatch, weights)
    report = mmdet.load_backbone(resnet18, "file.pth")
    assert len(report.loaded) == 5 * 20 and (report.fresh, report.unused) == ((), ())
    np.testing.assert_array_equal(
        resnet18.get_layer("layer2_0_downsample_1").moving_mean, weights[f"{prefix}layer2.0.downsample.1.running_mean"]
    )


def test_backbone_with_deformable_layers(monkeypatch):
    as_file(monkeypatch, imagenet_weights())
    backbone = ResNet(18, deformable_stages=("C4", "C5"), deformable_version=1)
    report = mmdet.load_backbone(backbone, "file.pth")
    assert set(report.fresh) == {
        f"layer{stage}.{block}.conv2.conv_offset.{leaf}"
        for stage in (3, 4) for block in (0, 1) for leaf in ("weight", "bias")
    }  # fmt: skip
    assert not np.any(backbone.get_layer("layer4_1_conv2").offset_conv.kernel)


def test_backbone_of_another_depth(monkeypatch, resnet18):
    weights = imagenet_weights()
    del weights["layer4.1.bn2.bias"]
    weights["layer4.2.conv1.weight"] = np.zeros([512, 512, 3, 3], np.float32)
    as_file(monkeypatch, weights)
    with pytest.raises(
        ValueError, match="^file.pth does.* missing.*layer4.1.bn2.bias; .*place.*layer4.2.conv1.weight$"
    ):
        mmdet.load_backbone(resnet18, "file.pth")


def test_names_of_res2net():
    """Of the stem, a first block, a later one and a deformable one."""
    expected = (
        "stem.0 stem.1 stem.3 stem.4 stem.6 stem.7 layer1.0.conv1 layer1.0.bn1 layer1.0.convs.2 layer1.0.bns.2 "
        "layer1.0.conv3 layer1.0.bn3 layer1.0.downsample.1 layer1.0.downsample.2 layer3.22.convs.0 layer4.2.bns.1"
    )
    names = [name.replace(".", "_") for name in expected.split()]
    assert [mmdet._module_name(name) for name in names] == expected.split()
    assert mmdet._module_name("layer10_11_conv2") == "layer10.11.conv2"


def test_variables_without_a_counterpart(resnet18):
    class Head(TowerHead):
        def build(self, input_shape):
            super().build(input_shape)
            self.mine = self.add_weight(name="mine", shape=())

    model = built(resnet18, SMALL["gfl"].changed(head=functools.partial(Head, **SMALL["gfl"].head.keywords)))
    with pytest.raises(ValueError, match="no counterpart in PyTorch's: .*mine"):
        mmdet.assign(model, {})


UNPUBLISHED = {
    "ATSS without its branch": (small(recipes.ATSS, score=JointScore()), "TowerHead, AnchorDeltas and JointScore"),
    "GFL with a branch": (
        small(recipes.GFL, score=QualityBranch()),
        "TowerHead, GeneralDistribution and QualityBranch",
    ),
    "GFL with Gaussians": (small(recipes.GFL, boxes=GaussianDistribution()), "TowerHead, GaussianDistribution and"),
    "FCOS without its branch": (small(recipes.FCOS, score=JointScore()), "TowerHead, DiracDistances and JointScore"),
    "composed form": (
        small(recipes.GFLV2, composed_channels=4),
        "composed form .*config.model.score.composed_channels=0",
    ),
    "bins of half a stride": (small(recipes.GFL, bin_width=0.5), "config.model.boxes.bin_width=1.0"),
    "other statistics": (small(recipes.GFLV2, statistics=("topk", "variance")), "statistics topk and mean"),
    "depthwise head": (small(recipes.GFL, of_head={"depthwise": True}), "config.model.head.depthwise=False"),
    "depthwise neck": (
        small(recipes.GFL, neck=functools.partial(FPN, channels=CHANNELS, depthwise=True)),
        "config.model.neck.depthwise=False",
    ),
    "no star": (small(recipes.VFNet, of_head={"star": False}), "config.model.head.star=True .*refine=True"),
    "no refinement": (small(recipes.VFNet, of_head={"refine": False}), "config.model.head.star=True .*refine=True"),
}


@pytest.mark.parametrize("name", UNPUBLISHED)
def test_detectors_that_nobody_publishes(name, resnet18):
    recipe, message = UNPUBLISHED[name]
    with pytest.raises(ValueError, match=message):
        mmdet.assign(built(resnet18, recipe), {})


def test_layers_that_nobody_publishes():
    with pytest.raises(ValueError, match="backbone is a ResNetBackbone; .* 'reference_resnet'"):
        arguments = dict(stackwise_filters=(8,), stackwise_blocks=(1,), stackwise_strides=(1,), include_rescaling=True)
        mmdet.load_backbone(keras_cv.models.ResNetBackbone(**arguments), DATA / "flat.pth")
    with pytest.raises(ValueError, match="no published .* Dense"):
        mmdet.assign(types.SimpleNamespace(backbone=None, neck=keras.layers.Dense(1), head=None), {})
    with pytest.raises(ValueError, match="no rule for weights of a LayerNormalization"):
        places.places_of("a", keras.layers.LayerNormalization())


def test_file_that_does_not_fit_is_named(monkeypatch, gflv2):
    as_file(monkeypatch, imagenet_weights("backbone."))
    with pytest.raises(ValueError, match="file.pth does not fit the model.* take what fits: partial=True$"):
        load_mmdet(gflv2, "file.pth")
