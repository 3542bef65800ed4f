"""Regression targets, histograms and suggestions, by hand."""

import numpy as np
import pytest

from gfl_tf.data.coco import load_coco
from gfl_tf.data.fitted_scale import fitted_scale
from gfl_tf.dataset_check import boxes as box_checks
from gfl_tf.dataset_check import histograms, suggestions, targets
from gfl_tf.dataset_check.loading import Split

pytestmark = pytest.mark.one_stack

LEVELS = (3, 4, 5, 6, 7)
NOTHING = targets.Level("P3", 8, 9, (1, 2, 3, 4), 0.0)


def split_of(*bboxes, height=128, width=160):
    content = {
        "images": [{"id": 1, "file_name": "a.png", "height": height, "width": width}],
        "annotations": [
            {"id": index, "image_id": 1, "category_id": 1, "bbox": bbox} for index, bbox in enumerate(bboxes)
        ],
        "categories": [{"id": 1, "name": "cat"}],
    }
    return Split("train", load_coco(content, None), content, [])


def measured(split, scale=(160, 128), reach=16):
    return targets.measure(split, box_checks.all_boxes(split.dataset, scale), scale, LEVELS, reach)


@pytest.mark.parametrize(("size", "scale"), [((128, 160), (160, 128)), ((256, 320), (160, 128))])
def test_one_box(size, scale):
    """The box (41, 22, 101, 74) of docs/architecture.md, here also after a resize by half.

    Its 9 positives lie on P3 at x = 64, 72, 80 and y = 40, 48, 56. Distances in strides of 8: left 2.875, 3.875, 4.875;
    right 4.625, 3.625, 2.625; top 2.25, 3.25, 4.25; bottom 4.25, 3.25, 2.25; each three times. In order the 36 are
    2.25 (6 times), 2.625 (3), 2.875 (3), 3.25 (6), 3.625 (3), 3.875 (3), 4.25 (6), 4.625 (3), 4.875 (3). So the median,
    between the 18th and the 19th, is 3.4375, and 3 of 36 lie beyond 4.7.
    """
    factor = size[0] // 128
    split = split_of([41 * factor, 22 * factor, 60 * factor, 52 * factor], height=size[0], width=size[1])
    found, findings = measured(split, scale, reach=4.7)
    assert not findings and (found.images, found.boxes, found.unassigned, found.too_small) == (1, 1, 0, 0)
    first, *others, whole = found.levels
    assert (first.name, first.stride, first.positives) == ("P3", 8, 9)
    np.testing.assert_allclose(first.percentiles, [3.4375, 4.625, 4.875, 4.875], rtol=1e-6)
    assert first.beyond == pytest.approx(3 / 36)
    assert [(level.positives, level.percentiles, level.beyond) for level in others] == [(0, (), 0.0)] * 4
    assert whole[2:] == first[2:]


def test_a_box_without_a_positive():
    """The box (35, 27, 37.5, 29.5) has the points of no level inside: all are multiples of 8."""
    found, findings = measured(split_of([35, 27, 2.5, 2.5]))
    assert (found.boxes, found.unassigned, found.too_small, found.levels[-1].positives) == (1, 1, 1, 0)
    assert [(each.kind, each.count) for each in findings] == [("unassigned_box", 1)]


def test_histograms():
    split = split_of([0, 0, 8, 8], [0, 0, 32, 8], [50, 50, 33, 33])
    boxes = box_checks.all_boxes(split.dataset, (160, 128))
    sizes, aspects, numbers, classes = (each.bars for each in histograms.of(split, boxes))
    assert sizes == [("8 to below 16", 1), ("16 to below 32", 1), ("32 to below 64", 1)]
    assert aspects == [("0.8 to below 1.25", 2), ("1.25 to below 2", 0), ("2 to below 4", 0), ("4 to below 8", 1)]
    assert numbers == [("2 to 3", 1)] and classes == [("cat", 3)]


@pytest.mark.parametrize(
    ("side", "expected"),
    [(15, "(256, 192) would make it about 22"), (16, None), (100, None), (270, "(256, 192) would make it about 101")],
)
def test_another_scale(side, expected):
    scale = (160, 128) if side < 128 else (640, 512)
    split = split_of([0, 0, side, side], height=scale[1], width=scale[0])
    lines = suggestions.of_scale(split.dataset, box_checks.all_boxes(split.dataset, scale), scale)
    assert len(lines) == bool(expected) and all(expected in line for line in lines)


def test_no_other_scale_where_it_was_chosen():
    split = split_of([0, 0, 3, 3], height=128, width=160)
    assert suggestions.of_scale(split.dataset, box_checks.all_boxes(split.dataset, (256, 192)), (256, 192))
    scale = fitted_scale(split.dataset)  # enlarged twice at most, to boxes of 6 px
    assert suggestions.of_scale(split.dataset, box_checks.all_boxes(split.dataset, scale), scale) == []


@pytest.mark.parametrize(("beyond", "bin_width", "expected"), [(0.01, 1.0, None), (0.02, 1.0, 19), (0.02, 0.5, 37)])
def test_other_bins(beyond, bin_width, expected):
    whole = targets.Level("all", 0, 99, (3.0, 7.0, 18.2, 25.0), beyond)
    lines = suggestions.of_bins(targets.Targets(1, 1, 0, 0, (whole,)), 16, bin_width)
    assert len(lines) == bool(expected) and all(f"num_bins={expected} reaches" in line for line in lines)


@pytest.mark.parametrize(
    ("positives", "expected"),
    [((9, 9, 9, 9, 9), None), ((9, 0, 9, 0, 0), "(3, 4, 5)"), ((0, 0, 9, 9, 0), "(5, 6)"), ((0, 0, 0, 9, 0), "(5, 6)")],
)
def test_other_levels(positives, expected):
    levels = [targets.Level(f"P{level}", 2**level, n, (), 0.0) for level, n in zip(LEVELS, positives)]
    lines = suggestions.of_levels(targets.Targets(1, 100, 5, 1, (*levels, NOTHING)))
    assert len(lines) == bool(expected) and all(f"levels={expected} would do" in line for line in lines)
    lines = suggestions.of_levels(targets.Targets(1, 100, 5, 2, (*levels, NOTHING)))
    assert "2 of 100 boxes" in lines[0] and "begin config.model.grid.levels at 2" in lines[0]
