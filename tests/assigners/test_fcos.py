"""FCOS's assignment worked out by hand, and against a plain loop over all points."""

import numpy as np
import pytest

from gfl_tf.assigners.fcos import FCOSAssigner
from gfl_tf.ops.grid import GridSpec

# Of the examples by hand, 64 x 64 pixels: P3 has its points at 4, 12, ..., 60 on both axes, P4 at 8, 24, 40 and 56, P5
# at 16 and 48.
LEVELS = (3, 4, 5)


def assign(boxes, is_box=None, shape=(64, 64), image_shape=None, levels=LEVELS, **options):
    """{place index: box index} of one image, and which places count."""
    boxes = np.float32(boxes).reshape(1, -1, 4)
    classes = np.zeros(boxes.shape[:2], np.int32) if is_box is None else np.where([is_box], 0, -1)
    grid = GridSpec(levels=levels, offset=0.5).on(shape, [image_shape or shape])
    assignment = FCOSAssigner(**options)(boxes, classes, grid)
    place, box, positive, counts = (t.numpy()[0] for t in assignment)
    np.testing.assert_array_equal(place, np.arange(grid.size))
    return dict(zip(place[positive].tolist(), box[positive].tolist())), counts


def positives(boxes, is_box=None, levels=LEVELS, **options):
    """{(level, x, y): box index} on 64 x 64 pixels."""
    names = [
        (level, (column + 0.5) * 2**level, (row + 0.5) * 2**level)
        for level in levels
        for row in range(64 // 2**level)
        for column in range(64 // 2**level)
    ]
    return {names[place]: box for place, box in assign(boxes, is_box, levels=levels, **options)[0].items()}


def points(level, xs, ys, box=0):
    return {(level, x, y): box for x in xs for y in ys}


@pytest.mark.parametrize(
    "box, expected",
    [
        # Two strides: P3 learns up to 16 pixels, P4 16 to 32, P5 the rest. (8, 8) to (24, 24) are 24 from a side.
        ((0, 0, 32, 32), points(4, (8, 24), (8, 24))),
        # 12 and 20 are exactly 16 from the far side; 4 and 28 lie on the edge. P4's 8 and 24 are 20 from it.
        ((4, 4, 28, 28), points(3, (12, 20), (12, 20)) | points(4, (8, 24), (8, 24))),
        # 20 is 16.1 from the left side now.
        ((3.9, 4, 28, 28), points(3, (12,), (12, 20)) | points(4, (8, 24), (8, 24))),
        # 24 is exactly 16 from all sides. P3's 20 and 28 are 20 from one.
        ((8, 8, 40, 40), points(4, (24,), (24,))),
        # 15.9: too little for P4. No level learns this box.
        ((8.1, 8.1, 39.9, 39.9), {}),
        # 48 on P5, whose range has no end. P4's points are 40 or 56 from a side.
        ((0, 0, 64, 64), points(5, (16, 48), (16, 48))),
        # The furthest side decides: 42 below and above P5's points. P4's (8, 24) is 34 from the lower side.
        ((7, 0, 17, 58), points(5, (16,), (16, 48))),
        ((13, 13, 19, 19), {}),  # no point of P3 inside; P5's (16, 16) is 3 from the sides
    ],
)
def test_ranges(box, expected):
    assert positives([box], range_strides=2.0) == expected


@pytest.mark.parametrize(
    "boxes, winner", [([(0, 0, 32, 32), (0, 0, 40, 30)], 0), ([(0, 0, 40, 30), (0, 0, 32, 32)], 1)]
)
def test_the_smallest_box_wins(boxes, winner):
    """Both want P4's points at 8 and 24: areas of 1024 and 1200."""
    assert positives(boxes, range_strides=2.0) == points(4, (8, 24), (8, 24), winner)


def test_of_equal_areas_the_first_box_wins():
    """Both of 1024 pixels; (24, 8) and (24, 24) are in both. The second box has (40, 8) and (40, 24) too."""
    expected = points(4, (8, 24), (8, 24)) | points(4, (40,), (8, 24), 1)
    assert positives([(0, 0, 32, 32), (16, 0, 48, 32)], range_strides=2.0) == expected


def test_the_smallest_of_those_that_want_the_point():
    """(8, 8) lies in the smaller box too, 5 from its sides: too near for P4."""
    assert positives([(3, 3, 13, 13), (0, 0, 32, 32)], range_strides=2.0)[4, 8, 8] == 1


@pytest.mark.parametrize(
    "level, box, xs, ys",
    [
        # 1.5 strides around (32, 32): 20 to 44 on P3, whose points at 20 and 44 lie on that edge; 8 to 56 on P4.
        (3, (0, 0, 64, 64), (28, 36), (28, 36)),
        (4, (0, 0, 64, 64), (24, 40), (24, 40)),
        (5, (0, 0, 64, 64), (16, 48), (16, 48)),  # -16 to 80, clipped by the box
        (3, (27, 0, 35, 64), (28,), (28, 36)),  # centre x 31: 19 to 43, clipped to 27 to 35
        (3, (28, 0, 35, 64), (), ()),  # 28 lies on the box's edge
        (3, (0.5, 0, 64, 64), (28, 36, 44), (28, 36)),  # centre x 32.25: 20.25 to 44.25
    ],
)
def test_centre_sampling(level, box, xs, ys):
    """On one level alone, whose range is everything."""
    assert positives([box], levels=(level,), centre_radius=1.5) == points(level, xs, ys)


def test_padding_and_no_boxes():
    boxes = [(0, 0, 32, 32), (0, 0, 32, 32), (-1, -1, -1, -1)]
    assert positives(boxes, [False, True, False], range_strides=2.0) == points(4, (8, 24), (8, 24), 1)
    assert positives(boxes, [False] * 3, range_strides=2.0) == {}
    assert positives(np.zeros((0, 4)), range_strides=2.0) == {}


def test_all_places_count():
    _, counts = assign([(0, 0, 32, 32)], image_shape=(32, 32))
    assert counts.shape == (84,) and counts.all()


@pytest.mark.parametrize(
    "options, message",
    [
        (dict(range_strides=0), "range_strides is 0; it must be a number above 0"),
        (dict(centre_radius=-1), "centre_radius is -1; it must be a number of at least 0"),
    ],
)
def test_impossible_arguments_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        FCOSAssigner(**options)


# The paper's m_2 to m_7, and what they are where the pyramid has P2 to P5: {level: m_{i-1}, m_i}.
RANGES = {
    (3, 4, 5, 6, 7): [(0, 64), (64, 128), (128, 256), (256, 512), (512, np.inf)],
    (2, 3, 4, 5): [(0, 32), (32, 64), (64, 128), (128, np.inf)],
}


def assign_by_loop(boxes, shape, levels, radius):
    """Section 3.2 of the paper, point by point in float64: {place index: box index}.

    A point learns a box that holds it unless max(l, t, r, b) > m_i or < m_{i-1}; of several the one of minimal area.
    With a radius the point has to lie within so many strides of the box's centre (the paper's improved version).
    """
    owner, place = {}, 0
    for level, (low, high) in zip(levels, RANGES[levels]):
        stride = 2**level
        rows, columns = (-(-(-(-side // 32) * 32) // stride) for side in shape)
        for row in range(rows):
            for column in range(columns):
                x, y = column * stride + stride / 2, row * stride + stride / 2
                best = np.inf
                for index, (x1, y1, x2, y2) in enumerate(np.float64(boxes)):
                    left, top, right, bottom = sides = x - x1, y - y1, x2 - x, y2 - y
                    near = abs(left - right) / 2 < radius * stride and abs(top - bottom) / 2 < radius * stride
                    if min(sides) <= 0 or (radius and not near) or not low <= max(sides) <= high:
                        continue
                    if (x2 - x1) * (y2 - y1) < best:
                        best, owner[place] = (x2 - x1) * (y2 - y1), index
                place += 1
    return owner


@pytest.mark.parametrize("shape", [(256, 256), (333, 517), (32, 640), (60, 40)])
@pytest.mark.parametrize("levels, radius", [((3, 4, 5, 6, 7), 0.0), ((3, 4, 5, 6, 7), 1.5), ((2, 3, 4, 5), 1.0)])
def test_against_a_loop_over_all_points(shape, levels, radius):
    rng = np.random.default_rng(0)
    corners = rng.uniform(0, shape[::-1] * 2, (15, 4))
    boxes = np.concatenate([np.minimum(corners[:, :2], corners[:, 2:]), np.maximum(corners[:, :2], corners[:, 2:])], 1)
    boxes = boxes.astype(np.float32)
    expected = assign_by_loop(boxes, shape, levels, radius)
    assert len(set(expected.values())) > 5
    assert assign(boxes, None, shape, levels=levels, centre_radius=radius)[0] == expected
