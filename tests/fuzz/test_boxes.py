"""Overlaps of boxes: finite with their gradients, in their range, the same in any order and at any place."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gfl_tf import losses
from gfl_tf.ops import boxes as box_ops
from tests.fuzz import values

pytestmark = pytest.mark.one_stack

OVERLAPS = {"iou": (box_ops.iou, 0), "giou": (box_ops.giou, -1), "diou": (box_ops.diou, -1), "ciou": (box_ops.ciou, -2)}
LOSSES = [losses.giou_loss, losses.diou_loss, losses.ciou_loss]


@pytest.mark.parametrize("name", OVERLAPS)
@given(one=values.boxes(), other=values.boxes(), order=values.orders())
def test_overlap(name, one, other, order):
    overlap, low = OVERLAPS[name]
    found = overlap(one, other).numpy()
    assert np.isfinite(found).all() and (found >= low - 1e-5).all() and (found <= 1 + 1e-5).all()
    np.testing.assert_allclose(overlap(other, one), found, atol=1e-5)
    np.testing.assert_array_equal(overlap(one[order], other[order]), found[order])


@pytest.mark.parametrize("name", OVERLAPS)
@given(one=values.whole_boxes(), other=values.whole_boxes(), x=st.integers(-1024, 1024), y=st.integers(-1024, 1024))
def test_overlap_elsewhere(name, one, other, x, y):
    overlap, _ = OVERLAPS[name]
    shift = np.float32([x, y, x, y])
    np.testing.assert_allclose(overlap(one + shift, other + shift), overlap(one, other), atol=1e-6)


@given(boxes=values.whole_boxes(-64, 64))
def test_a_box_overlaps_itself(boxes):
    has_area = box_ops.area(boxes).numpy() > 0
    for overlap, _ in OVERLAPS.values():
        np.testing.assert_allclose(overlap(boxes, boxes).numpy()[has_area], 1.0, atol=1e-6)


@pytest.mark.parametrize("loss", LOSSES, ids=lambda loss: loss.__name__)
@given(target=values.boxes(-1e6, 1e6), predicted=values.arrays((values.COUNT, 4), -1e6, 1e6))
def test_losses_are_finite(loss, target, predicted):
    """Of predictions that are turned inside out, too."""
    values.check_finite(loss, target, predicted)
