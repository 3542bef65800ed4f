"""Whose weights a file has: names with something before them, several models, another one; and what no weights are."""

import numpy as np
import pytest

from gfl_tf.checkpoints import architectures, load_mmdet, mmdet, places
from tests.checkpoints.detectors import all_values
from tests.checkpoints.shapes import fcos_shapes, gflv2_shapes, random_weights, resnet18_shapes
from tests.checkpoints.torch_writer import write_content, write_state_dict


@pytest.mark.parametrize("prefix", ["model.", "module.", "_orig_mod.", "module.student."])
def test_a_prefix_is_cut_off_and_said(prefix, gflv2, tmp_path):
    weights = random_weights(gflv2_shapes(), seed=7)
    named = {prefix + name: value for name, value in weights.items()}
    path = write_state_dict(tmp_path / "a.pth", {**named, "loss.weight": np.ones(1, np.float32)})
    report = load_mmdet(gflv2, path)
    np.testing.assert_array_equal(gflv2.head.box.bias, weights["bbox_head.gfl_reg.bias"])
    assert f"; cut off the file's names: '{prefix}' at the beginning; " in str(report)
    assert str(report).endswith("; of something else in the file: loss.weight")


def test_teacher_and_student(gflv2, tmp_path):
    student, teacher = (random_weights(gflv2_shapes(), seed=seed) for seed in (8, 9))
    path = write_content(tmp_path / "a.pth", {"student": student, "teacher": teacher, "epoch": 3})
    before = all_values(gflv2)
    with pytest.raises(
        ValueError, match=r"a.pth: .*'student.' \(\d+\), 'teacher.' .*--prefix=student. or --prefix=teach"
    ):
        load_mmdet(gflv2, path)
    assert all(np.array_equal(*values) for values in zip(before, all_values(gflv2)))
    report = load_mmdet(gflv2, path, prefix="teacher")
    np.testing.assert_array_equal(gflv2.head.box.bias, teacher["bbox_head.gfl_reg.bias"])
    assert len(report.outside) == len(student)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_weights_that_are_not_finite(value, gflv2):
    weights = random_weights(gflv2_shapes(), seed=10)
    weights["bbox_head.gfl_reg.bias"][3] = value
    weights["backbone.bn1.running_var"] = np.full(64, 1e300)  # infinite in float32
    before = all_values(gflv2)
    for partial in (False, True):
        with pytest.raises(ValueError) as raised:
            mmdet.assign(gflv2, weights, partial)
        assert "not finite, and nothing was loaded: backbone.bn1.running_var, bbox_head.gfl_reg.bias. " in str(
            raised.value
        )
    assert all(np.array_equal(*values) for values in zip(before, all_values(gflv2)))


def test_a_long_complaint_is_shortened(gflv2):
    weights = random_weights(gflv2_shapes(), seed=11)
    weights = {name: value for name, value in weights.items() if not name.startswith("bbox_head.")}
    with pytest.raises(ValueError) as raised:
        mmdet.assign(gflv2, weights)
    assert str(raised.value) == (
        "the file does not fit the model, and nothing was loaded: missing in the file: "
        "bbox_head.cls_convs.0.conv.weight, bbox_head.cls_convs.0.gn.weight, bbox_head.cls_convs.0.gn.bias, and 22 more"
    )


def test_another_member_of_the_family_is_named(gflv2):
    """In one line: whose head the file has, and whose the config builds."""
    with pytest.raises(places.Misfit) as raised:
        mmdet.assign(gflv2, random_weights(fcos_shapes(), seed=13), source="a.pth")
    text = str(raised.value.explained(gflv2, "--partial"))
    assert text.startswith(
        "a.pth does not fit the model, and nothing was loaded: it has the head of FCOS "
        "(center-normbbox-centeronreg-giou), the config builds the head of GFLv2; missing in the file: "
    )
    assert text.endswith("Choose the config that the file was trained with, or take what fits: --partial")
    assert "\n" not in text


@pytest.mark.parametrize(
    "names, head",
    [
        (["bbox_head.conv_centerness.bias", "bbox_head.cls_convs.0.conv.weight"], "the head of FCOS"),
        (["bbox_head.cls_convs.0.conv.bias", "bbox_head.retina_cls.weight"], "the head of RetinaNet"),
        (["neck.lateral_convs.0.conv.weight"], ""),
    ],
)
def test_heads_by_names(names, head):
    assert architectures.head(names) == head


@pytest.mark.parametrize(
    "key, text", [("config", "dict(style='caffe')"), ("cfg", 'backbone=dict(\n  style = "caffe")')]
)
def test_a_backbone_of_the_other_style_is_refused(key, text, gflv2, tmp_path):
    """Its tensors have the same names and shapes."""
    content = {"state_dict": random_weights(gflv2_shapes(), seed=14), "meta": {key: text}}
    with pytest.raises(ValueError, match="a.pth has a backbone of the style 'caffe', the model one of the style 'pyto"):
        load_mmdet(gflv2, write_content(tmp_path / "a.pth", content))
    content["meta"][key] = text.replace("caffe", "pytorch")
    assert not load_mmdet(gflv2, write_content(tmp_path / "a.pth", content)).fresh


def test_files_of_gfls_first_repository(gflv2):
    """Of mmdetection 1.x: a detector with today's points would be half a cell off, unseen. Fine-tuning corrects it."""
    weights = random_weights(gflv2_shapes(), seed=15)
    weights["bbox_head.distribution_project.project"] = weights.pop("bbox_head.integral.project")
    with pytest.raises(
        ValueError, match="^a.pth is of GFL's first repository, .* middle of their cells .* partial weights$"
    ):
        mmdet.assign(gflv2, weights, source="a.pth")
    assert mmdet.assign(gflv2, weights, partial=True).fresh == ()


VIT = {f"blocks.{i}.attention.weight": np.zeros([4, 4], np.float32) for i in range(200)}
IMAGENET = random_weights({**resnet18_shapes(), "fc.weight": (1000, 512)})


@pytest.mark.parametrize("partial", [False, True])
@pytest.mark.parametrize(
    "weights, look",
    [
        (VIT, r"an unknown kind of model \('blocks.0.attention.weight', ...\)"),
        (IMAGENET, r"ResNet-18 with a classifier, as of ImageNet \("),
    ],
)
def test_weights_of_another_model_are_refused_even_in_part(weights, look, partial, gflv2):
    """Less than half of backbone and neck fits."""
    before = all_values(gflv2)
    message = rf"another model.*: 0 of the 141 tensors .* looks like {look}.*builds ResNet-18 with the head of GFLv2 \("
    with pytest.raises(places.Misfit, match=message) as raised:
        mmdet.assign(gflv2, weights, partial, source="a.pth")
    explained = str(raised.value.explained(gflv2, "--partial"))
    assert (
        explained.endswith(". For its backbone alone: --config.model.backbone.weights=a.pth") and "\n" not in explained
    )
    assert all(np.array_equal(*values) for values in zip(before, all_values(gflv2)))


def test_part_of_another_depth_is_taken(gflv2):
    """Half of backbone and neck is enough."""
    weights = random_weights(gflv2_shapes(), seed=12)
    body = [name for name in weights if not name.startswith("bbox_head.") and "num_batches" not in name]
    for name in body[: len(body) // 2]:
        del weights[name]
    assert f"{141 - len(body) // 2} of 141 tensors taken from the file; missing" in str(
        mmdet.assign(gflv2, weights, True)
    )
    del weights[body[-1]]
    with pytest.raises(places.Misfit, match="of another model"):
        mmdet.assign(gflv2, weights, True)
