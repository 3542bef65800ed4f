"""Windows, what they do to boxes, and what the crop draws."""

import numpy as np
import pytest
import tensorflow as tf

from gfl_tf.data import batching
from gfl_tf.data.augmentations import Augmentations, Sample
from gfl_tf.data.augmentations.crop import Crop, crop, window_in
from gfl_tf.data.augmentations.resizing import size_on_canvas

NO_BOXES = (tf.zeros([0, 4]), tf.zeros([0]))

CROPPED_BOXES = tf.constant(
    [
        [5.0, 2, 9, 6],  # inside
        [2.0, 2, 7, 6],  # centre x 4.5 inside, clipped
        [0.0, 2, 7, 6],  # centre x 3.5 outside
        [4.0, 2.9, 4.5, 9],  # half a pixel wide
        [0.0, 2, 4.5, 6],  # half a pixel left
        [12.0, 2, 15, 6],  # outside, touches
    ]
)


@pytest.mark.parametrize(
    "by_centre, expected, numbers",
    [
        (True, [[1, 0, 5, 4], [0, 0, 3, 4]], [0, 1]),
        (False, [[1, 0, 5, 4], [0, 0, 3, 4], [0, 0, 3, 4]], [0, 1, 2]),
    ],
)
def test_crop(by_centre, expected, numbers):
    image = tf.reshape(tf.range(10 * 20 * 3), [10, 20, 3])
    window = tf.constant([2, 4, 6, 8])
    cut, kept, classes = crop(Sample(image, CROPPED_BOXES, tf.range(6.0)), window, by_centre)
    np.testing.assert_array_equal(cut, image[2:8, 4:12])
    np.testing.assert_allclose(kept, expected)
    np.testing.assert_array_equal(classes, numbers)


@pytest.mark.parametrize(
    "hw, share, offset, expected",
    [
        ((10, 20), (0.75, 1.0), (0.0, 0.5), (0, 0, 8, 20)),
        ((10, 20), (0.75, 0.5), (0.99, 0.5), (2, 5, 8, 10)),
        ((10, 20), 0.5, (0.5, 0.99), (3, 10, 5, 10)),
        ((1, 2), 0.1, (0.9, 0.9), (0, 1, 1, 1)),
    ],
)
def test_window(hw, share, offset, expected):
    window = window_in(tf.constant(hw), tf.constant(share), tf.constant(offset))
    np.testing.assert_array_equal(window, expected)


def test_size_on_canvas():
    assert tuple(size_on_canvas((480, 640), (1333, 800), (800, 1088)).numpy()) == (800, 1067)
    # By the scale 1333 wide, by the canvas 1088.
    assert tuple(size_on_canvas((360, 640), (1333, 800), (800, 1088)).numpy()) == (612, 1088)
    assert tuple(size_on_canvas((1, 900), (60, 40), (32, 64)).numpy()) == (1, 60)
    rng = np.random.default_rng(0)
    size_of = tf.function(size_on_canvas)
    for hw, canvas in zip(rng.integers(1, 900, [100, 2]), 32 * rng.integers(1, 30, [100, 2])):
        free = batching.keep_ratio_sizes([hw], (640, 480))[0]
        size = np.asarray(size_of(tf.constant(hw), tf.constant([640, 480]), tf.constant(canvas)))
        assert (size <= canvas).all() and (size >= 1).all()
        if (free <= canvas).all():
            np.testing.assert_array_equal(size, free)
        else:
            assert (size == canvas).any()
            np.testing.assert_allclose(size, np.maximum(free * (canvas / free).min(), 1), atol=0.501)


def crops(count, hw, box=None, probability=0.5, smallest=0.75):
    """(windows int [count, 4], boxes of each, sizes) of an image whose pixels say where they are."""
    image = np.zeros([*hw, 3], np.uint8)
    image[..., 0], image[..., 1] = np.arange(hw[0])[:, None], np.arange(hw[1])
    labels = NO_BOXES if box is None else (tf.constant([box], tf.float32), tf.zeros([1]))
    augmented = tf.function(Augmentations([Crop(probability, smallest)]), reduce_retracing=True)
    # At twice the size the corner pixels are those of the file.
    scale = tf.constant([2 * max(hw), 2 * min(hw)])
    windows, boxes, sizes = [], [], []
    for number in range(count):
        result, kept, _ = augmented(tf.constant(image), *labels, scale, scale[::-1], tf.constant([0, number], tf.int64))
        (y, x), (bottom, right) = result[0, 0, :2], result[-1, -1, :2]
        windows.append([y, x, bottom - y + 1, right - x + 1])
        boxes.append(np.asarray(kept))
        sizes.append(result.shape[:2])
    return np.asarray(windows, int), boxes, np.asarray(sizes)


def test_random_crop_draws():
    windows, _, _ = crops(300, (60, 80))
    whole = (windows == [0, 0, 60, 80]).all(axis=1)
    assert 0.4 < whole.mean() < 0.6
    start, size = windows[~whole, :2], windows[~whole, 2:]
    share = size / [60, 80]
    assert share.min() >= 0.75 and share.max() > 0.98 and share.min() < 0.77
    np.testing.assert_allclose(share.mean(axis=0), 0.875, atol=0.02)
    assert abs(np.corrcoef(share.T)[0, 1]) < 0.2
    margin = [60, 80] - size
    assert (start >= 0).all() and (start <= margin).all()
    for axis in (0, 1):
        relative = (start / np.maximum(margin, 1))[margin[:, axis] > 4, axis]
        assert abs(relative.mean() - 0.5) < 0.1 and relative.min() == 0 and relative.max() == 1


def test_boxes_follow_the_crop():
    box = np.array([0, 0, 24, 20])
    windows, boxes, sizes = crops(60, (60, 80), box, probability=1.0)
    clipped = 0
    for (y, x, height, width), kept, size in zip(windows, boxes, sizes):
        expected = np.clip(box - [x, y, x, y], 0, [width, height] * 2)
        clipped += (expected != box - [x, y, x, y]).any()
        np.testing.assert_allclose(kept, [expected * np.tile(size[::-1] / [width, height], 2)], rtol=1e-5)
    assert clipped > 30
    assert (windows[:, 1] > 12).any(), "a box stays though its centre is cut off"


def test_a_crop_without_boxes_is_left_out():
    windows, boxes, _ = crops(60, (60, 80), (0, 0, 2, 2), probability=1.0, smallest=0.5)
    assert all(len(kept) == 1 for kept in boxes)
    whole = (windows == [0, 0, 60, 80]).all(axis=1)
    assert 20 < whole.sum() < 60
    np.testing.assert_array_less(windows[~whole, :2], 2)
    windows, _, _ = crops(20, (60, 80), probability=1.0, smallest=0.5)
    assert not (windows == [0, 0, 60, 80]).all(axis=1).any()
