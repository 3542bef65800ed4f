"""Assigners: each place learns at most one box, a real one; no order of the boxes and no place of theirs matters."""

import functools

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given
from hypothesis import strategies as st

from gfl_tf.assigners.atss import ATSSAssigner
from gfl_tf.assigners.fcos import FCOSAssigner
from gfl_tf.assigners.max_iou import MaxIoUAssigner
from gfl_tf.ops.grid import GridSpec
from tests.fuzz import values

pytestmark = pytest.mark.one_stack

ASSIGNERS = [ATSSAssigner(), ATSSAssigner(k=3), FCOSAssigner(), FCOSAssigner(centre_radius=1.5), MaxIoUAssigner()]
COUNT = 4
SIDE = 256
GRID = GridSpec(levels=(3, 4, 5))
LARGEST_STRIDE = 32


@functools.cache
def _assign(assigner):
    @tf.function(input_signature=[tf.TensorSpec([1, None, 4]), tf.TensorSpec([1, None], tf.int32)])
    def assign(boxes, classes):
        return assigner(boxes, classes, GRID.on((SIDE, SIDE)))

    return assign


def owners(assigner, boxes, classes=None):
    """int [P]: of each place the box that it learns, or -1."""
    classes = np.zeros(len(boxes), np.int32) if classes is None else classes
    found = _assign(assigner)(boxes[np.newaxis], classes[np.newaxis])
    place, box = (value.numpy()[found.is_positive.numpy()] for value in (found.place, found.box))
    assert len(np.unique(place)) == len(place), "a place is positive twice"
    assert found.counts.numpy()[0, place].all(), "a positive takes no part in the classification loss"
    of_place = np.full(found.counts.shape[1], -1)
    of_place[place] = box
    return of_place


@pytest.mark.parametrize("assigner", ASSIGNERS, ids=str)
@given(boxes=values.boxes(-400, 600, COUNT), classes=st.lists(st.integers(-1, 3), min_size=COUNT, max_size=COUNT))
def test_owners_are_real_boxes(assigner, boxes, classes):
    classes = np.array(classes, np.int32)
    found = owners(assigner, boxes, classes)
    assert (classes[found[found >= 0]] >= 0).all()
    real = classes >= 0
    without_padding = owners(assigner, boxes[real], classes[real]) if real.any() else np.full_like(found, -1)
    number = np.append(np.cumsum(real) - 1, -1)  # of a box among the real ones
    np.testing.assert_array_equal(number[found], without_padding)


@pytest.mark.parametrize("assigner", ASSIGNERS, ids=str)
@given(boxes=values.whole_boxes(0, SIDE, COUNT), order=values.orders(COUNT))
def test_in_any_order(assigner, boxes, order):
    """Of equal boxes another may win, but the same places are positive."""
    found, in_order = owners(assigner, boxes), owners(assigner, boxes[order])
    np.testing.assert_array_equal(in_order >= 0, found >= 0)


@pytest.mark.parametrize("assigner", ASSIGNERS, ids=str)
@given(boxes=values.whole_boxes(104, 152, COUNT), x=st.integers(-1, 1), y=st.integers(-1, 1))
def test_elsewhere(assigner, boxes, x, y):
    """Far from the edges; owners move with their boxes."""
    shift = np.float32([x, y, x, y]) * LARGEST_STRIDE
    found, moved = owners(assigner, boxes), owners(assigner, boxes + shift)
    first = 0
    for stride in GRID.strides:
        side = SIDE // stride
        of_level, of_moved = (value[first : first + side**2].reshape(side, side) for value in (found, moved))
        cells = LARGEST_STRIDE // stride
        np.testing.assert_array_equal(of_moved, np.roll(of_level, (y * cells, x * cells), axis=(0, 1)))
        first += side**2
