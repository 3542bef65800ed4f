"""Rotation and shear: hand-computed boxes, pixels that move with them, and what is cut off."""

import math

import numpy as np
import pytest
import tensorflow as tf

from gfl_tf.data.augmentations import Frame, Sample, warps
from gfl_tf.data.augmentations.flips import flip_horizontal, flip_vertical
from gfl_tf.data.augmentations.warps import Rotation, Shear, warp

PAD_VALUE = (10.0, 20.0, 30.0)
FRAME = Frame((1, 1), (1, 1), PAD_VALUE)


def noise(height, width, boxes):
    image = np.random.default_rng(0).uniform(0, 255, [height, width, 3]).astype(np.float32)
    return Sample(tf.constant(image), tf.reshape(tf.constant(boxes, tf.float32), [-1, 4]), tf.range(float(len(boxes))))


def rotated(sample, degrees):
    return warp(sample, warps.rotation_matrix(tf.constant(math.radians(degrees))), PAD_VALUE)


BOXES = [[2, 1, 7, 4], [0, 0, 12, 9], [5, 6, 8, 9]]


def test_no_angle_changes_nothing():
    sample = noise(9, 12, BOXES)
    found = rotated(sample, 0)
    np.testing.assert_allclose(found.image, sample.image, atol=1e-4)
    np.testing.assert_array_equal(found.boxes, sample.boxes)
    np.testing.assert_array_equal(found.classes, sample.classes)


@pytest.mark.parametrize("degrees", [180, -180])
def test_half_a_turn_is_both_flips(degrees):
    sample = noise(9, 12, BOXES)
    found, expected = rotated(sample, degrees), flip_vertical(flip_horizontal(sample))
    np.testing.assert_allclose(found.image, expected.image, atol=0.01)
    np.testing.assert_allclose(found.boxes, expected.boxes, atol=1e-4)


@pytest.mark.parametrize("degrees, flip", [(90, flip_vertical), (-90, flip_horizontal)])
def test_a_quarter_turn_is_a_flip_and_a_transposition(degrees, flip):
    sample = noise(12, 12, [[2, 1, 7, 4], [5, 6, 8, 12]])
    found, flipped = rotated(sample, degrees), flip(sample)
    np.testing.assert_allclose(found.image, tf.transpose(flipped.image, [1, 0, 2]), atol=0.01)
    np.testing.assert_allclose(found.boxes, tf.gather(flipped.boxes, [1, 0, 3, 2], axis=1), atol=1e-4)


def test_a_quarter_turn_of_an_oblong_image_cuts_off_its_ends():
    # About (8, 4): (x, y) goes to (8 - (y - 4), 4 + (x - 8)).
    sample = noise(8, 16, [[6, 1, 10, 3], [2, 0, 6, 8], [0, 0, 4, 8], [3, 2, 5.5, 6]])
    found = rotated(sample, 90)
    # The second is 4 high and half of it inside; of the third nothing, of the fourth 1.5 of 2.5.
    np.testing.assert_allclose(found.boxes, [[9, 2, 11, 6], [4, 0, 12, 2], [6, 0, 10, 1.5]], atol=1e-4)
    np.testing.assert_array_equal(found.classes, [0, 1, 3])
    np.testing.assert_allclose(found.image[:, :4], np.broadcast_to(PAD_VALUE, [8, 4, 3]), atol=1e-4)
    np.testing.assert_allclose(found.image[:, 12:], np.broadcast_to(PAD_VALUE, [8, 4, 3]), atol=1e-4)
    expected = np.rot90(np.asarray(sample.image)[:, 4:12], -1)
    np.testing.assert_allclose(found.image[:, 4:12], expected, atol=0.01)


def test_boxes_at_45_degrees():
    half = math.sqrt(2) * 2
    found = rotated(noise(20, 20, [[8, 8, 12, 12]]), 45)
    np.testing.assert_allclose(found.boxes, [[10 - half, 10 - half, 10 + half, 10 + half]], rtol=1e-5)


@pytest.mark.parametrize(
    "horizontal, vertical, box, expected",
    [
        # About (10, 5): the top edge at y=3 moves by -2 * 0.5, the bottom one at y=9 by 4 * 0.5.
        (0.5, 0.0, [8, 3, 12, 9], [7, 3, 14, 9]),
        (-0.5, 0.0, [8, 3, 12, 9], [6, 3, 13, 9]),
        # The left edge at x=8 moves by -2 * 0.25, the right one at x=12 by 2 * 0.25.
        (0.0, 0.25, [8, 3, 12, 9], [8, 2.5, 12, 9.5]),
        (0.5, 0.25, [8, 3, 12, 9], [7, 2.5, 14, 9.5]),
        # The left edge would lie at -1 and -4.5.
        (0.5, 0.0, [0, 3, 4, 8], [0, 3, 5.5, 8]),
    ],
)
def test_sheared_boxes(horizontal, vertical, box, expected):
    sample = noise(10, 20, [box])
    shear = Shear(1.0, horizontal=abs(horizontal), vertical=vertical)
    draws = tf.constant([0.0, 0.0 if horizontal < 0 else 1.0, 1.0])
    np.testing.assert_allclose(shear(sample, draws, FRAME).boxes, [expected], rtol=1e-5)


def test_sheared_rows():
    # Whole pixels to the side: the rows' middles are 0.5, 1.5, ... from that of the image.
    sample = noise(4, 8, [])
    found = Shear(1.0, horizontal=1.0)(sample, tf.constant([0.0, 1.0, 0.5]), FRAME).image
    image = np.asarray(sample.image)
    for row, shift in enumerate([-1.5, -0.5, 0.5, 1.5]):
        low, high = (np.roll(image[row], int(step), axis=0) for step in (math.floor(shift), math.ceil(shift)))
        np.testing.assert_allclose(found[row, 2:-2], ((low + high) / 2)[2:-2], atol=0.01)


@pytest.mark.parametrize(
    "box, stays",
    [
        # The top edge moves by 4 to the left, the bottom edge stays: 1.2 of 5.2 and 1.4 of 5.4 pixels are left.
        ([0, 0, 1.2, 4], False),
        ([0, 0, 1.4, 4], True),
        ([10, 2, 14, 2.9], False),  # not a pixel high
        ([10, 0, 10.5, 4], True),  # slanted, it is more than a pixel wide
    ],
)
def test_what_is_hardly_left_is_dropped(box, stays):
    shear = Shear(1.0, horizontal=1.0)
    sample = noise(8, 20, [box])
    found = shear(sample, tf.constant([0.0, 1.0, 0.0]), FRAME)
    assert len(found.boxes) == len(found.classes) == stays


@pytest.mark.parametrize("operation", [Rotation(1.0, 40.0), Shear(1.0, 0.5, 0.3)])
def test_a_bright_rectangle_stays_inside_its_box(operation):
    draws = np.random.default_rng(1).uniform(size=[20, operation.num_draws]).astype(np.float32)
    boxes = np.array([[20.0, 12, 44, 30]], np.float32)
    image = np.zeros([50, 70, 3], np.float32)
    image[12:30, 20:44] = 255
    moved = tf.function(operation)
    found = []
    for draw in draws:
        result = moved(Sample(tf.constant(image), tf.constant(boxes), tf.zeros([1])), draw, FRAME)
        assert result.image.shape == image.shape
        ys, xs = np.nonzero(result.image[..., 0] > 127)
        box = np.asarray(result.boxes[0])
        np.testing.assert_allclose([xs.min(), ys.min(), xs.max() + 1, ys.max() + 1], box, atol=1.5)
        assert (box >= 0).all() and (box <= [70, 50, 70, 50]).all()
        found.append(box)
    assert np.ptp(found, axis=0).min() > 2


def test_angles_are_drawn_from_minus_to_plus():
    sample = noise(40, 40, [[10, 10, 20, 30]])
    for draw, degrees in [(0.0, -30), (0.25, -15), (0.5, 0), (0.999999, 30)]:
        found = Rotation(1.0, 30.0)(sample, tf.constant([0.5, draw]), FRAME)
        np.testing.assert_allclose(found.boxes, rotated(sample, degrees).boxes, atol=1e-3)
    same = Rotation(0.5, 30.0)(sample, tf.constant([0.5, 0.9]), FRAME)
    np.testing.assert_array_equal(same.boxes, sample.boxes)


def test_the_operation_that_tensorflow_addons_calls():
    image_ops = pytest.importorskip("tensorflow_addons").image
    sample = noise(30, 40, [])
    for degrees in (-20, 7, 90):
        expected = image_ops.rotate(sample.image, math.radians(degrees), interpolation="bilinear")
        # Theirs turn the other way round.
        found = warp(sample, warps.rotation_matrix(tf.constant(-math.radians(degrees))), (0, 0, 0)).image
        np.testing.assert_allclose(found, expected, atol=0.01)
