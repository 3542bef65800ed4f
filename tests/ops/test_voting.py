"""Variance voting, by hand."""

import numpy as np
import pytest
import tensorflow as tf

from gfl_tf.ops import voting

# B covers four fifths of A (IoU 0.8), C half of it (0.5); D overlaps none.
BOXES = np.float32([[0, 0, 10, 10], [0, 0, 8, 10], [0, 0, 10, 5], [20, 20, 30, 30]])
STDDEV = np.float32([[1, 1, 2, 2], [1, 1, 1, 1], [1, 1, 3, 3], [0.1, 0.1, 0.1, 0.1]])
SIGMA = 0.04
B_WEIGHT, C_WEIGHT = np.exp(-0.04 / SIGMA), np.exp(-0.25 / SIGMA) / 9  # of the right and the bottom side


def vote(index, voters, stddev=STDDEV):
    is_of_class = tf.constant([[candidate in voters for candidate in range(4)]])
    return voting.vote(BOXES[[index]], BOXES, stddev, is_of_class, SIGMA).numpy()[0]


def test_sides_by_hand():
    """A's own weight at the right and the bottom is 1 / 2^2; left and top agree. D is surest, but elsewhere."""
    total = 1 / 4 + B_WEIGHT + C_WEIGHT
    right = (10 / 4 + 8 * B_WEIGHT + 10 * C_WEIGHT) / total
    bottom = (10 / 4 + 10 * B_WEIGHT + 5 * C_WEIGHT) / total
    np.testing.assert_allclose(vote(0, [0, 1, 2, 3]), [0, 0, right, bottom], rtol=1e-6)


def test_other_classes_do_not_vote():
    bottom = (10 / 4 + 5 * C_WEIGHT) / (1 / 4 + C_WEIGHT)
    np.testing.assert_allclose(vote(0, [0, 2]), [0, 0, 10, bottom], rtol=1e-6)


def test_without_neighbours_nothing_moves():
    np.testing.assert_array_equal(vote(3, [0, 1, 2, 3]), BOXES[3])
    np.testing.assert_array_equal(vote(0, [0, 3]), BOXES[0])


def test_a_certain_edge_takes_all():
    """A standard deviation of 0, where all probability is at one bin, is a finite weight."""
    stddev = STDDEV.copy()
    stddev[1, 2] = 0.0
    np.testing.assert_allclose(vote(0, [0, 1, 2], stddev)[2], 8, rtol=1e-5)


@pytest.mark.parametrize("box", [[-1, -1, -1, -1], [3, 3, 3, 9]], ids=["padding", "without area"])
def test_what_overlaps_nothing_stays(box):
    box = np.float32([box])
    candidates = np.concatenate([BOXES, box])
    found = voting.vote(box, candidates, np.ones_like(candidates), tf.ones([1, 5], tf.bool), SIGMA)
    np.testing.assert_array_equal(found, box)
