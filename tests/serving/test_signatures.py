"""The served functions: what goes in, what comes out, and that it is what the model itself finds."""

import numpy as np
import pytest
import tensorflow as tf

from gfl_tf.data import images as image_ops
from gfl_tf.serving import signatures
from gfl_tf.training import run_dir

D = 20
KEYS = {
    "detection_boxes": (tf.float32, (D, 4)),
    "detection_scores": (tf.float32, (D,)),
    "detection_classes": (tf.int32, (D,)),
    "num_detections": (tf.int32, ()),
    "detection_edge_stddev": (tf.float32, (D, 4)),
}


@pytest.fixture(scope="module")
def model_and_config(tiny_run):
    return run_dir.load_run(tiny_run)


@pytest.fixture(scope="module")
def served(model_and_config):
    model, config = model_and_config
    return signatures.trace(model, config.data.scale)


def pixels(height, width, channels=3, seed=0):
    """A smooth random picture, uint8."""
    coarse = np.random.default_rng(seed).uniform(0, 255, (5, 6, channels))
    return tf.cast(tf.clip_by_value(tf.image.resize(coarse, (height, width), "bicubic"), 0, 255), tf.uint8).numpy()


def png(image):
    return tf.io.encode_png(image).numpy()


def bmp(image):
    """An uncompressed 24-bit BMP file."""
    height, width, _ = image.shape
    rows = np.zeros((height, -(-width * 3 // 4) * 4), np.uint8)
    rows[:, : width * 3] = image[::-1, :, ::-1].reshape(height, -1)
    size = 54 + rows.size
    header = b"BM" + size.to_bytes(4, "little") + bytes(4) + (54).to_bytes(4, "little") + (40).to_bytes(4, "little")
    header += width.to_bytes(4, "little") + height.to_bytes(4, "little") + b"\1\0\x18\0" + bytes(24)
    return header + rows.tobytes()


def assert_same(found, expected, tolerance=1e-3):
    assert set(found) == set(expected)
    for name, value in expected.items():
        np.testing.assert_allclose(found[name], value, atol=tolerance, rtol=1e-4, err_msg=name)


def test_shapes_types_and_padding(served):
    outputs = served["image_tensor"](pixels(40, 64)[np.newaxis])
    assert {name: (value.dtype, tuple(value.shape[1:])) for name, value in outputs.items()} == KEYS
    for name, function in served.items():
        declared = {key: (spec.dtype, tuple(spec.shape[1:])) for key, spec in function.structured_outputs.items()}
        assert declared == KEYS, name
    count = outputs["num_detections"].numpy()[0]
    assert 0 < count <= D
    scores = outputs["detection_scores"].numpy()[0]
    assert (np.diff(scores[:count]) <= 0).all() and (scores[:count] > 0.4).all()
    assert set(outputs["detection_classes"].numpy()[0, :count]) <= {0, 1, 2}


def test_rows_after_the_last_detection(served, model_and_config):
    model, config = model_and_config
    decoder = model.prediction_decoder
    scores = served["image_tensor"](pixels(40, 64)[np.newaxis])["detection_scores"][0]
    model.prediction_decoder = type(decoder)(**{**decoder.get_config(), "score_threshold": float(scores[2])})
    outputs = signatures.trace(model, config.data.scale)["image_tensor"](pixels(40, 64)[np.newaxis])
    model.prediction_decoder = decoder
    assert outputs["num_detections"].numpy() == [2]
    for name in ("detection_boxes", "detection_scores", "detection_edge_stddev"):
        assert (outputs[name].numpy()[0, :2] != 0).any() and (outputs[name].numpy()[0, 2:] == 0).all()
    assert (outputs["detection_classes"].numpy()[0, :2] >= 0).all()
    assert (outputs["detection_classes"].numpy()[0, 2:] == -1).all()


@pytest.mark.parametrize("size", [(96, 160), (333, 517), (75, 31), (7, 200)])
def test_finds_what_predict_finds(served, model_and_config, size):
    model, config = model_and_config
    image = pixels(*size)
    resized = image_ops.resize_keep_ratio(image, config.data.scale)
    expected = model.predict(resized[tf.newaxis], verbose=0)
    outputs = served["image_tensor"](image[np.newaxis])
    count = int(expected["num_detections"][0])
    assert count > 0 and outputs["num_detections"].numpy() == [count]
    # The model pads to 32 and clips to that; serving clips to the image.
    to_original = np.tile(np.divide(size, resized.shape[:2])[::-1], 2)
    boxes = np.clip(expected["boxes"][0, :count] * to_original, 0, np.tile(size[::-1], 2))
    found = {name: value.numpy()[0, :count] for name, value in outputs.items() if name != "num_detections"}
    np.testing.assert_allclose(found["detection_boxes"], boxes[:, [1, 0, 3, 2]], atol=1e-3)
    np.testing.assert_allclose(found["detection_scores"], expected["confidence"][0, :count], atol=1e-5)
    np.testing.assert_array_equal(found["detection_classes"], expected["classes"][0, :count])
    np.testing.assert_allclose(
        found["detection_edge_stddev"], expected["edge_stddev"][0, :count] * to_original, rtol=1e-4
    )


def test_boxes_end_at_the_image(served):
    # Resized to 96 x 101: the network sees 96 x 128, and some of its boxes reach into the padding.
    height, width = 190, 200
    y1, x1, y2, x2 = served["image_tensor"](pixels(height, width)[np.newaxis])["detection_boxes"].numpy()[0].T
    assert min(y1.min(), x1.min()) >= 0 and y2.max() <= height and x2.max() <= width
    assert x2.max() == width, "no box reaches the edge: the test does not test clipping"


def test_each_image_of_a_mixed_batch_is_alone(served):
    images = [pixels(64, 96, seed=1), pixels(200, 90, seed=2), pixels(33, 47, seed=3), pixels(64, 96, seed=4)]
    together = served["serving_default"]([png(image) for image in images])
    for row, image in enumerate(images):
        alone = served["serving_default"]([png(image)])
        assert alone["num_detections"][0] > 0
        assert_same({name: value[row] for name, value in together.items()}, {n: v[0] for n, v in alone.items()}, 1e-6)
        assert_same(alone, served["image_tensor"](image[np.newaxis]))


def test_tensor_batch_is_row_by_row(served):
    images = np.stack([pixels(64, 96, seed=seed) for seed in range(3)])
    together = served["image_tensor"](images)
    for row, image in enumerate(images):
        alone = served["image_tensor"](image[np.newaxis])
        assert_same({name: value[row] for name, value in together.items()}, {n: v[0] for n, v in alone.items()})


def test_formats(served):
    image = pixels(50, 70)
    grey, rgba = image[..., :1], np.concatenate([image, image[..., :1]], axis=-1)
    jpeg = tf.io.encode_jpeg(image, quality=100).numpy()
    gif = b"GIF87a\x02\0\x02\0\x80\0\0\0\0\0\xff\xff\xff,\0\0\0\0\x02\0\x02\0\0\x02\x03D\x02\x05\0;"
    cases = {
        "rgba png": (png(rgba), image),
        "grey png": (png(grey), np.repeat(grey, 3, axis=-1)),
        "jpeg": (jpeg, tf.io.decode_jpeg(jpeg, dct_method="INTEGER_ACCURATE").numpy()),
        "bmp": (bmp(image), image),
        "gif": (gif, tf.io.decode_gif(gif)[0].numpy()),
    }
    for name, (encoded, decoded) in cases.items():
        found, expected = served["serving_default"]([encoded]), served["image_tensor"](decoded[np.newaxis])
        assert expected["num_detections"][0] > 0, name
        assert_same(found, expected)


def test_empty_batch(served):
    assert served["serving_default"](tf.zeros([0], tf.string))["detection_boxes"].shape == (0, D, 4)


def test_not_an_image(served):
    with pytest.raises(tf.errors.InvalidArgumentError):
        served["serving_default"]([b"not an image"])


def test_mixed_precision(tiny_run):
    run = run_dir.RunDirectory(tiny_run)
    config = run.read_config()
    config.precision = "mixed_bfloat16"
    model = run_dir.build_model(config)
    model.load_weights(run.weights_file("best"))
    outputs = signatures.trace(model, config.data.scale)["serving_default"]([png(pixels(50, 70))])
    assert {name: (value.dtype, tuple(value.shape[1:])) for name, value in outputs.items()} == KEYS
    assert outputs["num_detections"][0] > 0
    assert all(np.isfinite(value).all() for value in outputs.values())


@pytest.mark.parametrize("detector", ["tiny_atss", "tiny_vfnet"])
def test_a_detector_without_distributions(request, detector):
    """ATSS and VarifocalNet: no edge uncertainty, all else as the others."""
    image = pixels(50, 70)
    served = signatures.trace(request.getfixturevalue(detector), (160, 96))
    outputs = served["serving_default"]([png(image)])
    keys = {name: key for name, key in KEYS.items() if name != "detection_edge_stddev"}
    assert {name: (value.dtype, tuple(value.shape[1:])) for name, value in outputs.items()} == keys
    assert outputs["num_detections"][0] > 0
    assert_same(outputs, served["image_tensor"](image[np.newaxis]))
