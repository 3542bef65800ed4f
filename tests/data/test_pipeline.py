"""The pipeline: resize, labels, canvases, plans, resumption, errors."""

import itertools
import json
import subprocess
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from gfl_tf.data import batching, images, pipeline, source
from gfl_tf.data.augmentations import from_config
from gfl_tf.data.augmentations.blur import Blur
from gfl_tf.data.augmentations.crop import Crop
from gfl_tf.data.augmentations.cutout import Cutout
from gfl_tf.data.augmentations.equalize import Equalize
from gfl_tf.data.augmentations.flips import Flip, VerticalFlip
from gfl_tf.data.augmentations.resizing import Zoom, resize
from gfl_tf.data.augmentations.sharpness import Sharpness
from gfl_tf.data.coco import load_coco

SCALES = [(1333, 800), (1333, 480), (640, 640)]


def make_dataset(folder, sizes, boxes_of=None, ending="png"):
    """A data set of noise images of the given (height, width); image i has id 10 + i and one class."""
    rng = np.random.default_rng(0)
    entries, annotations = [], []
    for index, (height, width) in enumerate(sizes):
        name = f"{index}.{ending}"
        pixels = rng.integers(0, 256, [height, width, 3], np.uint8)
        Image.fromarray(pixels).save(folder / name)
        entries.append({"id": 10 + index, "file_name": name, "height": height, "width": width})
        boxes = [[2 + index, 3, 20, 10]] if boxes_of is None else boxes_of(index)
        for bbox in boxes:
            annotations.append({"id": len(annotations), "image_id": 10 + index, "category_id": 1, "bbox": bbox})
    content = {"images": entries, "annotations": annotations, "categories": [{"id": 1, "name": "thing"}]}
    return load_coco(content, folder)


def take(batches, count):
    return [tf.nest.map_structure(np.asarray, batch) for batch in itertools.islice(iter(batches), count)]


def assert_same(batches, others):
    assert len(batches) == len(others)
    for batch, other in zip(batches, others):
        tf.nest.map_structure(np.testing.assert_array_equal, batch, other)


# Resize


@pytest.fixture(scope="module")
def reference(shared):
    return np.load(shared / "reference" / "resize.npz")


@pytest.mark.parametrize("scale", SCALES)
def test_sizes_and_boxes_of_the_reference(reference, scale):
    name = f"{scale[0]}x{scale[1]}"
    expected = reference[f"hw_out_{name}"]
    np.testing.assert_array_equal(batching.keep_ratio_sizes(reference["hw_in"], scale), expected)
    np.testing.assert_array_equal(batching.keep_ratio_sizes(reference["hw_in"], scale[::-1]), expected)
    padded = -(-expected // 32) * 32
    np.testing.assert_array_equal(padded, reference[f"pad32_hw_{name}"])
    rows = zip(reference["hw_in"], expected, reference["boxes_in"], reference[f"boxes_{name}"])
    for hw, new, box, new_box in rows:
        np.testing.assert_array_equal(images.keep_ratio_size(hw, scale), new)
        empty = tf.zeros([hw[0], hw[1], 3], tf.uint8)
        resized, boxes = resize(empty, tf.constant(box)[None], new)
        assert resized.shape == (*new, 3)
        np.testing.assert_allclose(boxes[0], new_box, rtol=1e-6, atol=1e-4)


@pytest.mark.parametrize("name", ["97x132", "40x54", "122x166", "30x41"])
def test_pixels_of_the_reference(reference, name):
    expected = reference[f"pix_out_{name}"]
    resized = images.resize(reference["pix_in"], expected.shape[:2])
    assert resized.dtype == tf.float32
    assert np.abs(np.asarray(resized) - expected).max() <= 1.0


def test_graph_and_numpy_sizes_agree():
    rng = np.random.default_rng(0)
    sizes = rng.integers(1, 3000, [200, 2])
    size_of = tf.function(images.keep_ratio_size)
    for scale in SCALES:
        ours = [size_of(tf.constant(hw), tf.constant(scale)) for hw in sizes]
        np.testing.assert_array_equal(ours, batching.keep_ratio_sizes(sizes, scale))


def test_resize_keep_ratio():
    resized = pipeline.resize_keep_ratio(tf.fill([30, 40, 3], 7.0), (100, 60))
    assert resized.shape == (60, 80, 3)
    np.testing.assert_allclose(resized, 7.0)


# Decoding


def test_decodes_every_kind(tmp_path):
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, [12, 17, 3], np.uint8)
    grey = pixels[..., 0]
    alpha = np.concatenate([pixels, pixels[..., :1]], axis=-1)
    cases = {
        "rgb.png": (pixels, pixels),
        "rgb.bmp": (pixels, pixels),
        "alpha.png": (alpha, pixels),
        "grey.png": (grey, np.stack([grey] * 3, -1)),
        "grey.bmp": (grey, np.stack([grey] * 3, -1)),
    }
    for name, (stored, expected) in cases.items():
        Image.fromarray(stored).save(tmp_path / name)
        np.testing.assert_array_equal(images.decode_rgb((tmp_path / name).read_bytes()), expected, name)
    smooth = np.broadcast_to(np.arange(0, 160, 10, dtype=np.uint8)[:, None, None], [16, 24, 3])
    for name, stored in {"rgb.jpg": smooth, "grey.jpg": smooth[..., 0]}.items():
        Image.fromarray(np.ascontiguousarray(stored)).save(tmp_path / name, quality=95)
        decoded = np.asarray(images.decode_rgb((tmp_path / name).read_bytes()), np.int32)
        assert decoded.shape == (16, 24, 3) and np.abs(decoded - smooth).max() <= 4


def test_exif_rotation_is_ignored(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(np.zeros([12, 17, 3], np.uint8)).save(tmp_path / "x.jpg", exif=exif)
    assert images.decode_rgb((tmp_path / "x.jpg").read_bytes()).shape == (12, 17, 3)


@pytest.mark.parametrize("damage, cache", [("text", False), ("cut", True), ("size", False), ("gone", True)])
def test_bad_file_is_named(tmp_path, damage, cache):
    dataset = make_dataset(tmp_path, [(40, 60)] * 2, ending="jpg")
    path = tmp_path / "1.jpg"
    if damage == "text":
        path.write_text("not an image")
    elif damage == "cut":
        path.write_bytes(path.read_bytes()[:700])
    elif damage == "size":
        Image.fromarray(np.zeros([60, 40, 3], np.uint8)).save(path)
    else:
        path.unlink()
    with pytest.raises(tf.errors.InvalidArgumentError) as error:
        take(pipeline.training_batches(dataset, 2, scale=(64, 64), cache=cache), 1)
    assert str(path) in str(error.value)
    if damage == "size":
        assert "60 x 40" in str(error.value) and "40 x 60" in str(error.value)


# Training batches


def test_training_batch(tmp_path):
    dataset = make_dataset(tmp_path, [(40, 60)] * 4)
    batches = pipeline.training_batches(dataset, 2, scale=(120, 80), augmentations=(), pad_value=(1, 2, 3), seed=0)
    batch_images, labels = take(batches, 1)[0]
    assert batch_images.shape == (2, 96, 128, 3) and batch_images.dtype == np.float32
    assert {name: (value.shape, value.dtype.name) for name, value in labels.items()} == {
        "boxes": ((2, 8, 4), "float32"),
        "classes": ((2, 8), "float32"),
        "image_shape": ((2, 2), "int32"),
    }
    np.testing.assert_array_equal(labels["image_shape"], [[80, 120]] * 2)
    np.testing.assert_array_equal(labels["classes"][:, 0], 0)
    np.testing.assert_array_equal(labels["classes"][:, 1:], -1)
    np.testing.assert_array_equal(labels["boxes"][:, 1:], -1)
    for image, box in zip(batch_images, labels["boxes"][:, 0]):
        index = int(round(box[0] / 2)) - 2
        np.testing.assert_allclose(box, [4 + 2 * index, 6, 44 + 2 * index, 26], atol=1e-4)
        stored = np.asarray(Image.open(dataset.images[index].path))
        np.testing.assert_allclose(image[:80, :120], images.resize(stored, [80, 120]), atol=1e-4)
        np.testing.assert_array_equal(image[80:], np.broadcast_to([1, 2, 3], [16, 128, 3]))
        np.testing.assert_array_equal(image[:, 120:], np.broadcast_to([1, 2, 3], [96, 8, 3]))


def bright_where_the_box_is(image, box):
    ys, xs = np.nonzero(image[..., 0] > 127)
    np.testing.assert_allclose([xs.min(), ys.min(), xs.max() + 1, ys.max() + 1], box, atol=1.0)


@pytest.mark.parametrize("zoom", [[], [Zoom((0.5, 1.0))]])
def test_flips_and_zoom_out_move_pixels_and_boxes_together(tmp_path, zoom):
    dataset = make_dataset(tmp_path, [(40, 60)])
    pixels = np.zeros([40, 60, 3], np.uint8)
    pixels[3:13, 2:22] = 255
    Image.fromarray(pixels).save(dataset.images[0].path)
    operations = [*zoom, Flip(), VerticalFlip()]
    batches = pipeline.training_batches(dataset, 4, scale=(60, 40), seed=3, augmentations=operations)
    boxes = []
    for batch_images, labels in take(batches, 8):
        for image, box in zip(batch_images, labels["boxes"][:, 0]):
            bright_where_the_box_is(image, box)
            boxes.append(tuple(np.round(box).astype(int)))
    if zoom:
        assert len(set(boxes)) > 16
    else:
        assert set(boxes) == {(2, 3, 22, 13), (38, 3, 58, 13), (2, 27, 22, 37), (38, 27, 58, 37)}


@pytest.mark.parametrize(
    "box_format, expected",
    [
        ("xyxy", [2, 3, 22, 13]),
        ("yxyx", [3, 2, 13, 22]),
        ("xywh", [2, 3, 20, 10]),
        ("center_xywh", [12, 8, 20, 10]),
        ("rel_xyxy", [2 / 64, 3 / 32, 22 / 64, 13 / 32]),
        ("rel_yxyx", [3 / 32, 2 / 64, 13 / 32, 22 / 64]),
        ("rel_xywh", [2 / 64, 3 / 32, 20 / 64, 10 / 32]),
    ],
)
def test_box_formats(box_format, expected):
    boxes = pipeline.convert_xyxy(tf.constant([[2.0, 3, 22, 13]]), box_format, tf.constant([32, 64]))
    np.testing.assert_allclose(boxes, [expected], rtol=1e-6)


def test_labels_in_another_format(tmp_path):
    dataset = make_dataset(tmp_path, [(30, 60)])
    batches = pipeline.training_batches(dataset, 1, scale=(60, 30), augmentations=(), bounding_box_format="rel_xywh")
    _, labels = take(batches, 1)[0]
    np.testing.assert_allclose(labels["boxes"][0, 0], [2 / 64, 3 / 32, 20 / 64, 10 / 32], rtol=1e-6)
    np.testing.assert_array_equal(labels["boxes"][0, 1:], -1)


def test_every_box_survives_padding_and_max_boxes_keeps_the_largest(tmp_path):
    dataset = make_dataset(
        tmp_path, [(40, 60)] * 2, boxes_of=lambda i: [[k, 0, 3 + k, 3] for k in range(20)] if i else []
    )
    _, labels = take(pipeline.training_batches(dataset, 2, scale=(60, 40), augmentations=()), 1)[0]
    assert labels["boxes"].shape == (2, 24, 4)
    assert sorted((labels["classes"] == 0).sum(axis=1)) == [0, 20]
    _, labels = take(pipeline.training_batches(dataset, 2, scale=(60, 40), augmentations=(), max_boxes=5), 1)[0]
    row = int(np.argmax((labels["classes"] == 0).sum(axis=1)))
    np.testing.assert_allclose(labels["boxes"][row, :, 2] - labels["boxes"][row, :, 0], np.arange(18, 23))


MIXED = [(40, 60)] * 5 + [(60, 40)] * 3 + [(40, 41)] * 2 + [(20, 100)]
AUGMENT = from_config(
    [
        dict(name="crop"),
        dict(name="zoom", factor=(0.5, 2.0)),
        *(dict(name=name) for name in ("rotation", "shear", "cutout", "flip", "vertical_flip", "color_jitter")),
        *(dict(name=name) for name in ("equalize", "sharpness", "blur")),
    ]
)


def test_same_seed_same_batches_and_resume(tmp_path):
    dataset = make_dataset(tmp_path, MIXED)
    options = dict(scale=(80, 48), short_side_range=(32, 64), long_side_range=(64, 96), num_sides=3)
    options["augmentations"] = AUGMENT
    whole = take(pipeline.training_batches(dataset, 4, seed=5, **options), 9)
    assert_same(whole, take(pipeline.training_batches(dataset, 4, seed=5, **options), 9))
    resumed = pipeline.training_batches(dataset, 4, seed=5, start_step=5, cache=True, **options)
    assert_same(whole[5:], take(resumed, 4))
    other = take(pipeline.training_batches(dataset, 4, seed=6, **options), 1)[0]
    assert other[0].shape != whole[0][0].shape or np.abs(other[0] - whole[0][0]).max() > 0


def test_epochs_differ_and_unseeded_runs_differ(tmp_path):
    dataset = make_dataset(tmp_path, [(40, 60)] * 2)
    options = dict(scale=(60, 40), augmentations=[Zoom((0.5, 2.0))])
    first, second = take(pipeline.training_batches(dataset, 2, **options, seed=0), 2)
    assert np.abs(first[0] - second[0]).max() > 0
    runs = [take(pipeline.training_batches(dataset, 2, **options), 1)[0][0] for _ in range(2)]
    assert np.abs(runs[0] - runs[1]).max() > 0


def test_start_step_decodes_nothing(tmp_path):
    # The bad image is among the first batch of this plan alone.
    dataset = make_dataset(tmp_path, [(40, 60)] * 8)
    plan = batching.TrainingPlan([(40, 60)] * 8, 2, [(60, 40)], seed=0)
    bad = plan.epoch(0)[0].indices[0]
    (tmp_path / f"{bad}.png").write_text("not an image")
    take(pipeline.training_batches(dataset, 2, scale=(60, 40), seed=0, start_step=1), 1)
    with pytest.raises(tf.errors.InvalidArgumentError):
        take(pipeline.training_batches(dataset, 2, scale=(60, 40), seed=0), 1)


@pytest.mark.parametrize(
    "wrong, word",
    [
        ({"batch_size": 0}, "batch_size"),
        ({"augmentations": [Flip(), Crop()]}, r"augmentations\[1\]: crop"),
        ({"augmentations": [{"name": "flip"}]}, r"augmentations\[0\]"),
        ({"short_side_range": (50, 90)}, "short_side_range"),
        ({"long_side_range": (0, 90)}, "long_side_range"),
        ({"long_side_range": (30, 90)}, "long_side_range"),
        ({"short_side_range": (40, 30)}, "short_side_range"),
        ({"num_sides": 0}, "num_sides"),
        ({"last_batch": "keep"}, "last_batch"),
        ({"bounding_box_format": "xxyy"}, "bounding_box_format"),
        ({"pad_value": (1,)}, "pad_value"),
        ({"max_boxes": 0}, "max_boxes"),
        ({"start_step": -1}, "start_step"),
        ({"batch_size": 3, "last_batch": "drop"}, "last_batch"),
    ],
)
def test_wrong_arguments_are_named(tmp_path, wrong, word):
    dataset = make_dataset(tmp_path, [(40, 60)] * 2)
    arguments = {"batch_size": 2, "scale": (60, 40), **wrong}
    with pytest.raises(ValueError, match=word):
        pipeline.training_batches(dataset, **arguments)


# Augmentations; one by one in augmentations/


def test_zoom_in_shows_the_objects_it_keeps(tmp_path):
    dataset = make_dataset(tmp_path, [(80, 120)], boxes_of=lambda _: [[40, 20, 30, 40]])
    pixels = np.zeros([80, 120, 3], np.uint8)
    pixels[20:60, 40:70] = 255
    Image.fromarray(pixels).save(dataset.images[0].path)
    widths = []
    options = dict(scale=(60, 40), augmentations=[Zoom((1.0, 3.0)), Flip()], seed=1)
    for batch_images, labels in take(pipeline.training_batches(dataset, 4, **options), 8):
        for image, box, label in zip(batch_images, labels["boxes"][:, 0], labels["classes"][:, 0]):
            if label < 0:
                continue
            bright_where_the_box_is(image, box)
            widths.append(box[2] - box[0])
    assert len(widths) > 16 and min(widths) < 20 and max(widths) > 30


@pytest.mark.one_stack
def test_adding_an_operation_changes_nothing_of_the_others(tmp_path):
    """Boxes, which crop and flip decide, are the same beside any operations that leave boxes alone."""
    dataset = make_dataset(tmp_path, [(40, 60)] * 4, boxes_of=lambda _: [[20, 10, 20, 20]])
    few, many = [Crop(), Flip()], [Crop(), Cutout(), Equalize(), Flip(), Sharpness(), Blur()]
    options = dict(scale=(60, 40), seed=2)
    batches, others = (
        take(pipeline.training_batches(dataset, 4, augmentations=list_, **options), 4) for list_ in (few, many)
    )
    for (pictures, labels), (other_pictures, other_labels) in zip(batches, others):
        tf.nest.map_structure(np.testing.assert_array_equal, labels, other_labels)
        assert np.abs(pictures - other_pictures).max() > 0
    assert len({tuple(box) for _, labels in batches for box in labels["boxes"][:, 0]}) > 4


# Plans


def sizes_of_many(count=500):
    rng = np.random.default_rng(1)
    shares = {0.5: 0.01, 0.66: 0.1, 0.75: 0.1, 1.0: 0.04, 4 / 3: 0.4, 1.5: 0.3, 1.78: 0.04, 4.0: 0.01}
    aspect = rng.choice(list(shares), count, p=list(shares.values()))
    return np.stack([np.full(count, 480), np.round(480 * aspect)], axis=1).astype(int)


@pytest.mark.parametrize("last_batch", ["fill", "drop"])
def test_plan_covers_an_epoch(last_batch):
    sizes = sizes_of_many()
    scales = batching.training_scales((1333, 800), (480, 960), num_sides=4)
    plan = batching.TrainingPlan(sizes, 16, scales, last_batch, seed=3)
    epoch = plan.epoch(2)
    assert len(epoch) == plan.steps_per_epoch == (32 if last_batch == "fill" else 31)
    counts = np.bincount(np.concatenate([batch.indices for batch in epoch]), minlength=500)
    if last_batch == "fill":
        assert counts.min() == 1 and counts.sum() == 512 and counts.max() == 2
    else:
        assert counts.max() == 1 and counts.sum() == 496
    for batch in epoch:
        resized = batching.keep_ratio_sizes(sizes[batch.indices], batch.scale)
        assert (resized <= batch.canvas).all() and (batch.canvas % 32 == 0).all()
    canvases = {(*batch.scale, *batch.canvas) for number in range(6) for batch in plan.epoch(number)}
    assert len({canvas[:2] for canvas in canvases}) == 4
    assert len(canvases) <= 4 * 6
    used = sum(resized_area(sizes, batch) for batch in epoch)
    assert used / sum(16 * int(batch.canvas.prod()) for batch in epoch) > 0.7


def resized_area(sizes, batch):
    return batching.keep_ratio_sizes(sizes[batch.indices], batch.scale).prod(axis=1).sum()


def test_buckets_are_mixed_over_the_epoch():
    plan = batching.TrainingPlan([(40, 60)] * 64 + [(60, 40)] * 64, 4, [(60, 40)], seed=0)
    is_wide = [batch.indices[0] < 64 for batch in plan.epoch(0)]
    changes = sum(wide != following for wide, following in zip(is_wide, is_wide[1:]))
    assert sum(is_wide) == 16 and changes > 5


def test_rare_shapes_are_seen_without_being_repeated():
    sizes = [(480, 640)] * 30 + [(640, 300)]
    fill = batching.TrainingPlan(sizes, 8, [(640, 480)], "fill", seed=0)
    assert all(sum((batch.indices == 30).sum() for batch in fill.epoch(number)) == 1 for number in range(5))
    drop = batching.TrainingPlan(sizes, 8, [(640, 480)], "drop", seed=0)
    seen = [sum((batch.indices == 30).sum() for batch in drop.epoch(number)) for number in range(50)]
    assert 0 < sum(seen) < 50


def test_fewer_images_than_a_batch():
    plan = batching.TrainingPlan([(40, 60)] * 3, 8, [(60, 40)], "fill")
    (batch,) = plan.epoch(0)
    assert np.bincount(batch.indices).min() >= 2 and len(batch.indices) == 8


def test_training_scales():
    assert batching.training_scales((800, 1333)) == [(1333, 800)]
    assert batching.training_scales((1333, 800), ()) == [(1333, 800)]
    assert [s for _, s in batching.training_scales((1333, 800), (480, 960))] == [480, 576, 672, 768, 864, 960]
    assert [s for _, s in batching.training_scales((300, 200), (210, 220), num_sides=3)] == [210, 215, 220]


def test_scales_of_both_sides_are_drawn_independently():
    assert batching.training_scales((300, 200), (), (320, 640), 3) == [(320, 200), (480, 200), (640, 200)]
    longs, shorts = [750, 1440, 2100], [512, 960, 1400]
    expected = [(max(long, short), min(long, short)) for long in longs for short in shorts]
    assert batching.training_scales((1333, 800), (500, 1400), (750, 2100), 3) == expected
    plan = batching.TrainingPlan([(480, 640)] * 8, 4, batching.training_scales((1, 1), (500, 1400), (750, 2100), 3))
    drawn = [tuple(batch.scale) for epoch in range(200) for batch in plan.epoch(epoch)]
    assert set(drawn) == set(expected)
    # 400 draws of 9 equal chances: 44 +- 6 each.
    assert all(20 < drawn.count(scale) < 70 for scale in expected)


# Evaluation batches


def test_evaluation_sees_every_image_once(tmp_path):
    """Each at its own size rounded up to 32, whatever else there is."""
    dataset = make_dataset(tmp_path, MIXED)
    batches = pipeline.evaluation_batches(dataset, 4, scale=(80, 48), pad_value=(9, 9, 9))
    found = take(batches, 100)
    assert len(found) == batches.cardinality()
    indices = np.concatenate([labels["image_index"] for _, labels in found])
    assert sorted(indices) == list(range(len(dataset.images)))
    for batch_images, labels in found:
        assert 1 <= len(batch_images) == len(labels["image_index"]) <= 4
        for row, index in enumerate(labels["image_index"]):
            new = batching.keep_ratio_sizes([MIXED[index]], (80, 48))[0]
            np.testing.assert_array_equal(labels["original_shape"][row], MIXED[index])
            np.testing.assert_array_equal(labels["image_shape"][row], new)
            np.testing.assert_array_equal(batch_images.shape[1:3], -(-new // 32) * 32)
    again = pipeline.evaluation_batches(dataset, 4, scale=(80, 48), pad_value=(9, 9, 9), cache=True)
    assert_same(found, take(again, 100))


def test_too_many_pixels_for_the_memory_are_not_kept(tmp_path, caplog, monkeypatch):
    dataset = make_dataset(tmp_path, MIXED)
    expected = take(pipeline.evaluation_batches(dataset, 4, scale=(80, 48)), 100)
    (tmp_path / "memory.max").write_text("10000\n")
    (tmp_path / "unlimited").write_text("max\n")
    limits = [tmp_path / name for name in ("none", "unlimited", "memory.max")]
    monkeypatch.setattr(source, "CONTAINER_LIMITS", limits)
    found = take(pipeline.evaluation_batches(dataset, 4, scale=(80, 48), cache=True), 100)
    assert "more than a quarter of the 0.0 GiB of memory here" in caplog.text
    assert_same(found, expected)


# In training loops


def test_goes_into_model_fit(tmp_path):
    dataset = make_dataset(tmp_path, MIXED)

    class Count(keras.Model):
        def train_step(self, data):
            batch_images, labels = data
            return {"boxes": tf.math.count_nonzero(labels["classes"] >= 0), "images": tf.shape(batch_images)[0]}

    model = Count()
    model.compile()
    steps = pipeline.steps_per_epoch(dataset, 4)
    batches = pipeline.training_batches(dataset, 4, scale=(80, 48))
    history = model.fit(batches, steps_per_epoch=steps, epochs=2, verbose=0)
    assert history.history["boxes"] == [4, 4] and steps == 3


DISTRIBUTED = """
import sys
import numpy as np
import tensorflow as tf
from gfl_tf.data import pipeline
from gfl_tf.data.augmentations import from_config
from gfl_tf.data.coco import load_coco
cpu = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
strategy = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
dataset = load_coco(sys.argv[1] + "/coco.json", sys.argv[1])
operations = from_config([dict(name=name) for name in ("crop", "rotation", "cutout", "equalize")])
options = dict(scale=(80, 48), seed=1, augmentations=operations)
plain = iter(pipeline.training_batches(dataset, 4, **options))
shared = iter(strategy.experimental_distribute_dataset(pipeline.training_batches(dataset, 4, **options)))
for _ in range(4):
    images, labels = next(plain)
    halves, half_labels = next(shared)
    parts = strategy.experimental_local_results(halves)
    assert [part.shape[0] for part in parts] == [2, 2], parts
    np.testing.assert_array_equal(tf.concat(parts, 0), images)
    boxes = strategy.experimental_local_results(half_labels["boxes"])
    np.testing.assert_array_equal(tf.concat(boxes, 0), labels["boxes"])
print("same")
"""


@pytest.mark.one_stack
def test_replicas_share_the_global_batch(tmp_path):
    make_dataset(tmp_path, MIXED)
    content = {
        "images": [{"id": i, "file_name": f"{i}.png", "height": h, "width": w} for i, (h, w) in enumerate(MIXED)],
        "annotations": [{"id": i, "image_id": i, "category_id": 0, "bbox": [i, 1, 5, 5]} for i in range(len(MIXED))],
        "categories": [{"id": 0, "name": "thing"}],
    }
    (tmp_path / "coco.json").write_text(json.dumps(content))
    result = subprocess.run(
        [sys.executable, "-c", DISTRIBUTED, str(tmp_path)], capture_output=True, text=True, check=False
    )
    assert result.returncode == 0 and "same" in result.stdout, result.stderr


@pytest.mark.one_stack
@pytest.mark.parametrize("workers, replicas", [(1, 2), (2, 4)])
def test_workers_have_rows_of_their_own_of_each_batch(tmp_path, workers, replicas):
    dataset = make_dataset(tmp_path, MIXED)
    options = dict(batch_size=4, scale=(80, 48), seed=1, start_step=3)
    whole = pipeline.training_batches(dataset, **options).take(3)
    shares = []
    for index in range(workers):
        context = tf.distribute.InputContext(workers, index, replicas)
        shares.append(iter(pipeline.training_batches(dataset, **options, input_context=context)))
    for batch_images, labels in whole:
        parts = [next(share) for share in shares for _ in range(replicas // workers)]
        assert {len(part[0]) for part in parts} == {4 // replicas}
        np.testing.assert_array_equal(np.concatenate([part[0] for part in parts]), batch_images)
        np.testing.assert_array_equal(np.concatenate([part[1]["boxes"] for part in parts]), labels["boxes"])


def test_what_workers_cannot_share_is_refused(tmp_path, monkeypatch):
    dataset = make_dataset(tmp_path, MIXED)
    context = tf.distribute.InputContext(2, 0, 2)
    with pytest.raises(ValueError, match="batch_size is 3, of 2 replicas together"):
        pipeline.training_batches(dataset, 3, seed=1, input_context=context)
    with pytest.raises(ValueError, match="seed is None, with which each worker would draw other batches"):
        pipeline.training_batches(dataset, 4, input_context=context)
    cluster = {"cluster": {"worker": ["a:1", "b:1"]}, "task": {"type": "worker", "index": 0}}
    monkeypatch.setenv("TF_CONFIG", json.dumps(cluster))
    with pytest.raises(ValueError, match="seed is None"):
        pipeline.training_batches(dataset, 4)


@pytest.mark.one_stack
@pytest.mark.parametrize("workers", [2, 3])
def test_workers_share_the_evaluation(tmp_path, workers):
    """Two batches: a third worker gets none."""
    dataset = make_dataset(tmp_path, MIXED[:3])
    found = []
    for index in range(workers):
        for _, labels in pipeline.evaluation_batches(dataset, 2, scale=(80, 48), share=(index, workers)):
            found += labels["image_index"].numpy().tolist()
    assert sorted(found) == [0, 1, 2]
