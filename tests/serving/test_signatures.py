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
    "detection_class_names": (tf.string, (D,)),
    "num_detections": (tf.int32, ()),
    "detection_edge_stddev": (tf.float32, (D, 4)),
}
STATUS = {"status": (tf.string, ())}


@pytest.fixture(scope="module")
def model_and_config(tiny_run):
    return run_dir.load_run(tiny_run)


def trace(model, config, decoder=None, **options):
    decoder = decoder or model.prediction_decoder
    return signatures.trace(model, config.data.scale, config.data.class_names, decoder, **options)[0]


@pytest.fixture(scope="module")
def traced(model_and_config):
    model, config = model_and_config
    decoder = model.prediction_decoder
    return signatures.trace(model, config.data.scale, config.data.class_names, decoder, max_pixels=1 << 20)


@pytest.fixture(scope="module")
def served(traced):
    return traced[0]


@pytest.fixture(scope="module")
def reporting(model_and_config):
    """Reports bad images; a request may ask for no more than the export has."""
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setattr(signatures, "MAX_DETECTIONS_PER_REQUEST", 5)
        return trace(*model_and_config, on_bad_image="report")


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
        if value.dtype == tf.string:
            np.testing.assert_array_equal(found[name], value, err_msg=name)
        else:
            np.testing.assert_allclose(found[name], value, atol=tolerance, rtol=1e-4, err_msg=name)


def row_of(outputs, row, without=()):
    return {name: value[row] for name, value in outputs.items() if name not in without}


def test_shapes_types_and_padding(served):
    outputs = served["image_tensor"](pixels(40, 64)[np.newaxis])
    assert {name: (value.dtype, tuple(value.shape[1:])) for name, value in outputs.items()} == KEYS
    for name, keys in (("image_tensor", KEYS), ("serving_default", {**KEYS, **STATUS})):
        specs = served[name].structured_outputs
        assert {key: (spec.dtype, tuple(spec.shape[1:])) for key, spec in specs.items()} == keys, name
    count = outputs["num_detections"].numpy()[0]
    assert 0 < count <= D
    scores = outputs["detection_scores"].numpy()[0]
    assert (np.diff(scores[:count]) <= 0).all() and (scores[:count] > 0.4).all()
    names = np.array([b"circle", b"square", b"star"])
    classes = outputs["detection_classes"].numpy()[0, :count]
    assert (outputs["detection_class_names"].numpy()[0, :count] == names[classes]).all()


def test_rows_after_the_last_detection(served, model_and_config):
    model, config = model_and_config
    decoder = model.prediction_decoder
    scores = served["image_tensor"](pixels(40, 64)[np.newaxis])["detection_scores"][0]
    fewer = decoder.changed(score_threshold=float(scores[2]))
    outputs = trace(model, config, fewer)["image_tensor"](pixels(40, 64)[np.newaxis])
    assert outputs["num_detections"].numpy() == [2]
    for name in ("detection_boxes", "detection_scores", "detection_edge_stddev"):
        assert (outputs[name].numpy()[0, :2] != 0).any() and (outputs[name].numpy()[0, 2:] == 0).all()
    assert (outputs["detection_classes"].numpy()[0, :2] >= 0).all()
    assert (outputs["detection_classes"].numpy()[0, 2:] == -1).all()
    assert (outputs["detection_class_names"].numpy()[0, 2:] == b"").all()


@pytest.mark.parametrize("size", [(333, 517), (7, 200)])
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
    found = {name: value.numpy()[0, :count] for name, value in outputs.items() if value.shape.rank > 1}
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
        assert_same(row_of(together, row), row_of(alone, 0), 1e-6)
        assert_same(row_of(alone, 0, STATUS), row_of(served["image_tensor"](image[np.newaxis]), 0))


def test_tensor_batch_is_row_by_row(served):
    images = np.stack([pixels(64, 96, seed=seed) for seed in range(3)])
    together = served["image_tensor"](images)
    for row, image in enumerate(images):
        alone = served["image_tensor"](image[np.newaxis])
        assert_same(row_of(together, row), row_of(alone, 0))


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
        assert_same(row_of(found, 0, STATUS), row_of(expected, 0))


def test_empty_batch(served):
    none = tf.zeros([0], tf.string)
    assert served["serving_default"](none)["detection_boxes"].shape == (0, D, 4)
    options = {"score_threshold": tf.zeros([0]), "max_detections": tf.zeros([0], tf.int32)}
    assert served["image_bytes_with_options"](image_bytes=none, **options)["detection_boxes"].shape == (0, 0, 4)
    outputs = served["image_tensor"](tf.zeros([0, 64, 96, 3], tf.uint8))
    assert {name: (value.dtype, tuple(value.shape)) for name, value in outputs.items()} == {
        name: (dtype, (0, *shape)) for name, (dtype, shape) in KEYS.items()
    }


def test_bad_images_fail_the_request_by_name(served):
    good = png(pixels(33, 47))
    message = r"image_bytes\[1\]: empty.*image_bytes\[3\]: not a JPEG, PNG, BMP or GIF image"
    with pytest.raises(tf.errors.InvalidArgumentError, match=message):
        served["serving_default"]([good, b"", good, b"not an image"])
    with pytest.raises(tf.errors.InvalidArgumentError, match=r"image_bytes\[0\].*2000 x 1000.*1048576"):
        served["serving_default"]([png(np.zeros((1000, 2000, 3), np.uint8))])


def test_bad_images_leave_the_others_alone(reporting, served):
    good = png(pixels(64, 96))
    outputs = reporting["serving_default"]([good, b"", good[:-30], good])
    alone = served["serving_default"]([good])
    for row in (0, 3):
        assert_same(row_of(outputs, row), row_of(alone, 0), 1e-6)
    status = outputs["status"].numpy()
    assert status[0] == b"ok" and status[1].startswith(b"empty") and b"cannot be decoded" in status[2]
    for row in (1, 2):
        for name, value in row_of(outputs, row, STATUS).items():
            padding = {"detection_classes": -1, "detection_class_names": b""}.get(name, 0)
            assert (value.numpy() == padding).all(), name


def test_options_of_a_request(served):
    images = [png(pixels(64, 96, seed=1)), png(pixels(96, 160, seed=2)), png(pixels(33, 47, seed=3))]
    default = served["serving_default"](images)
    third = float(default["detection_scores"][2, 3])  # above it are three
    outputs = served["image_bytes_with_options"](
        image_bytes=tf.constant(images),
        score_threshold=tf.constant([0.4, 0.1, third]),  # the model has 0.4
        max_detections=tf.constant([5, D + 1, D]),
    )
    assert outputs["detection_boxes"].shape == (3, D + 1, 4)
    assert (default["num_detections"].numpy() == D).all(), "there are not enough detections to test with"
    assert outputs["num_detections"].numpy().tolist() == [5, D + 1, 3]
    for row, count in enumerate((5, D, 3)):
        for name, value in row_of(default, row, {"num_detections", "status"}).items():
            found = outputs[name][row]
            np.testing.assert_array_equal(found[:count], value[:count], err_msg=name)
        assert (outputs["detection_classes"].numpy()[row, max(count, D + 1 if row == 1 else 0) :] == -1).all()


def test_options_out_of_range(served, reporting):
    most, none = (
        reporting["image_bytes_with_options"](
            image_bytes=tf.constant([png(pixels(64, 96))]),
            score_threshold=tf.constant([threshold]),
            max_detections=tf.constant([99]),
        )
        for threshold in (-1.0, 0.0)
    )
    assert most["detection_boxes"].shape == (1, D, 4) and most["num_detections"].numpy().tolist() == [D]
    assert_same(most, none, 0)
    outputs = served["image_bytes_with_options"](
        image_bytes=tf.constant([png(pixels(64, 96))] * 2),
        score_threshold=tf.constant([np.nan, 0.4]),
        max_detections=tf.constant([5, -7]),
    )
    assert outputs["detection_boxes"].shape == (2, 5, 4) and outputs["num_detections"].numpy().tolist() == [0, 0]


@pytest.mark.parametrize(["thresholds", "most"], [(1, 3), (1, 0), (2, 1), (2, 3), (3, 2), (1, 2)])
def test_options_of_fewer_or_more_images(served, thresholds, most):
    with pytest.raises(tf.errors.InvalidArgumentError, match=f"max_detections have 2, {thresholds}, {most} items"):
        served["image_bytes_with_options"](
            image_bytes=tf.constant([png(pixels(64, 96))] * 2),
            score_threshold=tf.fill([thresholds], 0.4),
            max_detections=tf.fill([most], 5),
        )


def test_stages_make_up_the_whole(traced):
    served, stages = traced
    encoded = png(pixels(200, 90))
    decoded = stages["decode"](tf.constant(encoded))
    assert decoded["status"] == b"ok"
    images = decoded["image"][tf.newaxis]
    resized = stages["resize"](images)
    shapes = tf.shape(images)[1:3], tf.shape(resized)[1:3]
    outputs = stages["detections"](stages["network"](resized), *shapes)
    assert_same(row_of(outputs, 0), row_of(served["serving_default"]([encoded]), 0, STATUS), 1e-6)


@pytest.mark.slow
def test_a_detector_without_distributions(tiny_atss):
    """ATSS: no edge uncertainty, all else as the others. VarifocalNet: in test_clients.py."""
    image = pixels(50, 70)
    served, _ = signatures.trace(tiny_atss, (160, 96), ("circle", "square", "star"), tiny_atss.prediction_decoder)
    outputs = served["serving_default"]([png(image)])
    keys = {name: key for name, key in {**KEYS, **STATUS}.items() if name != "detection_edge_stddev"}
    assert {name: (value.dtype, tuple(value.shape[1:])) for name, value in outputs.items()} == keys
    assert outputs["num_detections"][0] > 0
    assert_same(row_of(outputs, 0, STATUS), row_of(served["image_tensor"](image[np.newaxis]), 0))
