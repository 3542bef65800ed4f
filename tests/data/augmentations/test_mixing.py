"""Mosaic, mixup and copy-paste: boxes lie on their objects, which images are read, and until when."""

import itertools

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from gfl_tf.data import pipeline
from gfl_tf.data.augmentations import Augmentations, Frame, Sample
from gfl_tf.data.augmentations.copy_paste import MOST, PLACES, CopyPaste, covered_share, cut, paste, windows_around
from gfl_tf.data.augmentations.flips import Flip
from gfl_tf.data.augmentations.mixup import Mixup
from gfl_tf.data.augmentations.mosaic import Mosaic
from gfl_tf.data.augmentations.resizing import Zoom
from gfl_tf.data.coco import load_coco

pytestmark = pytest.mark.one_stack

# Of each class; grey ones so that they are in grey files, too.
COLORS = np.array([80, 120, 160, 200, 240])
MIXERS = {"mosaic": Mosaic(1.0), "mixup": Mixup(1.0), "copy_paste": CopyPaste(1.0)}
SIZES = [(60, 80), (80, 60), (45, 60), (120, 90), (60, 80), (70, 70)]


def painted(folder, sizes=SIZES, num_boxes=None):
    """A data set of rectangles on black, 14 x 12 and apart, whose class is their colour; some files are grey."""
    rng = np.random.default_rng(0)
    entries, annotations = [], []
    for index, (height, width) in enumerate(sizes):
        pixels = np.zeros([height, width], np.uint8)
        cells = list(itertools.product(range(4, height - 14, 22), range(4, width - 16, 24)))
        rng.shuffle(cells)
        # The second one is empty.
        for y, x in cells[: num_boxes or (0 if index == 1 else 3)]:
            label = int(rng.integers(len(COLORS)))
            pixels[y : y + 12, x : x + 14] = COLORS[label]
            annotations.append(
                {"id": len(annotations), "image_id": index, "category_id": label, "bbox": [int(x), int(y), 14, 12]}
            )
        image = Image.fromarray(pixels)
        (image if index % 2 else image.convert("RGB")).save(folder / f"{index}.png")
        entries.append({"id": index, "file_name": f"{index}.png", "height": height, "width": width})
    categories = [{"id": label, "name": str(label)} for label in range(len(COLORS))]
    return load_coco({"images": entries, "annotations": annotations, "categories": categories}, folder)


def batches_of(dataset, count, augmentations, **options):
    options = dict(scale=(160, 120), seed=1, augmentations=augmentations) | options
    batches = pipeline.training_batches(dataset, 4, **options)
    return [tf.nest.map_structure(np.asarray, batch) for batch in itertools.islice(iter(batches), count)]


def assert_same(batches, others):
    assert len(batches) == len(others)
    for batch, other in zip(batches, others):
        tf.nest.map_structure(np.testing.assert_array_equal, batch, other)


def differ(batch, other):
    return batch[0].shape != other[0].shape or np.abs(batch[0] - other[0]).max() > 1


def frame_of(hw, others=(), canvas=None):
    """A frame in which images of this size stay as they are."""
    return Frame((max(hw), min(hw)), canvas or hw, (5.0, 6.0, 7.0), others)


def noise(hw, boxes, number=0):
    image = np.random.default_rng(number).integers(0, 256, [*hw, 3], np.uint8)
    return Sample(tf.constant(image), tf.constant(boxes, tf.float32, [len(boxes), 4]), tf.range(float(len(boxes))))


def as_resized(sample):
    return sample._replace(image=tf.cast(sample.image, tf.float32))


# Boxes


@pytest.mark.parametrize("name, cache", [("mosaic", False), ("mixup", True), ("copy_paste", True)])
def test_boxes_lie_on_their_objects(tmp_path, name, cache):
    counts, ends = [], []
    for pictures, labels in batches_of(painted(tmp_path), 8, [MIXERS[name], Flip()], cache=cache):
        assert labels["boxes"].shape == (4, 16, 4) and labels["classes"].shape == (4, 16)
        for image, boxes, classes, hw in zip(pictures, labels["boxes"], labels["classes"], labels["image_shape"]):
            present = classes >= 0
            counts.append(present.sum())
            assert (boxes[present] > -1e-3).all() and (boxes[present] < np.tile(hw[::-1], 2) + 1e-3).all()
            assert (image[hw[0] :] == 0).all() and (image[:, hw[1] :] == 0).all()
            for box, color in zip(boxes[present], COLORS[classes[present].astype(int)]):
                # Bilinear pixels next to an edge are neither.
                x1, y1, x2, y2 = np.round(box).astype(int) + [2, 2, -2, -2]
                inside = image[y1:y2, x1:x2]
                if name == "mixup":  # something else may shine through
                    assert (inside >= 0.4 * color - 1).all()
                    continue
                is_color = np.abs(inside - color) <= 1
                # A pasted object may cover less than a half.
                assert is_color.all() if name == "mosaic" else inside.size == 0 or is_color.mean() > 0.4
                beside = [image[y1:y2, x : x + 1] for x in (x1 - 5, x2 + 4) if 0 <= x < hw[1]]
                beside += [image[y : y + 1, x1:x2] for y in (y1 - 5, y2 + 4) if 0 <= y < hw[0]]
                ends.extend((np.abs(part - color) > 1).mean() > 0.5 for part in beside if part.size)
    # More than the 3 of one image.
    assert max(counts) > 3
    # Beside an object there may be another of its class, across the border of a quarter or of what is pasted.
    assert name == "mixup" or (len(ends) > 100 and np.mean(ends) > 0.9)


@pytest.mark.parametrize("draw", [0.0, 0.5, 0.99])
def test_mosaic_is_made_of_four_windows_at_their_scale(draw):
    """With factor 1 every pixel is that of a file, and quarters meet where the draws say."""
    samples = [noise((40, 60), [[0, 0, 60, 40], [10, 8, 14, 12]], number) for number in range(4)]
    others = tuple(lambda sample=sample: sample for sample in samples[1:])
    draws = tf.concat([[0.0, draw, draw], tf.fill([12], draw)], axis=0)
    found = Mosaic(1.0, (1.0, 1.0))(samples[0], draws, frame_of((40, 60), others))
    y, x = int(40 * (0.25 + 0.5 * draw)), int(60 * (0.25 + 0.5 * draw))
    boxes = []
    for sample, rows, columns in zip(samples, ((0, y), (0, y), (y, 40), (y, 40)), ((0, x), (x, 60)) * 2):
        height, width = rows[1] - rows[0], columns[1] - columns[0]
        top, left = int((40 - height + 1) * np.float32(draw)), int((60 - width + 1) * np.float32(draw))
        window = sample.image[top : top + height, left : left + width]
        np.testing.assert_array_equal(found.image[rows[0] : rows[1], columns[0] : columns[1]], window)
        for box in sample.boxes.numpy():
            centre, box = (box[:2] + box[2:]) / 2 - [left, top], box - [left, top, left, top]
            if (centre >= 0).all() and (centre < [width, height]).all():
                clipped = np.clip(box, 0, [width, height] * 2)
                boxes.append(clipped + [columns[0], rows[0], columns[0], rows[0]])
    np.testing.assert_allclose(found.boxes, boxes)
    assert len(found.classes) == len(boxes)


def test_mixup_blends_a_smaller_image_and_the_padding():
    sample, other = as_resized(noise((40, 60), [[1, 2, 30, 20]])), noise((40, 20), [[3, 4, 10, 30]], 1)
    frame = Frame((60, 40), (64, 64), (5.0, 6.0, 7.0), (lambda: other,))
    found = Mixup(1.0, (0.5, 0.7))(sample, tf.constant([0.9, 0.5, 0.5, 0.5]), frame)
    blended = np.tile(np.float32([5, 6, 7]), [40, 60, 1])
    blended[:, 20:40] = other.image
    np.testing.assert_allclose(found.image, 0.6 * sample.image + 0.4 * blended, atol=1e-4)
    np.testing.assert_allclose(found.boxes, [[1, 2, 30, 20], [23, 4, 30, 30]])
    assert len(found.classes) == 2


def test_pasted_objects():
    """Each object with its margin, unchanged, at its place; what is half in the rectangle is learnt with it."""
    sample = as_resized(noise((40, 60), [[0, 0, 10, 10]]))
    other = as_resized(noise((40, 60), [[20, 10, 40, 30], [36, 26, 44, 30], [39, 0, 59, 40]], 1))
    windows = windows_around(other.boxes, (40, 60))
    np.testing.assert_array_equal(windows, [[8, 18, 24, 24], [25, 35, 6, 10], [0, 37, 40, 23]])
    draws = tf.concat([tf.fill([1, PLACES, 2], 0.0), tf.fill([MOST - 1, PLACES, 2], 0.999)], axis=0)
    # In the first place it would cover the image's own box.
    covering = paste(sample, other, windows[:1], draws)
    tf.nest.map_structure(np.testing.assert_array_equal, covering, sample)
    found = paste(sample, other, windows[:1], draws[1:])
    expected = sample.image.numpy()
    expected[16:40, 36:60] = other.image[8:32, 18:42]
    np.testing.assert_array_equal(found.image, expected)
    # The second box is in it by three quarters, the third by less than half.
    np.testing.assert_allclose(found.boxes, [[0, 0, 10, 10], [38, 18, 58, 38], [54, 34, 60, 38]])
    np.testing.assert_array_equal(found.classes, [0, 0, 1])


def test_a_free_place_is_found_among_those_tried():
    sample = Sample(tf.zeros([40, 60, 3]), tf.constant([[0.0, 0, 30, 40]]), tf.zeros([1]))
    other = Sample(tf.ones([40, 60, 3]), tf.constant([[0.0, 0, 20, 40]]), tf.ones([1]))
    draws = tf.constant([[[0.0, 0.0], [0.0, 0.1], [0.0, 0.99], [0.0, 0.0]]])
    found = paste(sample, other, tf.constant([[0, 0, 40, 20]]), draws)
    np.testing.assert_allclose(found.boxes, [[0, 0, 30, 40], [40, 0, 60, 40]])
    assert (found.image.numpy()[:, 40:] == 1).all() and (found.image.numpy()[:, :40] == 0).all()
    too_large = paste(sample, other, tf.constant([[0, 0, 41, 20]]), draws)
    np.testing.assert_array_equal(too_large.image, sample.image)


def test_a_box_that_several_cover_is_dropped():
    sample = Sample(tf.zeros([20, 50, 3]), tf.constant([[0.0, 0, 50, 20]]), tf.zeros([1]))
    other = Sample(tf.ones([20, 50, 3]), tf.constant([[0.0, 0, 14, 20]]), tf.ones([1]))
    windows = tf.constant([[0, 0, 20, 14]] * 2)
    draws = tf.constant([[[0.0, 0.0]] * PLACES, [[0.0, 0.99]] * PLACES])
    once = paste(sample, other, windows[:1], draws)
    np.testing.assert_allclose(once.boxes, [[0, 0, 50, 20], [0, 0, 14, 20]])
    twice = paste(sample, other, windows, draws)
    np.testing.assert_allclose(twice.boxes, [[0, 0, 14, 20], [36, 0, 50, 20]])
    np.testing.assert_array_equal(twice.classes, [1, 1])


def test_covered_share():
    boxes = tf.constant([[0.0, 0, 10, 10], [5, 5, 5, 9], [20, 20, 30, 40]])
    np.testing.assert_allclose(covered_share(boxes, tf.constant([5.0, 0, 25, 30])), [0.5, 0, 0.25])
    assert len(cut(Sample(tf.zeros([40, 40, 3]), boxes, tf.zeros([3])), tf.constant([0, 5, 30, 20])).classes) == 1


def test_copy_paste_draws():
    """1 to `num` objects, each of the other image's with the same chance, none twice."""
    boxes = [[8 * k, 0, 8 * k + 4, 4] for k in range(7)]
    sample, other = as_resized(noise((60, 60), [])), noise((60, 60), boxes, 1)
    paste_into = tf.function(lambda draws: CopyPaste(1.0, 3)(sample, draws, frame_of((60, 60), (lambda: other,))))
    rng = np.random.default_rng(0)
    draws = [tf.constant(rng.uniform(size=CopyPaste.num_draws), tf.float32) for _ in range(300)]
    found = [paste_into(numbers).classes.numpy() for numbers in draws]
    assert all(len(set(classes)) == len(classes) for classes in found)
    assert {len(classes) for classes in found} == {1, 2, 3}
    times = np.bincount(np.concatenate(found).astype(int), minlength=7)
    assert times.min() > 50 and times.max() < 120  # about 85


# Which images


def test_others_are_drawn_uniformly_and_read_only_where_they_are_used():
    read = []

    def record(index):
        tf.py_function(lambda value: read.append(int(value)), [index], [])
        return noise((30, 40), [[3, 3, 20, 20]])

    image = noise((30, 40), [[2, 2, 12, 12]])
    augmented = tf.function(Augmentations([Mosaic(0.25), CopyPaste(0.25), Mixup(0.25)], read=record, num_images=5))
    for number in range(200):
        augmented(*image, tf.constant([40, 30]), tf.constant([32, 64]), tf.constant([0, number], tf.int64))
    # A quarter of 200 times 3 + 1 + 1.
    assert 190 < len(read) < 310
    times = np.bincount(read, minlength=5)
    assert len(times) == 5 and times.min() > 0.6 * times.mean() and times.max() < 1.4 * times.mean()


def test_others_hang_on_no_other_operation():
    def indices(operations, number):
        found = []

        def record(index):
            found.append(int(index))
            return noise((30, 40), [])

        augment = Augmentations(operations, read=record, num_images=10**6)
        augment(*noise((30, 40), []), (40, 30), (32, 64), tf.constant([0, number], tf.int64))
        return found

    both = indices([Mosaic(1.0), Mixup(1.0)], 0)
    assert len(set(both)) == 4
    assert indices([Mosaic(1.0), Flip()], 0) == both[:3] and indices([Mixup(1.0)], 0) == both[3:]
    assert not set(indices([Mosaic(1.0), Mixup(1.0)], 1)) & set(both)


@pytest.mark.parametrize("name", MIXERS)
def test_one_image(tmp_path, name):
    for batch, labels in batches_of(painted(tmp_path, SIZES[:1]), 3, [MIXERS[name]]):
        assert np.isfinite(batch).all() and (labels["classes"] >= 0).any()


# Until when


def test_same_seed_same_batches_and_resume(tmp_path):
    dataset = painted(tmp_path)
    mixed = [Mosaic(), CopyPaste(), Mixup(), Flip()]
    endless = batches_of(dataset, 6, mixed)
    whole = batches_of(dataset, 6, mixed, mixing_until=4)
    assert_same(whole[:4], endless[:4])
    assert all(differ(*pair) for pair in zip(whole[4:], endless[4:]))
    assert_same(whole[3:], batches_of(dataset, 3, mixed, mixing_until=4, start_step=3, cache=True))
    # From there on as with probability 0.
    unmixed = batches_of(dataset, 6, [Mosaic(0.0), CopyPaste(0.0), Mixup(0.0), Flip()])
    assert_same(whole[4:], unmixed[4:])
    assert all(differ(*pair) for pair in zip(whole[:4], unmixed[:4]))
    assert differ(unmixed[0], batches_of(dataset, 1, [Zoom(), Flip()], seed=2)[0])


def test_a_mosaic_that_does_not_happen_is_a_zoom():
    image = noise((30, 40), [[2, 2, 30, 20]])
    draws = tf.random.stateless_uniform([Mosaic.num_draws], [0, 1])
    unmixed, zoomed = Mosaic(0.0, (0.5, 2.0)), Zoom((0.5, 2.0))
    frame = frame_of((30, 40), (None,) * 3)
    tf.nest.map_structure(np.testing.assert_array_equal, unmixed(image, draws, frame), zoomed(image, draws[3:6], frame))


def test_mixing_until_is_a_step(tmp_path):
    with pytest.raises(ValueError, match="mixing_until is -1; it cannot be negative"):
        batches_of(painted(tmp_path), 1, [Mixup()], mixing_until=-1)


# Number of boxes


@pytest.mark.parametrize("max_boxes, expected", [(None, 16), (5, 5), (40, 40)])
def test_labels_have_places_for_twice_the_boxes_of_an_image(tmp_path, max_boxes, expected):
    dataset = painted(tmp_path, [(80, 120)] * 4, num_boxes=7)
    options = dict(max_boxes=max_boxes, scale=(120, 80))
    mixed = [Mixup(1.0), CopyPaste(1.0, 10)]
    counts = []
    for _, labels in batches_of(dataset, 4, mixed, **options):
        assert labels["boxes"].shape == (4, expected, 4)
        counts.extend((labels["classes"] >= 0).sum(axis=1))
    assert max(counts) <= expected and max(counts) > min(expected, 14) - 1
    batches = pipeline.training_batches(dataset, 4, augmentations=mixed, mixing_until=0, **options)
    assert batches.element_spec[1]["boxes"].shape == (4, expected, 4)
    if max_boxes is None:
        assert batches_of(dataset, 1, [Flip()])[0][1]["boxes"].shape == (4, 8, 4)


def test_the_smallest_boxes_are_left_out(tmp_path):
    form = pipeline._Form((0.0, 0.0, 0.0), "xyxy", 3)
    boxes = tf.constant([[0.0, 0, 2, 2], [0, 0, 9, 9], [0, 0, 1, 1], [0, 0, 5, 5]])
    labels = pipeline._labels(boxes, tf.range(4.0), tf.constant([9, 9]), tf.constant([32, 32]), form)
    np.testing.assert_array_equal(labels["classes"], [0, 1, 3])
    np.testing.assert_array_equal(labels["boxes"], tf.gather(boxes, [0, 1, 3]))
