"""Served functions whose network gets canvases of one size, and the images of a request as a batch."""

import numpy as np
import pytest
import tensorflow as tf

from gfl_tf import detections
from gfl_tf.data import images as image_ops
from gfl_tf.serving import signatures
from gfl_tf.training import run_dir

pytestmark = pytest.mark.one_stack

CANVAS = (96, 160)
SIZES = [(192, 320), (200, 90), (33, 47), (64, 96)]


@pytest.fixture(scope="module")
def model_and_config(tiny_run):
    return run_dir.load_run(tiny_run)


def trace(model_and_config, **options):
    model, config = model_and_config
    decoder = model.prediction_decoder
    return signatures.trace(model, config.data.scale, config.data.class_names, decoder, **options)


@pytest.fixture(scope="module")
def traced(model_and_config):
    return trace(model_and_config, canvas=CANVAS, on_bad_image="report")


@pytest.fixture(scope="module")
def served(traced):
    return traced[0]


@pytest.fixture(scope="module")
def images():
    rng = np.random.default_rng(0)
    coarse = [tf.image.resize(rng.uniform(0, 255, (5, 6, 3)), size, "bicubic") for size in SIZES]
    return [tf.saturate_cast(image, tf.uint8) for image in coarse]


def encoded(images):
    return tf.stack([tf.io.encode_png(image) for image in images])


def assert_same(found, expected):
    assert set(found) == set(expected)
    for name, value in expected.items():
        if value.dtype == tf.string:
            np.testing.assert_array_equal(found[name], value, err_msg=name)
        else:
            # 1e-3 pixels: a convolution sums a batch in another order than a single image.
            np.testing.assert_allclose(found[name], value, atol=1e-3, rtol=1e-4, err_msg=name)


def row_of(outputs, row):
    return {name: value[row] for name, value in outputs.items()}


def test_an_image_that_fills_the_canvas_answers_as_without_one(served, model_and_config, images):
    plain, _ = trace(model_and_config)
    first = encoded(images[:1])
    assert plain["serving_default"](first)["num_detections"][0] > 0
    assert_same(served["serving_default"](first), plain["serving_default"](first))
    assert_same(served["image_tensor"](images[0][tf.newaxis]), plain["image_tensor"](images[0][tf.newaxis]))


def test_each_image_of_a_batch_is_alone(served, images):
    together = served["serving_default"](encoded(images))
    for row, image in enumerate(images):
        alone = served["serving_default"](encoded([image]))
        assert alone["num_detections"][0] > 0
        assert_same(row_of(together, row), row_of(alone, 0))
        of_tensor = row_of(served["image_tensor"](image[tf.newaxis]), 0)
        assert_same({name: together[name][row] for name in of_tensor}, of_tensor)


def test_an_image_that_lies_the_other_way_is_made_smaller(served, model_and_config, images):
    model, config = model_and_config
    image, size = images[1], (96, 43)  # its scale would make it 160 x 72
    resized = image_ops.resize(image, size)
    on_canvas = image_ops.pad_to_canvas(resized, CANVAS, model.pad_value)[tf.newaxis]
    found = model.detect(on_canvas, tf.constant([size]))
    expected = detections.to_served(
        detections.to_original(found, tf.constant(SIZES[1]), tf.constant(size)), config.data.class_names
    )
    assert expected["num_detections"][0] > 0
    assert_same(served["image_tensor"](image[tf.newaxis]), expected)


def test_bad_images_leave_the_others_alone(served, model_and_config, images):
    good = encoded([images[0], images[3]])
    outputs = served["serving_default"](tf.concat([good[:1], [b""], good[1:], [b"no image"]], axis=0))
    expected = served["serving_default"](good)
    for row, alone in ((0, 0), (2, 1)):
        assert_same(row_of(outputs, row), row_of(expected, alone))
    for row in (1, 3):
        assert outputs["status"][row] != b"ok"
        for name, value in row_of(outputs, row).items():
            if name != "status":
                padding = {"detection_classes": -1, "detection_class_names": b""}.get(name, 0)
                assert (value.numpy() == padding).all(), name
    failing, _ = trace(model_and_config, canvas=CANVAS)
    with pytest.raises(tf.errors.InvalidArgumentError, match=r"image_bytes\[1\]: empty"):
        failing["serving_default"](tf.concat([good, [b""]], axis=0)[::2])


def test_options_of_each_image(served, images):
    several = encoded(images[:2])
    default = served["serving_default"](several)
    third = float(default["detection_scores"][1, 3])  # above it are three
    outputs = served["image_bytes_with_options"](
        image_bytes=several, score_threshold=tf.constant([0.4, third]), max_detections=tf.constant([5, 9])
    )
    assert outputs["num_detections"].numpy().tolist() == [5, 3]
    np.testing.assert_allclose(outputs["detection_boxes"][0, :5], default["detection_boxes"][0, :5], atol=1e-3)
    np.testing.assert_allclose(outputs["detection_boxes"][1, :3], default["detection_boxes"][1, :3], atol=1e-3)


def test_no_images(served):
    none = tf.zeros([0], tf.string)
    assert served["serving_default"](none)["detection_boxes"].shape[0] == 0
    assert served["serving_default"](none)["status"].shape == (0,)
    assert served["image_tensor"](tf.zeros([0, 64, 96, 3], tf.uint8))["num_detections"].shape == (0,)


def test_the_network_knows_its_size(traced, images):
    _, stages = traced
    shape = stages["network"].structured_input_signature[0][0].shape
    assert shape.as_list() == [None, *CANVAS, 3]
    resized = stages["resize"](images[2][tf.newaxis])
    outputs = stages["detections"](stages["network"](resized), SIZES[2], tf.shape(resized)[1:3])
    assert_same(outputs, traced[0]["image_tensor"](images[2][tf.newaxis]))
