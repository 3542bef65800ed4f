"""The valuable localization region worked out by hand."""

import numpy as np
import pytest
import tensorflow as tf

from gfl_tf.assigners.atss import ATSSAssigner
from gfl_tf.assigners.max_iou import MaxIoUAssigner
from gfl_tf.assigners.valuable_region import valuable_region
from gfl_tf.ops.grid import GridSpec

# 32 x 32 pixels of anchors of 8 x 8, side by side. Their numbers: 0 to 3 are the upper row, 4 to 7 the one below.
GRID = GridSpec(levels=(3,), offset=0.5, anchor_scales=(1.0,)).on((32, 32))


def region(boxes, thresholds, gamma, classes=None, grid=GRID):
    boxes = tf.constant([boxes], tf.float32)
    classes = tf.zeros(boxes.shape[:2], tf.int32) if classes is None else tf.constant([classes])
    found = valuable_region(boxes, classes, tf.constant([thresholds], tf.float32), grid, gamma)
    return np.flatnonzero(found[0]).tolist()


@pytest.mark.parametrize(
    "box, threshold, gamma, expected",
    [
        # IoU 40 / 88 and 24 / 104 with anchors 0 and 1, centres 3 and 5 apart, hulls of 11 x 8 and 13 x 8:
        # DIoU 0.4545 - 9 / 185 = 0.4059 and 0.2308 - 25 / 233 = 0.1235. All others are at or below 0.
        ((3, 0, 11, 8), 0.5, 0.25, [0]),  # 0.125 to 0.5
        ((3, 0, 11, 8), 0.5, 0.2, [0, 1]),  # 0.1 to 0.5
        ((3, 0, 11, 8), 0.43, 0.25, [0, 1]),  # 0.1075 to 0.43; anchor 0 with an IoU above it
        ((3, 0, 11, 8), 0.4, 0.25, [1]),  # 0.1 to 0.4
        # IoU 1/2 and centres 4 apart, hull 16 x 8: 0.5 - 16 / 320 = 0.45, of both.
        ((0, 0, 16, 8), 0.5, 0.9, [0, 1]),  # 0.45 to 0.5
        ((0, 0, 16, 8), 0.5, 0.92, []),
        # DIoU 1; the next has IoU 0 and centres 8 apart.
        ((0, 0, 8, 8), 0.99, 0.25, []),
    ],
)
def test_by_hand(box, threshold, gamma, expected):
    assert region([box], [threshold], gamma) == expected


def test_several_boxes_padding_and_what_is_outside():
    boxes = [(3, 0, 11, 8), (0, 0, 8, 8), (19, 8, 27, 16)]
    assert region(boxes, [0.5, 0.5, 0.5], 0.25) == [0, 6]  # 0 is the second box itself, and valuable to the first
    assert region(boxes, [0.5, 0.5, 0.5], 0.25, classes=[-1, 0, 2]) == [6]
    assert region(np.zeros((0, 4)), [], 0.25) == []
    wide = GRID.spec.on((32, 64), [[32, 32]])  # the same image on a canvas whose right half is padding
    assert region([(27, 0, 35, 8)], [0.5], 0.2, grid=wide) == [3]


def test_thresholds_of_the_assigners():
    """ATSS: the mean plus the unbiased standard deviation of 16 IoUs, of which 40 / 88 and 24 / 104 are not 0."""
    boxes = tf.constant([[[3.0, 0, 11, 8], [0, 0, 8, 8]]])
    np.testing.assert_allclose(MaxIoUAssigner(positive_iou=0.6).positive_thresholds(boxes, GRID), [[0.6, 0.6]])
    ious = [40 / 88, 24 / 104, *[0] * 14], [1, *[0] * 15]
    expected = [np.mean(each) + np.std(each, ddof=1) for each in ious]
    np.testing.assert_allclose(ATSSAssigner(k=16).positive_thresholds(boxes, GRID), [expected], rtol=1e-5)
