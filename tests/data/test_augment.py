"""Augmentations one by one: exact small cases, what the random ones draw, and real images."""

import itertools

import numpy as np
import pytest
import tensorflow as tf

from gfl_tf.data import augment, batching, pipeline
from gfl_tf.data.coco import load_coco

NO_BOXES = (tf.zeros([0, 4]), tf.zeros([0]))


def in_graph(**options):
    """Augmentation with nothing on but `options`, as the pipeline runs it."""
    return tf.function(augment.Augmentation(**{"flip": 0.0, **options}), reduce_retracing=True)


def seeds(count):
    return [tf.constant([0, number], tf.int64) for number in range(count)]


# Colours


def test_colors_hand_computed():
    image = tf.constant([[[100.0, 50.0, 0.0], [0.0, 0.0, 200.0]]])
    luma = np.array([0.299 * 100 + 0.587 * 50, 0.114 * 200])
    np.testing.assert_allclose(augment.jitter_colors(image, 1.0, 1.0, 1.0), image, atol=1e-4)
    np.testing.assert_allclose(augment.jitter_colors(image, 0.5, 1.0, 1.0), image * 0.5, atol=1e-4)
    np.testing.assert_allclose(augment.jitter_colors(image, 1.0, 0.0, 1.0), np.full([1, 2, 3], luma.mean()), atol=1e-4)
    grey = augment.jitter_colors(image, 1.0, 1.0, 0.0)
    np.testing.assert_allclose(grey, np.repeat(luma[None, :, None], 3, axis=2), atol=1e-4)
    assert np.asarray(augment.jitter_colors(image, 2.0, 1.0, 1.0)).max() == 255


# Crop


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
    cut, kept, classes = augment.crop(image, CROPPED_BOXES, tf.range(6.0), window, by_centre)
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
    window = augment.window_in(tf.constant(hw), tf.constant(share), tf.constant(offset))
    np.testing.assert_array_equal(window, expected)


def test_size_on_canvas():
    assert tuple(augment.size_on_canvas((480, 640), (1333, 800), (800, 1088)).numpy()) == (800, 1067)
    # By the scale 1333 wide, by the canvas 1088.
    assert tuple(augment.size_on_canvas((360, 640), (1333, 800), (800, 1088)).numpy()) == (612, 1088)
    assert tuple(augment.size_on_canvas((1, 900), (60, 40), (32, 64)).numpy()) == (1, 60)
    rng = np.random.default_rng(0)
    size_of = tf.function(augment.size_on_canvas)
    for hw, canvas in zip(rng.integers(1, 900, [100, 2]), 32 * rng.integers(1, 30, [100, 2])):
        free = batching.keep_ratio_sizes([hw], (640, 480))[0]
        size = np.asarray(size_of(tf.constant(hw), tf.constant([640, 480]), tf.constant(canvas)))
        assert (size <= canvas).all() and (size >= 1).all()
        if (free <= canvas).all():
            np.testing.assert_array_equal(size, free)
        else:
            assert (size == canvas).any()
            np.testing.assert_allclose(size, np.maximum(free * (canvas / free).min(), 1), atol=0.501)


def crops(count, hw, box=None, crop=(0.5, 0.75)):
    """(windows int [count, 4], boxes of each, sizes) of an image whose pixels say where they are."""
    image = np.zeros([*hw, 3], np.uint8)
    image[..., 0], image[..., 1] = np.arange(hw[0])[:, None], np.arange(hw[1])
    labels = NO_BOXES if box is None else (tf.constant([box], tf.float32), tf.zeros([1]))
    augmented = in_graph(crop=crop)
    # At twice the size the corner pixels are those of the file.
    scale = tf.constant([2 * max(hw), 2 * min(hw)])
    windows, boxes, sizes = [], [], []
    for seed in seeds(count):
        result, kept, _ = augmented(tf.constant(image), *labels, scale, scale[::-1], seed)
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
    windows, boxes, sizes = crops(60, (60, 80), box, crop=(1.0, 0.75))
    clipped = 0
    for (y, x, height, width), kept, size in zip(windows, boxes, sizes):
        expected = np.clip(box - [x, y, x, y], 0, [width, height] * 2)
        clipped += (expected != box - [x, y, x, y]).any()
        np.testing.assert_allclose(kept, [expected * np.tile(size[::-1] / [width, height], 2)], rtol=1e-5)
    assert clipped > 30
    assert (windows[:, 1] > 12).any(), "a box stays though its centre is cut off"


def test_a_crop_without_boxes_is_left_out():
    windows, boxes, _ = crops(60, (60, 80), (0, 0, 2, 2), crop=(1.0, 0.5))
    assert all(len(kept) == 1 for kept in boxes)
    whole = (windows == [0, 0, 60, 80]).all(axis=1)
    assert 20 < whole.sum() < 60
    np.testing.assert_array_less(windows[~whole, :2], 2)
    windows, _, _ = crops(20, (60, 80), crop=(1.0, 0.5))
    assert not (windows == [0, 0, 60, 80]).all(axis=1).any()


# Cutout


@pytest.mark.parametrize("count", [0, 1, 10])
def test_cut_out(count):
    rng = np.random.default_rng(count)
    image = rng.uniform(1, 255, [50, 70, 3]).astype(np.float32)
    corners = rng.integers(0, [50, 70], [count, 2])
    sizes = np.array(augment.HOLE_SIZES)[rng.integers(0, len(augment.HOLE_SIZES), count)]
    expected = image.copy()
    for (y, x), (height, width) in zip(corners, sizes):
        expected[y : y + height, x : x + width] = 0
    result = augment.cut_out(tf.constant(image), tf.constant(corners, tf.int32), tf.constant(sizes, tf.int32))
    np.testing.assert_array_equal(result, expected)


def test_cutout_draws(monkeypatch):
    drawn = []

    def record(image, corners, sizes):
        drawn.append((corners.numpy(), sizes.numpy()))
        return image

    monkeypatch.setattr(augment, "cut_out", record)
    augmentation = augment.Augmentation(cutout=0.5)
    for seed in seeds(240):
        augmentation(tf.zeros([30, 60, 3]), *NO_BOXES, (60, 30), (32, 64), seed)
    assert 96 < len(drawn) < 144
    counts = [len(corners) for corners, _ in drawn]
    assert set(counts) == set(range(5, 11)) and abs(np.mean(counts) - 7.5) < 0.5
    corners, sizes = (np.concatenate(values) for values in zip(*drawn))
    assert (corners.min(axis=0) == 0).all() and (corners.max(axis=0) == [29, 59]).all()
    np.testing.assert_allclose(corners.mean(axis=0) / [29, 59], 0.5, atol=0.05)
    found, times = np.unique(sizes, axis=0, return_counts=True)
    assert sorted(map(tuple, found)) == sorted(augment.HOLE_SIZES)
    # About 900 holes of 13 sizes: 69 +- 8 each.
    assert times.min() > 35 and times.max() < 110


# All together


@pytest.mark.parametrize("hw", [(1, 1), (1, 40), (3, 2), (90, 2)])
def test_tiny_images(hw):
    augmented = in_graph(crop=(1.0, 0.75), zoom=(0.5, 2.0), cutout=1.0, flip=0.5)
    boxes = tf.constant([[0.0, 0, hw[1], hw[0]]])
    canvas = tf.constant([96, 96])
    for seed in seeds(5):
        image, kept, classes = augmented(
            tf.fill([*hw, 3], tf.constant(9, tf.uint8)), boxes, tf.zeros([1]), tf.constant([90, 60]), canvas, seed
        )
        assert min(image.shape) >= 1 and (image.shape[:2] <= canvas.numpy()).all()
        assert len(kept) == len(classes)
        assert (kept.numpy() >= 0).all() and (kept.numpy() <= [*image.shape[1::-1]] * 2).all()


@pytest.fixture(scope="module")
def coco_mini(shared):
    folder = shared / "data" / "coco_mini"
    return load_coco(folder / "annotations" / "instances_mini.json", folder / "mini")


def batches_of(dataset, count, **options):
    options = dict(scale=(333, 200), seed=2, pad_value=(1, 2, 3), cache=True, **options)
    batches = pipeline.training_batches(dataset, 4, **options)
    return [tf.nest.map_structure(np.asarray, batch) for batch in itertools.islice(iter(batches), count)]


def test_real_images(coco_mini):
    whole = batches_of(coco_mini, 7, crop=(0.0, 0.75))
    cropped = batches_of(coco_mini, 7, crop=(1.0, 0.75))
    holed = batches_of(coco_mini, 7, crop=(1.0, 0.75), cutout=1.0)
    is_empty, lost, changed = [], 0, 0
    for (image, labels), (part, part_labels), (holes, hole_labels) in zip(whole, cropped, holed):
        assert image.shape == part.shape
        tf.nest.map_structure(np.testing.assert_array_equal, part_labels, hole_labels)
        for row in range(4):
            boxes, hw = part_labels["boxes"][row], part_labels["image_shape"][row]
            present = part_labels["classes"][row] >= 0
            assert (hw <= part.shape[1:3]).all()
            # Flips subtract in float32.
            assert (boxes[present] > -1e-3).all() and (boxes[present] < np.tile(hw[::-1], 2) + 1e-3).all()
            assert (part[row, hw[0] :] == [1, 2, 3]).all() and (part[row, :, hw[1] :] == [1, 2, 3]).all()
            content = part[row, : hw[0], : hw[1]]
            assert (content[-1] != [1, 2, 3]).any() and (content[:, -1] != [1, 2, 3]).any()
            before = labels["classes"][row] >= 0
            is_empty.append(not before.any())
            assert present.any() == before.any() and present.sum() <= before.sum()
            lost += before.sum() - present.sum()
            changed += (hw != labels["image_shape"][row]).any()
            black = (holes[row] != part[row]).any(axis=-1)
            assert (holes[row][black] == 0).all() and black.any() and not black[hw[0] :].any()
    assert any(is_empty) and lost > 0 and changed > 14
