"""Grids of points worked out by hand."""

import numpy as np
import pytest
import tensorflow as tf

from gfl_tf.ops import points


@pytest.mark.parametrize(
    "height, width, sizes",
    [
        (640, 640, [(80, 80), (40, 40), (20, 20), (10, 10), (5, 5)]),
        (800, 1344, [(100, 168), (50, 84), (25, 42), (13, 21), (7, 11)]),  # 25 / 2 and 21 / 2 round up
        # 333 x 517 is padded to 352 x 544 = 11 x 17 cells of 32; 11 -> 6 -> 3 and 17 -> 9 -> 5.
        (333, 517, [(44, 68), (22, 34), (11, 17), (6, 9), (3, 5)]),
        (1, 1, [(4, 4), (2, 2), (1, 1), (1, 1), (1, 1)]),
        (32, 33, [(4, 8), (2, 4), (1, 2), (1, 1), (1, 1)]),
    ],
)
def test_level_sizes(height, width, sizes):
    np.testing.assert_array_equal(points.level_sizes(tf.constant([height, width])), sizes)


def test_level_sizes_of_a_batch():
    sizes = points.level_sizes(tf.constant([[32, 64], [64, 32]]))
    np.testing.assert_array_equal(sizes[:, 0], [[4, 8], [8, 4]])


def test_grid_points():
    """A 32 x 64 image at strides 16 and 32: 2 x 4 and 1 x 2 points at the cells' corners, row by row."""
    points_px, point_strides = points.grid_points(tf.constant([32, 64]), strides=(16, 32))
    first_level = [[0, 0], [16, 0], [32, 0], [48, 0], [0, 16], [16, 16], [32, 16], [48, 16]]
    np.testing.assert_array_equal(points_px, [*first_level, [0, 0], [32, 0]])
    np.testing.assert_array_equal(point_strides, [16] * 8 + [32] * 2)


def test_grid_points_of_an_odd_size():
    points_px, point_strides = points.grid_points(tf.constant([333, 517]))
    assert points_px.shape == (44 * 68 + 22 * 34 + 11 * 17 + 6 * 9 + 3 * 5, 2)
    np.testing.assert_array_equal(points_px[67], [67 * 8, 0])  # the last of P3's first row
    np.testing.assert_array_equal(points_px[68], [0, 8])
    np.testing.assert_array_equal(points_px[-1], [4 * 128, 2 * 128])
    assert point_strides[-1] == 128
