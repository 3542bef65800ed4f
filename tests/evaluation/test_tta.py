"""Test-time augmentation: views map back to the image, and are merged before one suppression."""

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from gfl_tf.data.coco import load_coco
from gfl_tf.detectors.decoder import PredictionDecoder
from gfl_tf.evaluation import original_pixels, tta
from gfl_tf.training import run_dir

BOX = (0.1, 0.2, 0.4, 0.8)  # of the object in `FakeDetector`'s images, in parts of width and height
STDDEV = (1.0, 2.0, 3.0, 4.0)  # of its sides, in pixels of any view


class FakeDetector:
    """Finds `BOX` in any view of an image whose left half is the brighter one; surer in some views than in others.

    In views of at most 60 pixels it also finds a second object, in the lower right quarter.
    """

    num_classes = 2

    def __init__(self, score, **extras):
        self.score = score  # of (view's width, is mirrored), tensors
        self.extras = extras
        self.prediction_decoder = PredictionDecoder(max_detections=10)
        self.num_traces = 0

    def __call__(self, images, training):
        assert not training
        return images

    def candidates(self, images, canvas_shape):
        self.num_traces += 1
        height, width = tf.unstack(tf.cast(canvas_shape, tf.float32))
        middle = canvas_shape[1] // 2
        is_mirrored = tf.reduce_mean(images[:, :, :middle]) < tf.reduce_mean(images[:, :, middle:])

        def seen(x1, y1, x2, y2):
            left, right = tf.cond(is_mirrored, lambda: (1.0 - x2, 1.0 - x1), lambda: (x1, x2))
            return tf.stack([left * width, y1 * height, right * width, y2 * height])

        second_score = tf.where(width <= 60, 0.3, 0.0)
        sides = tf.gather(STDDEV, tf.where(is_mirrored, [2, 1, 0, 3], [0, 1, 2, 3]))
        return {
            "boxes": tf.stack([seen(*BOX), seen(0.5, 0.5, 1.0, 1.0)])[tf.newaxis],
            "scores": tf.stack([[self.score(width, is_mirrored), 0.0], [0.0, second_score]])[tf.newaxis],
            **{name: tf.stack([sides, sides])[tf.newaxis] for name in self.extras},
        }


def half_bright(height, width):
    image = np.zeros([height, width, 3], np.uint8)
    image[:, : width // 2] = 200
    return image


def real_detections(found):
    count = int(found["num_detections"][0])
    return {name: value[0, :count].numpy() for name, value in found.items() if name != "num_detections"}


@pytest.mark.parametrize("surest_is_mirrored", [False, True])
def test_merged_before_one_suppression(surest_is_mirrored):
    def score(width, is_mirrored):
        return width / 200.0 + tf.where(is_mirrored == surest_is_mirrored, 0.1, 0.0)

    height, width = 100, 203
    model = FakeDetector(score, edge_stddev=True)
    images = half_bright(height, width)[np.newaxis]
    found = real_detections(tta.detect(model, images, [(50, 40), (120, 70), (100, 100)]))
    # Six views found the first object and two the second; one suppression leaves each once, as the surest view has it.
    np.testing.assert_allclose(found["classes"], [0, 1])
    np.testing.assert_allclose(found["confidence"], [120 / 200 + 0.1, 0.3], rtol=1e-6)
    limit = np.array([width, height] * 2)
    np.testing.assert_allclose(found["boxes"], [BOX * limit, (0.5, 0.5, 1, 1) * limit], rtol=1e-5)
    # 100 x 203 becomes 59 x 120: in whole pixels, the axes' factors differ.
    np.testing.assert_allclose(found["edge_stddev"][0], STDDEV * limit / [120, 59, 120, 59], rtol=1e-5)


def test_without_edge_stddev():
    model = FakeDetector(lambda width, is_mirrored: 0.9)
    found = tta.detect(model, half_bright(40, 60)[np.newaxis], [(60, 40)])
    assert set(found) == {"boxes", "classes", "confidence", "num_detections"}


@pytest.fixture(scope="module")
def model_and_scale(tiny_run):
    model, config = run_dir.load_run(tiny_run)
    return model, tuple(config.data.scale)


@pytest.fixture(scope="module")
def noise():
    return tf.cast(tf.random.stateless_uniform([1, 190, 283, 3], [1, 2], maxval=256, dtype=tf.int32), tf.uint8)


def test_one_view_is_plain_detection(model_and_scale, noise):
    model, scale = model_and_scale
    plain = original_pixels.detect(model, noise, scale)
    found = tta.detect(model, noise, [scale], flip=False)
    assert plain["num_detections"] > 10 and set(plain) == set(found)
    for name, value in plain.items():
        np.testing.assert_allclose(found[name], value, rtol=1e-5, atol=1e-4, err_msg=name)


def test_mirror_image_has_mirrored_detections(model_and_scale, noise):
    model, scale = model_and_scale
    views = [scale, (120, 72)]
    found = real_detections(tta.detect(model, noise, views))
    mirrored = real_detections(tta.detect(model, tf.reverse(noise, [2]), views))
    width = noise.shape[2]
    assert len(found["boxes"]) > 10
    for name in ("classes", "confidence"):
        np.testing.assert_allclose(mirrored[name], found[name], rtol=1e-4)
    x1, y1, x2, y2 = found["boxes"].T
    np.testing.assert_allclose(mirrored["boxes"], np.stack([width - x2, y1, width - x1, y2], axis=-1), atol=0.02)
    np.testing.assert_allclose(mirrored["edge_stddev"], found["edge_stddev"][:, [2, 1, 0, 3]], rtol=1e-3)
    assert np.abs(found["edge_stddev"][:, 0] - found["edge_stddev"][:, 2]).max() > 1, "sides too much alike to tell"


def test_evaluate_has_one_trace_for_images_of_all_sizes(tmp_path):
    images, annotations = [], []
    for index, (height, width) in enumerate([(100, 203), (203, 100), (64, 64), (90, 91)]):
        stored, exif = half_bright(height, width), Image.Exif()
        if index == 1:  # lies on its side until EXIF is applied
            stored, exif[0x0112] = np.rot90(stored), 6
        Image.fromarray(stored).save(tmp_path / f"{index}.png", exif=exif)
        images.append({"id": 7 * index, "file_name": f"{index}.png", "height": height, "width": width})
        x1, y1, x2, y2 = (BOX * np.array([width, height] * 2)).tolist()
        annotations.append({"id": index, "image_id": 7 * index, "category_id": 0, "bbox": [x1, y1, x2 - x1, y2 - y1]})
    categories = [{"id": 0, "name": "left"}, {"id": 1, "name": "right"}]
    dataset = load_coco({"images": images, "annotations": annotations, "categories": categories}, tmp_path)
    model, seen = FakeDetector(lambda width, is_mirrored: 0.9), []
    result = tta.evaluate(
        model, dataset, [(160, 100), (300, 100)], progress=lambda done, total: seen.append((done, total))
    )
    assert result.per_class["left"] == pytest.approx(1.0) and len(result.detections) == 4
    assert seen == [(1, 4), (2, 4), (3, 4), (4, 4)]
    assert model.num_traces == 2, "the first view and the loop's, once for all images"

    model.num_classes = 3
    with pytest.raises(ValueError, match="3 classes.*left, right"):
        tta.evaluate(model, dataset, [(160, 100)])


def test_scales():
    assert tta.default_scales((1333, 800)) == ((800, 480), (1066, 640), (1333, 800), (1600, 960))
    for scales in ([], [(0, 5)], [(3, 4, 5)]):
        with pytest.raises(ValueError, match="at least one pair"):
            tta.detect(None, None, scales)
