"""IoU and GIoU worked out by hand."""

import numpy as np
import pytest

from gfl_tf.ops import boxes

A = (0, 0, 4, 2)  # area 8


@pytest.mark.parametrize(
    "other, iou, giou",
    [
        (A, 1, 1),
        # Intersection 2 x 1 = 2, union 8 + 8 - 2 = 14, hull 6 x 3 = 18.
        ((2, 1, 6, 3), 2 / 14, 2 / 14 - (18 - 14) / 18),
        # Inside A: intersection 2 x 1 = 2 = its own area, union 8 = hull.
        ((1, 0, 3, 1), 2 / 8, 2 / 8),
        # Side by side, touching: union 8 + 4 = 12 = hull.
        ((4, 0, 6, 2), 0, 0),
        # Apart: union 8 + 4 = 12, hull 8 x 2 = 16.
        ((6, 0, 8, 2), 0, -(16 - 12) / 16),
        # Diagonally apart: union 8 + 1 = 9, hull 10 x 5 = 50.
        ((9, 4, 10, 5), 0, -(50 - 9) / 50),
        # A line in A: no area, hull = A.
        ((1, 0, 1, 2), 0, 0),
    ],
)
def test_overlap(other, iou, giou):
    first, second = np.float32(A), np.float32(other)
    for one, two in ((first, second), (second, first)):
        np.testing.assert_allclose(boxes.iou(one, two), iou, atol=1e-7)
        np.testing.assert_allclose(boxes.giou(one, two), giou, atol=1e-7)
        np.testing.assert_allclose(boxes.giou(one * 1000, two * 1000), giou, atol=1e-7)  # no unit


def test_two_points_at_one_place_overlap_nowhere():
    """0 / 0, kept finite by epsilon: IoU 0; the hull has no area either, so GIoU is 0 too."""
    point = np.float32([3, 3, 3, 3])
    assert boxes.iou(point, point) == 0
    assert boxes.giou(point, point) == 0


def test_broadcasts():
    first = np.float32([[0, 0, 4, 2], [0, 0, 1, 1]])  # [2, 4]
    second = np.float32([[0, 0, 4, 2], [0, 0, 2, 2], [0, 0, 1, 1]])  # [3, 4]
    expected = [[1, 4 / 8, 1 / 8], [1 / 8, 1 / 4, 1]]
    np.testing.assert_allclose(boxes.iou(first[:, None], second), expected, rtol=1e-6)


@pytest.mark.parametrize("box, area", [((0, 0, 4, 2), 8), ((1, 1, 1, 5), 0), ((4, 0, 0, 2), 0), ((4, 2, 0, 0), 0)])
def test_area(box, area):
    assert boxes.area(np.float32(box)) == area
