"""Running exported models, with a detector that finds the bright rectangle of an image, exported in every format."""

import sys

import numpy as np
import pytest
import tensorflow as tf

from gfl_tf.serving import runners

pytestmark = pytest.mark.one_stack

BOX = (20, 30, 150, 90)  # x1, y1, x2, y2
D = 4


def picture(height=120, width=200, box=BOX):
    image = np.zeros([height, width, 3], np.uint8)
    image[box[1] : box[3], box[0] : box[2]] = 255
    return image


def find_bright(image):
    """The outputs of an export, of uint8 [1, h, w, 3]: two detections, the bright rectangle and its upper half."""
    bright = tf.cast(image[0, :, :, 0], tf.float32) > 127  # TFLite compares no uint8

    def first_and_end(is_bright):
        size = tf.cast(tf.size(is_bright), tf.float32)
        places = tf.range(size)
        first = tf.reduce_min(tf.where(is_bright, places, size))
        return first, tf.reduce_max(tf.where(is_bright, places, -1.0)) + 1

    y1, y2 = first_and_end(tf.reduce_any(bright, axis=1))
    x1, x2 = first_and_end(tf.reduce_any(bright, axis=0))
    boxes = tf.stack([tf.stack([y1, x1, y2, x2]), tf.stack([y1, x1, (y1 + y2) / 2, x2])])
    stddev = tf.stack([tf.stack([x1, y1, x2, y2]), tf.stack([x1, y1, x2, y2])])
    return {
        "detection_boxes": tf.pad(boxes, [[0, D - 2], [0, 0]])[tf.newaxis],
        "detection_scores": tf.constant([[0.75, 0.5, 0, 0]]),
        "detection_classes": tf.constant([[2, 0, -1, -1]]),
        "num_detections": tf.constant([2]),
        "detection_edge_stddev": tf.pad(stddev, [[0, D - 2], [0, 0]])[tf.newaxis],
    }


class BrightDetector(tf.Module):
    """As a SavedModel it has a variable, which is lost where nothing keeps the loaded model."""

    def __init__(self):
        self.one = tf.Variable(1.0)

    @tf.function(input_signature=[tf.TensorSpec([None, None, None, 3], tf.uint8, name="image_tensor")])
    def image_tensor(self, image_tensor):
        outputs = find_bright(image_tensor)
        return {**outputs, "detection_scores": outputs["detection_scores"] * self.one}


def test_saved_model(tmp_path):
    module = BrightDetector()
    tf.saved_model.save(module, str(tmp_path), signatures={"image_tensor": module.image_tensor})
    check_whole_answer(runners.load(tmp_path)(picture()), atol=0)


def check_whole_answer(found, atol):
    assert sorted(found) == ["boxes", "classes", "confidence", "edge_stddev"]
    x1, y1, x2, y2 = BOX
    np.testing.assert_allclose(found["boxes"], [BOX, (x1, y1, x2, (y1 + y2) / 2)], atol=atol)
    np.testing.assert_array_equal(found["confidence"], np.float32([0.75, 0.5]))
    np.testing.assert_array_equal(found["classes"], [2, 0])
    np.testing.assert_allclose(found["edge_stddev"], [BOX, BOX], atol=atol)
    assert all(value.dtype == np.float32 for name, value in found.items() if name != "classes")


def test_onnx(tmp_path):
    pytest.importorskip("onnxruntime")
    tf2onnx = pytest.importorskip("tf2onnx")
    specification = [tf.TensorSpec([1, None, None, 3], tf.uint8, name="image_tensor")]
    function = tf.function(find_bright, input_signature=specification)
    tf2onnx.convert.from_function(function, specification, opset=17, output_path=str(tmp_path / "model.onnx"))
    check_whole_answer(runners.load(tmp_path)(picture()), atol=0)


def test_onnx_without_onnxruntime(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    (tmp_path / "model.onnx").write_bytes(b"")
    with pytest.raises(ImportError, match="is an ONNX model; install onnxruntime"):
        runners.load(tmp_path)


def write_tflite(folder):
    """Writes the model.tflite of the detector on a canvas of 64 x 96."""

    @tf.function(
        input_signature=[
            tf.TensorSpec([1, 64, 96, 3], tf.uint8, name="image"),
            tf.TensorSpec([2], tf.int32, name="image_shape"),
        ]
    )
    def detect(image, image_shape):
        outputs = find_bright(image)
        # The inputs' names are kept only where both are read.
        return {**outputs, "detection_classes": outputs["detection_classes"] + 0 * tf.reduce_sum(image_shape)}

    module = tf.Module()
    module.detect = detect
    converter = tf.lite.TFLiteConverter.from_concrete_functions([detect.get_concrete_function()], module)
    (folder / "model.tflite").write_bytes(converter.convert())


@pytest.fixture(scope="module")
def tflite_version(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tflite")
    write_tflite(folder)
    return folder


def test_tflite_answers_in_pixels_of_the_image(tflite_version):
    detect = runners.load(tflite_version)
    # 120 x 200 becomes 58 x 96 on the canvas: a pixel there is about 2 of the image's.
    check_whole_answer(detect(picture()), atol=2.1)
    upright = detect(picture(200, 120, box=(30, 20, 90, 150)))
    np.testing.assert_allclose(upright["boxes"][0], (30, 20, 90, 150), atol=200 / 64)


def test_folder_without_a_model(tmp_path):
    with pytest.raises(ValueError, match="holds no exported model.*folder of one version"):
        runners.load(tmp_path)
    with pytest.raises(ValueError, match="holds no exported model"):
        runners.load(tmp_path / "absent")
