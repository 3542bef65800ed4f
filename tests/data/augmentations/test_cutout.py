"""Black holes: where they are, and what is drawn."""

import numpy as np
import pytest
import tensorflow as tf

from gfl_tf.data.augmentations import Augmentations, cutout
from gfl_tf.data.augmentations.cutout import HOLE_SIZES, cut_out

NO_BOXES = (tf.zeros([0, 4]), tf.zeros([0]))


@pytest.mark.parametrize("count", [0, 1, 10])
def test_cut_out(count):
    rng = np.random.default_rng(count)
    image = rng.uniform(1, 255, [50, 70, 3]).astype(np.float32)
    corners = rng.integers(0, [50, 70], [count, 2])
    sizes = np.array(HOLE_SIZES)[rng.integers(0, len(HOLE_SIZES), count)]
    expected = image.copy()
    for (y, x), (height, width) in zip(corners, sizes):
        expected[y : y + height, x : x + width] = 0
    result = cut_out(tf.constant(image), tf.constant(corners, tf.int32), tf.constant(sizes, tf.int32))
    np.testing.assert_array_equal(result, expected)


def test_cutout_draws(monkeypatch):
    drawn = []

    def record(image, corners, sizes):
        drawn.append((corners.numpy(), sizes.numpy()))
        return image

    monkeypatch.setattr(cutout, "cut_out", record)
    augmentation = Augmentations([cutout.Cutout(0.5)])
    for number in range(240):
        augmentation(tf.zeros([30, 60, 3]), *NO_BOXES, (60, 30), (32, 64), tf.constant([0, number], tf.int64))
    assert 96 < len(drawn) < 144
    counts = [len(corners) for corners, _ in drawn]
    assert set(counts) == set(range(5, 11)) and abs(np.mean(counts) - 7.5) < 0.5
    corners, sizes = (np.concatenate(values) for values in zip(*drawn))
    assert (corners.min(axis=0) == 0).all() and (corners.max(axis=0) == [29, 59]).all()
    np.testing.assert_allclose(corners.mean(axis=0) / [29, 59], 0.5, atol=0.05)
    found, times = np.unique(sizes, axis=0, return_counts=True)
    assert sorted(map(tuple, found)) == sorted(HOLE_SIZES)
    # About 900 holes of 13 sizes: 69 +- 8 each.
    assert times.min() > 35 and times.max() < 110
