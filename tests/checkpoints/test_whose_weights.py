"""Whose weights a file has: names with something before them, several models, another one; and what no weights are."""

import numpy as np
import pytest

from gfl_tf.checkpoints import load_mmdet, mmdet
from tests.checkpoints.detectors import all_values
from tests.checkpoints.shapes import atss_shapes, gflv2_shapes, random_weights
from tests.checkpoints.torch_writer import write_content, write_state_dict


@pytest.mark.parametrize("prefix", ["model.", "module.", "_orig_mod.", "module.student."])
def test_a_prefix_is_cut_off_and_said(prefix, gflv2, tmp_path):
    weights = random_weights(gflv2_shapes(), seed=7)
    named = {prefix + name: value for name, value in weights.items()}
    path = write_state_dict(tmp_path / "a.pth", {**named, "loss.weight": np.ones(1, np.float32)})
    report = load_mmdet(gflv2, path)
    np.testing.assert_array_equal(gflv2.head.box.bias, weights["bbox_head.gfl_reg.bias"])
    assert f"cut off the file's names: '{prefix}' at the beginning\n" in str(report)
    assert "1 of the file belong to something else:\n    loss.weight" in str(report)


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
        names = "    backbone.bn1.running_var\n    bbox_head.gfl_reg.bias\n"
        assert f"2 of the file have numbers that are not finite:\n{names}Nothing was loaded" in str(raised.value)
    assert all(np.array_equal(*values) for values in zip(before, all_values(gflv2)))


def test_a_long_complaint_is_shortened(gflv2):
    weights = random_weights(atss_shapes(), seed=11)
    weights = {name: value for name, value in weights.items() if not name.startswith("backbone.layer")}
    with pytest.raises(ValueError) as raised:
        mmdet.assign(gflv2, weights)
    lines = str(raised.value).splitlines()
    assert lines[1].endswith(" missing in the file:") and len(lines) < 25
    assert lines[10] == (
        "    and 95 more: 25 of backbone.layer2, 25 of backbone.layer3, 25 of backbone.layer4, 12 of backbone.layer1, "
        "4 of bbox_head.reg_conf, 2 of bbox_head.gfl_cls, 2 of bbox_head.gfl_reg"
    )


def test_a_file_of_another_kind_of_model(gflv2):
    with pytest.raises(ValueError) as raised:
        mmdet.assign(gflv2, {f"blocks.{i}.attention.weight": np.zeros([4, 4], np.float32) for i in range(200)})
    lines = str(raised.value).splitlines()
    assert len(lines) == 1 + 2 * 10 + 1 and "    and 192 more: 1 of blocks.8" in str(raised.value)
    assert lines[-1].startswith("Not one tensor fits") and "--partial" not in lines[-1]
