"""Grids of points and anchors worked out by hand."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from gfl_tf.ops.grid import GridSpec

SIZES = [
    (640, 640, [(80, 80), (40, 40), (20, 20), (10, 10), (5, 5)]),
    (800, 1344, [(100, 168), (50, 84), (25, 42), (13, 21), (7, 11)]),  # 25 / 2 and 21 / 2 round up
    # 333 x 517 is padded to 352 x 544 = 11 x 17 cells of 32; 11 -> 6 -> 3 and 17 -> 9 -> 5.
    (333, 517, [(44, 68), (22, 34), (11, 17), (6, 9), (3, 5)]),
    (1, 1, [(4, 4), (2, 2), (1, 1), (1, 1), (1, 1)]),
    (32, 33, [(4, 8), (2, 4), (1, 2), (1, 1), (1, 1)]),
]


@pytest.mark.parametrize("height, width, shapes", SIZES)
def test_level_shapes(height, width, shapes):
    np.testing.assert_array_equal(GridSpec().level_shapes(tf.constant([height, width])), shapes)
    grid = GridSpec().on((height, width))
    np.testing.assert_array_equal(grid.level_shapes, shapes)
    np.testing.assert_array_equal(grid.canvas_shape, [height, width])
    np.testing.assert_array_equal(grid.level_sizes, np.prod(shapes, axis=1))
    assert grid.size == np.prod(shapes, axis=1).sum() == len(grid.places.anchors)


def test_level_shapes_of_a_batch():
    shapes = GridSpec().level_shapes(tf.constant([[32, 64], [64, 32]]))
    np.testing.assert_array_equal(shapes[:, 0], [[4, 8], [8, 4]])


@pytest.mark.parametrize("levels, cells", [((2, 3), [(8, 16), (4, 8)]), ((5, 6, 7), [(1, 2), (1, 1), (1, 1)])])
def test_other_levels(levels, cells):
    """32 x 64 pixels in cells of 4, 8, 32, 64 and 128."""
    spec = GridSpec(levels=levels)
    assert spec.strides == tuple(2**level for level in levels) == spec.on((32, 64)).strides
    np.testing.assert_array_equal(spec.level_shapes(tf.constant([32, 64])), cells)
    strides = np.repeat(spec.strides, np.prod(cells, axis=1))
    np.testing.assert_array_equal(spec.on((32, 64)).places.strides, strides)


@pytest.mark.parametrize("offset", [0.0, 0.5])
def test_points(offset):
    """A 32 x 64 image at strides 16 and 32: 2 x 4 and 1 x 2 points, row by row, at the cells' corners or centres."""
    places = GridSpec(levels=(4, 5), offset=offset).on((32, 64)).places
    corners = [[0, 0], [16, 0], [32, 0], [48, 0], [0, 16], [16, 16], [32, 16], [48, 16], [0, 0], [32, 0]]
    strides = np.array([16] * 8 + [32] * 2)
    np.testing.assert_array_equal(places.strides, strides)
    np.testing.assert_array_equal(places.points_px, corners + offset * strides[:, np.newaxis])


def test_points_of_an_odd_size():
    places = GridSpec().on((333, 517)).places
    assert places.points_px.shape == (44 * 68 + 22 * 34 + 11 * 17 + 6 * 9 + 3 * 5, 2)
    np.testing.assert_array_equal(places.points_px[67], [67 * 8, 0])  # the last of P3's first row
    np.testing.assert_array_equal(places.points_px[68], [0, 8])
    np.testing.assert_array_equal(places.points_px[-1], [4 * 128, 2 * 128])
    assert places.strides[-1] == 128


def test_one_square_anchor_stands_around_each_point():
    """The default: 8 strides wide, here around (0, 0) and (32, 0) of P5."""
    anchors = GridSpec(levels=(5,)).on((32, 64)).places.anchors
    np.testing.assert_array_equal(anchors, [[-128, -128, 128, 128], [-96, -128, 160, 128]])


def test_nine_anchors_a_point():
    """Ratios (height over width) 1/4, 1 and 4 before scales 1, 2 and 4, at stride 32.

    A side of s becomes 2s x s/2, s x s and s/2 x 2s: a scale of 1 is 64 x 16, 32 x 32 and 16 x 64 pixels.
    """
    spec = GridSpec(levels=(5,), anchor_scales=(1.0, 2.0, 4.0), anchor_ratios=(0.25, 1.0, 4.0))
    assert spec.anchors_per_point == 9
    grid = spec.on((32, 64))
    halves = [[32, 8], [64, 16], [128, 32], [16, 16], [32, 32], [64, 64], [8, 32], [16, 64], [32, 128]]
    points = np.repeat([[0, 0], [32, 0]], 9, axis=0)
    halves = np.array(halves * 2)
    np.testing.assert_array_equal(grid.places.points_px, points)
    np.testing.assert_array_equal(grid.places.anchors, np.concatenate([points - halves, points + halves], axis=1))
    np.testing.assert_array_equal(grid.level_sizes, [18])
    assert grid.size == 18


def test_anchors_keep_their_area():
    """RetinaNet's: three scales of equal ratio, each in three shapes of one area."""
    scales = tuple(4 * 2 ** (i / 3) for i in range(3))
    anchors = GridSpec(anchor_scales=scales, anchor_ratios=(0.5, 1.0, 2.0)).on((32, 32)).places.anchors.numpy()
    width, height = (anchors[:9, 2:] - anchors[:9, :2]).T
    np.testing.assert_allclose(height / width, np.repeat([0.5, 1, 2], 3), rtol=1e-6)
    np.testing.assert_allclose(np.sqrt(width * height), np.tile([32, 40.3175, 50.7968], 3), rtol=1e-5)


@pytest.mark.parametrize("offset, anchors", [(0.0, 1), (0.5, 1), (0.0, 3)])
def test_inside(offset, anchors):
    """Canvas 96 x 96. An image of 40 x 96 is padded to 64 x 96: 2 of P5's 3 rows and 1 of P6's 2.

    The image of the canvas's own size has all places, those of P6's second row and column too, whose cell centres lie
    on the edge of the canvas.
    """
    grid = GridSpec(levels=(5, 6), offset=offset, anchor_ratios=(1.0, 2.0, 4.0)[:anchors]).on(
        (96, 96), [[40, 96], [96, 96], [1, 1]]
    )
    inside = grid.inside
    p5, p6 = [1, 1, 1, 1, 1, 1, 0, 0, 0], [1, 1, 0, 0]
    expected = [p5 + p6, [1] * 13, [1] + [0] * 8 + [1] + [0] * 3]
    np.testing.assert_array_equal(inside, np.repeat(np.bool_(expected), anchors, axis=1))


def test_some_places():
    places = GridSpec(levels=(5,), offset=0.5).on((32, 64)).places.at([[1, 0], [1, 1]])
    np.testing.assert_array_equal(places.points_px[..., 0], [[48, 16], [48, 48]])
    np.testing.assert_array_equal(places.strides, [[32, 32], [32, 32]])
    assert places.anchors.shape == (2, 2, 4)


def test_in_a_graph_of_unknown_size():
    spec = GridSpec(anchor_ratios=(0.5, 2.0))

    @tf.function(input_signature=[tf.TensorSpec([2], tf.int32)])
    def places(canvas_shape):
        return spec.on(canvas_shape).places

    for canvas in ((64, 96), (333, 517)):
        tf.nest.map_structure(np.testing.assert_array_equal, places(tf.constant(canvas)), spec.on(canvas).places)


@pytest.mark.parametrize("levels", [(), (3, 5), (5, 4, 3), (1, 2, 3), (6, 7), (3, 3)])
def test_impossible_levels_are_refused(levels):
    with pytest.raises(ValueError, match="levels is .*; it must be consecutive levels that begin at 2 to 5"):
        GridSpec(levels=levels)


@pytest.mark.parametrize(
    "anchors, message",
    [
        (
            dict(anchor_scales=()),
            r"anchor_scales is \(\); it must be one or more values in a tuple, each a number above 0",
        ),
        (dict(anchor_ratios=()), r"anchor_ratios is \(\); it must be one or more"),
        (dict(anchor_scales=(4.0, -8.0)), r"anchor_scales is \(4.0, -8.0\); it must be"),
        (dict(anchor_ratios=(0.0, 1.0)), r"anchor_ratios is \(0.0, 1.0\); it must be"),
    ],
)
def test_impossible_anchors_are_refused(anchors, message):
    with pytest.raises(ValueError, match=message):
        GridSpec(**anchors)


def test_serialization():
    spec = GridSpec(levels=(2, 3), offset=0.5, anchor_scales=(4.0, 5.0), anchor_ratios=(0.5, 2.0))
    restored = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(spec))
    assert restored == spec
    assert len({spec, restored, GridSpec()}) == 2
