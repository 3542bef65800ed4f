"""IoU, GIoU, DIoU and CIoU worked out by hand."""

import math

import numpy as np
import pytest
import tensorflow as tf

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


# v of eq. 9, where A's angle is arctan(4 / 2).
V_SQUARE = 4 / math.pi**2 * (math.atan(2) - math.pi / 4) ** 2
V_TURNED = 4 / math.pi**2 * (math.atan(2) - math.atan(1 / 2)) ** 2


@pytest.mark.parametrize(
    "other, diou, ciou",
    [
        (A, 1, 1),
        # Centres (2, 1) and (4, 2): 5; the hull's diagonal 6^2 + 3^2 = 45. Boxes of one shape have v = 0.
        ((2, 1, 6, 3), 2 / 14 - 5 / 45, 2 / 14 - 5 / 45),
        # Inside A, of its shape: centres 0.5 apart, the hull is A: 4^2 + 2^2 = 20.
        ((1, 0, 3, 1), 1 / 4 - 0.25 / 20, 1 / 4 - 0.25 / 20),
        # A square beside A: IoU 0, centres 3 apart, hull 6 x 2; alpha = v / (1 + v).
        ((4, 0, 6, 2), -9 / 40, -9 / 40 - V_SQUARE**2 / (1 + V_SQUARE)),
        # A turned: IoU 4 / 12, centres (2, 1) and (1, 2), hull 4 x 4; alpha = v / (2 / 3 + v).
        ((0, 0, 2, 4), 1 / 3 - 2 / 32, 1 / 3 - 2 / 32 - V_TURNED**2 / (2 / 3 + V_TURNED)),
    ],
)
def test_overlap_with_distance(other, diou, ciou):
    first, second = np.float32(A), np.float32(other)
    for one, two in ((first, second), (second, first), (first * 1000, second * 1000)):
        np.testing.assert_allclose(boxes.diou(one, two), diou, atol=1e-6)
        np.testing.assert_allclose(boxes.ciou(one, two), ciou, atol=1e-6)


def test_alpha_of_ciou_has_no_gradient():
    """The gradient is DIoU's minus alpha times v's; (0, 0, 2, h) has v = 4 / pi^2 (arctan(2) - arctan(2 / h))^2.

    At h = 4: dv / dh = 8 / pi^2 (arctan(2) - arctan(1 / 2)) * 2 / (h^2 + 4).
    """
    box = tf.constant([0.0, 0, 2, 4])
    with tf.GradientTape(persistent=True) as tape:
        tape.watch(box)
        diou, ciou = boxes.diou(np.float32(A), box), boxes.ciou(np.float32(A), box)
    slope = 8 / math.pi**2 * (math.atan(2) - math.atan(1 / 2)) * 2 / (4**2 + 4)
    expected = tape.gradient(diou, box)[3] - V_TURNED / (2 / 3 + V_TURNED) * slope
    np.testing.assert_allclose(tape.gradient(ciou, box)[3], expected, rtol=1e-5)


def test_two_points_at_one_place_overlap_nowhere():
    """0 / 0, kept finite by epsilon: IoU 0; the hull has no area either, so the others are 0 too."""
    point = np.float32([3, 3, 3, 3])
    for overlap in (boxes.iou, boxes.giou, boxes.diou, boxes.ciou):
        assert overlap(point, point) == 0


def test_broadcasts():
    first = np.float32([[0, 0, 4, 2], [0, 0, 1, 1]])  # [2, 4]
    second = np.float32([[0, 0, 4, 2], [0, 0, 2, 2], [0, 0, 1, 1]])  # [3, 4]
    expected = [[1, 4 / 8, 1 / 8], [1 / 8, 1 / 4, 1]]
    np.testing.assert_allclose(boxes.iou(first[:, None], second), expected, rtol=1e-6)


@pytest.mark.parametrize("box, area", [((0, 0, 4, 2), 8), ((1, 1, 1, 5), 0), ((4, 0, 0, 2), 0), ((4, 2, 0, 0), 0)])
def test_area(box, area):
    assert boxes.area(np.float32(box)) == area
