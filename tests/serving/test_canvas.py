"""Detection on a canvas of fixed size, and how an application puts its image there."""

import numpy as np
import pytest
import tensorflow as tf

from gfl_tf.serving import canvas
from gfl_tf.training import run_dir

CANVAS = (96, 160)


@pytest.fixture(scope="module")
def detector(tiny_run):
    return run_dir.load_run(tiny_run)[0]


@pytest.fixture(scope="module")
def detect(detector):
    return canvas.detect_canvas(detector, *CANVAS)


@pytest.fixture(scope="module")
def picture():
    coarse = np.random.default_rng(0).uniform(0, 255, (5, 6, 3))
    return tf.cast(tf.clip_by_value(tf.image.resize(coarse, (70, 150), "bicubic"), 0, 255), tf.uint8).numpy()


def test_finds_what_the_detector_finds(detector, detect, picture):
    image = np.full([1, *CANVAS, 3], 77, np.uint8)  # whatever lies outside
    image[0, :70, :150] = picture
    found = detect(image, [70, 150])
    expected = tf.function(detector.detect)(picture[np.newaxis], tf.constant([[70, 150]]))
    count = int(expected["num_detections"][0])
    assert count > 5 and found["num_detections"].numpy().tolist() == [count]
    boxes = tf.gather(expected["boxes"], [1, 0, 3, 2], axis=-1)
    np.testing.assert_allclose(found["detection_boxes"][0, :count], boxes[0, :count], atol=1e-3)
    np.testing.assert_array_equal(found["detection_classes"], tf.cast(expected["classes"], tf.int32))
    for name, original in (("detection_scores", "confidence"), ("detection_edge_stddev", "edge_stddev")):
        np.testing.assert_allclose(found[name][0, :count], expected[original][0, :count], rtol=1e-4)
    assert found["detection_boxes"].numpy().max(axis=(0, 1))[2:].tolist() <= [70, 150]


def test_rows_after_the_last_detection_are_padding(detector, picture):
    detect = canvas.detect_canvas(detector, *CANVAS, detector.prediction_decoder.changed(score_threshold=1.0))
    found = detect(*canvas.place(picture, CANVAS)[:2])
    assert found["num_detections"].numpy().tolist() == [0]
    assert (found.pop("detection_classes").numpy() == -1).all()
    assert found["detection_boxes"].shape == (1, 20, 4)
    assert not any(value.numpy().any() for value in found.values())


def test_other_sizes_are_refused(detector):
    with pytest.raises(ValueError, match="100 x 160 .* multiples of 32, for example 128 x 160"):
        canvas.detect_canvas(detector, 100, 160)


@pytest.mark.parametrize(
    ("size", "scale", "expected"),
    [
        ((35, 75), None, (75, 160)),
        ((300, 100), None, (96, 32)),  # upright, on a canvas that is not
        ((35, 75), (100, 60), (47, 100)),
    ],
)
def test_an_image_takes_its_place(size, scale, expected):
    picture = np.full([*size, 3], 200, np.uint8)
    image, image_shape, factor = canvas.place(picture, CANVAS, scale)
    assert image.shape == (1, *CANVAS, 3) and image.dtype == np.uint8
    assert tuple(image_shape) == expected and image_shape.dtype == np.int32
    assert (image[0, : expected[0], : expected[1]] == 200).all() and image.sum() == 600 * np.prod(expected)
    np.testing.assert_allclose(factor * [*image_shape, *image_shape], [*size, *size], rtol=1e-6)


def test_an_image_that_does_not_fit_is_refused():
    with pytest.raises(ValueError, match="is 160 x 53 at scale .* larger than the canvas of 96 x 160"):
        canvas.place(np.zeros([300, 100, 3], np.uint8), CANVAS, (160, 96))
