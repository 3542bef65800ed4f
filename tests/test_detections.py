"""The record of detections: by hand, and that one line in it takes a new field to every output."""

import json

import numpy as np
import pytest
import tensorflow as tf

from gfl_tf import detections
from gfl_tf.detectors.decoder import PredictionDecoder
from gfl_tf.evaluation import original_pixels, tta
from gfl_tf.serving import canvas, requests, runners, signatures
from gfl_tf.visualization import predict

NAMES = ("cat", "dog")


def record():
    """Two images, the first of one detection and a row of padding."""
    return {
        "boxes": tf.constant([[[10, 5, 20, 40], [-1, -1, -1, -1]], [[-5, 0, 300, 300], [1, 2, 3, 4]]], tf.float32),
        "classes": tf.constant([[1.0, -1.0], [0.0, 1.0]]),
        "confidence": tf.constant([[0.75, -1.0], [0.5, 0.25]]),
        "edge_stddev": tf.constant([[[1, 2, 3, 4], [-1, -1, -1, -1]], [[1, 1, 1, 1], [2, 2, 2, 2]]], tf.float32),
        "num_detections": tf.constant([1, 2]),
        "anything": tf.constant([7, 8]),
    }


def test_to_original_pixels():
    found = detections.to_original(record(), [100, 150], [50, 100])
    np.testing.assert_allclose(found["boxes"][0], [[15, 10, 30, 80], [-1, -1, -1, -1]])
    np.testing.assert_allclose(found["boxes"][1], [[0, 0, 150, 100], [1.5, 4, 4.5, 8]])
    np.testing.assert_allclose(found["edge_stddev"][0], [[1.5, 4, 4.5, 8], [-1, -1, -1, -1]])
    for name in ("classes", "confidence", "num_detections", "anything"):
        np.testing.assert_array_equal(found[name], record()[name])
    of_each = detections.to_original(record(), tf.constant([[100, 150], [50, 100]]), tf.constant([[50, 100]] * 2))
    np.testing.assert_allclose(of_each["boxes"][0], found["boxes"][0])
    np.testing.assert_allclose(of_each["boxes"][1], [[0, 0, 100, 50], [1, 2, 3, 4]])


def test_candidates_have_no_padding():
    candidates = {"boxes": tf.constant([[[1.0, 1, 5, 5]]]), "scores": tf.zeros([1, 1, 2])}
    found = detections.to_original(candidates, [20, 20], [10, 10])
    np.testing.assert_allclose(found["boxes"], [[[2, 2, 10, 10]]])
    np.testing.assert_array_equal(found["scores"], candidates["scores"])


def test_mirrored():
    found = detections.mirrored({name: record()[name][0, :1] for name in ("boxes", "confidence", "edge_stddev")}, 50.0)
    np.testing.assert_allclose(found["boxes"], [[30, 5, 40, 40]])
    np.testing.assert_allclose(found["edge_stddev"], [[3, 2, 1, 4]])
    np.testing.assert_allclose(found["confidence"], [0.75])


def test_at_candidates():
    values = {"a": tf.constant([[1.0, 2, 3]]), "nested": {"b": tf.constant([[[1, 1], [2, 2], [3, 3]]])}}
    found = detections.at_candidates(values, tf.constant([[2, 0, -1]]))
    np.testing.assert_array_equal(found["a"], [[3, 1, -1]])
    np.testing.assert_array_equal(found["nested"]["b"], [[[3, 3], [1, 1], [-1, -1]]])


def test_of_image_and_select():
    found = detections.of_image(record(), 0)
    assert sorted(found) == ["boxes", "classes", "confidence", "edge_stddev"]
    np.testing.assert_array_equal(found["boxes"], [[10, 5, 20, 40]])
    both = detections.of_image(record(), 1)
    np.testing.assert_array_equal(detections.select(both, both["confidence"] > 0.3)["boxes"], [[-5, 0, 300, 300]])


def test_served_and_back():
    served = detections.to_served(record(), NAMES)
    np.testing.assert_array_equal(served["detection_boxes"][0], [[5, 10, 40, 20], [0, 0, 0, 0]])
    np.testing.assert_array_equal(served["detection_scores"], [[0.75, 0], [0.5, 0.25]])
    np.testing.assert_array_equal(served["detection_classes"], [[1, -1], [0, 1]])
    np.testing.assert_array_equal(served["detection_class_names"], [[b"dog", b""], [b"cat", b"dog"]])
    np.testing.assert_array_equal(served["detection_edge_stddev"][0], [[1, 2, 3, 4], [0, 0, 0, 0]])
    np.testing.assert_array_equal(served["num_detections"], [1, 2])
    assert served["detection_classes"].dtype == tf.int32
    assert "detection_class_names" not in detections.to_served(record())
    for name, values in served.items():
        if name != "num_detections":
            padding = tf.constant(detections.served_padding(name, values.dtype), values.dtype)
            assert tf.reduce_all(values[0, 1] == padding), name
    for image in range(2):
        expected = detections.of_image(record(), image)
        found = detections.from_served({name: value[image].numpy() for name, value in served.items()})
        assert [name.decode() for name in found.pop("class_names")] == [NAMES[int(i)] for i in expected["classes"]]
        assert found.keys() == expected.keys()
        for name, values in expected.items():
            np.testing.assert_array_equal(found[name], values, err_msg=name)
    nothing = detections.from_served({name: [] for name in served if name != "num_detections"} | {"num_detections": 0})
    assert nothing["boxes"].shape == nothing["edge_stddev"].shape == (0, 4) and len(nothing["classes"]) == 0


def test_values_of_several_levels():
    """[L, 4] a detection: scaled, mirrored, served and written as those of one level."""
    found = {**record(), "edge_interval": tf.constant([[[[1.0, 2, 3, 4]] * 2, [[-1.0] * 4] * 2]] * 2)}
    in_original = detections.to_original(found, tf.constant([[100, 150], [50, 100]]), tf.constant([[50, 100]] * 2))
    np.testing.assert_allclose(in_original["edge_interval"][0, 0], [[1.5, 4, 4.5, 8]] * 2)
    np.testing.assert_allclose(in_original["edge_interval"][0, 1], [[-1] * 4] * 2)
    np.testing.assert_allclose(in_original["edge_interval"][1, 0], [[1, 2, 3, 4]] * 2)
    np.testing.assert_allclose(detections.mirrored(found, 50.0)["edge_interval"][0, 0], [[3, 2, 1, 4]] * 2)
    served = {name: value[0].numpy() for name, value in detections.to_served(found, NAMES).items()}
    assert (served["detection_edge_interval"][1] == 0).all()
    back = detections.from_served(served)
    np.testing.assert_array_equal(back["edge_interval"], [[[1, 2, 3, 4]] * 2])
    assert detections.to_json(back)[0]["edge_interval"] == [[1.0, 2.0, 3.0, 4.0]] * 2
    scaled = detections.scaled(detections.of_image(found, 0), np.array([2.0, 1, 2, 1]))
    np.testing.assert_array_equal(scaled["edge_interval"], [[[2, 2, 6, 4]] * 2])


def test_json():
    expected = {"class": "dog", "class_index": 1, "score": 0.75, "box": [10, 5, 20, 40], "edge_stddev": [1, 2, 3, 4]}
    rows = detections.to_json(detections.of_image(record(), 0), NAMES)
    assert rows == [expected] and list(rows[0]) == list(expected)
    # The same from an answer of TensorFlow Serving.
    served = detections.to_served(record(), NAMES)
    prediction = {name: value[0].numpy().tolist() for name, value in served.items()}
    assert requests.answer(prediction) == {"status": "ok", "detections": [expected]}
    rounded = {"boxes": [[1.2345, 2, 3, 4]], "classes": [0], "confidence": np.float32([1 / 3])}
    rows = json.loads(json.dumps(detections.to_json(rounded)))
    assert rows == [{"class_index": 0, "score": 0.3333, "box": [1.23, 2, 3, 4]}]


def test_coco():
    found = detections.of_image(record(), 1)
    found["boxes"] = np.float32([[1, 2, 4, 8], [5, 5, 5, 9]])  # the second has no area
    columns = {name: values.tolist() for name, values in detections.to_coco_columns(found, (3, 90)).items()}
    assert columns == {"class": [0], "bbox": [[1, 2, 3, 6]], "score": [0.5]}


# One line for a new field.


class Detector:
    """Finds one thing in the middle of any image, and how sharp and how large it is."""

    pad_value = (0.0, 0.0, 0.0)
    num_classes = 2
    prediction_decoder = PredictionDecoder(max_detections=3)

    def __call__(self, images, training=False):
        return {"brightness": tf.reduce_mean(tf.cast(images, tf.float32), axis=[2, 3])}

    def candidates(self, outputs, canvas_shape, image_shape=None, with_outputs=False, decoder=None):
        height, width = tf.unstack(tf.cast(canvas_shape, tf.float32))
        brightness = tf.reduce_mean(outputs["brightness"], axis=1) / 255.0  # [B]

        def per_image(values):  # one candidate: [B, 1, n]
            return values + 0.0 * brightness[:, tf.newaxis, tf.newaxis]

        box = tf.stack([0.25 * width, 0.5 * height, 0.75 * width, height])
        return {
            "boxes": per_image(box),
            "scores": per_image(tf.constant([0.0, 0.9])),
            "sharpness": 0.2 + brightness[:, tf.newaxis],
            "radius_px": per_image(tf.stack([0.5 * width, 0.25 * height, 0.5 * width, 0.25 * height])),
        }

    def detect(self, images, image_shape=None, with_outputs=False):
        return self.prediction_decoder.suppress(self.candidates(self(images), tf.shape(images)[1:3]))


@pytest.fixture
def more_fields(monkeypatch):
    more = (
        detections.Field("sharpness", detections.NUMBER, "detection_sharpness", "sharpness", digits=1),
        detections.Field("radius_px", detections.SIDES, "detection_radii", "radii", digits=1),
    )
    monkeypatch.setattr(detections, "FIELDS", (*detections.FIELDS, *more))


EXPECTED = {
    "class": "dog", "class_index": 1, "score": 0.9, "box": [50, 50, 150, 100],
    "sharpness": 0.6, "radii": [100, 25, 100, 25],
}  # fmt: skip


def test_a_new_field_reaches_every_output(more_fields, tmp_path):
    model, decoder, scale = Detector(), Detector.prediction_decoder, (100, 50)
    images = np.full([1, 100, 200, 3], 102, np.uint8)
    found = original_pixels.detect(model, images, scale)
    assert detections.to_json(detections.of_image(found), NAMES) == [EXPECTED]
    found = predict.detect_function(model, scale, with_distributions=False)(images)
    assert detections.to_json(detections.of_image(found), NAMES) == [EXPECTED]
    found = tta.detect(model, images, [(100, 50), (300, 90)])
    assert detections.to_json(detections.of_image(found), NAMES) == [EXPECTED]

    served, _ = signatures.trace(model, scale, NAMES, decoder, on_bad_image="report")
    outputs = served["image_tensor"](tf.constant(images))
    assert outputs["detection_sharpness"].shape == (1, 3) and outputs["detection_radii"].shape == (1, 3, 4)
    assert outputs["detection_sharpness"][0, 1:].numpy().tolist() == [0, 0]
    prediction = {name: value[0].numpy().tolist() for name, value in outputs.items()}
    assert requests.answer(prediction)["detections"] == [EXPECTED]

    encoded = tf.constant([b"not an image", tf.io.encode_png(images[0]).numpy()])
    outputs = served["serving_default"](encoded)
    assert not outputs["detection_sharpness"][0].numpy().any()
    prediction = {name: np.asarray(value[1]).tolist() for name, value in outputs.items()}
    prediction["status"] = prediction["status"].decode()
    assert requests.answer(prediction) == {"status": "ok", "detections": [EXPECTED]}
    options = {"score_threshold": tf.constant([0.1, 0.1]), "max_detections": tf.constant([1, 1])}
    outputs = served["image_bytes_with_options"](image_bytes=encoded, **options)
    assert outputs["detection_sharpness"].shape == (2, 1) and outputs["detection_radii"].shape == (2, 1, 4)

    detect = canvas.detect_canvas(model, 64, 96)
    (tmp_path / "model.tflite").write_bytes(
        tf.lite.TFLiteConverter.from_concrete_functions([detect.get_concrete_function()], tf.Module()).convert()
    )
    found = runners.load(tmp_path)(images[0])
    assert found["sharpness"].shape == (1,) and found["radius_px"].shape == (1, 4)
