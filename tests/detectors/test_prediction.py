"""Decoding, the replaceable decoder, edge uncertainty, and saving."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import gfl_tf
from gfl_tf.ops.grid import Places

PLACE = Places(tf.constant([[[64.0, 48]]]), tf.constant([[16.0]]), None)
IMAGES = np.random.default_rng(0).uniform(0, 255, (2, 64, 96, 3)).astype(np.float32)


def make_confident(model):
    """Random weights large enough for scores on both sides of the threshold, and boxes of many small shapes."""
    keras.utils.set_random_seed(1)
    head = model.head
    for layer, deviation in ((head.classification, 0.6), (head.box, 0.6)):
        layer.kernel.assign(tf.random.normal(layer.kernel.shape, stddev=deviation))
    head.classification.bias.assign(tf.fill(head.classification.bias.shape, -2.0))
    bins = tf.range(model.boxes.num_bins + 1, dtype=tf.float32)
    head.box.bias.assign(tf.tile(-0.5 * bins, [4]))
    return model


@pytest.fixture(scope="module")
def model(build):
    return make_confident(build(gfl_tf.GFLV2, bounding_box_format="xywh", mean=(120.0, 110, 100), std=(60.0, 58, 57)))


def assert_same_detections(actual, expected):
    assert np.all(expected["num_detections"] > 5)
    for name, value in expected.items():
        np.testing.assert_allclose(actual[name], value, rtol=1e-5, atol=1e-4, err_msg=name)


def test_detections_are_consistent(model):
    """Sorted scores above the threshold, valid boxes inside the canvas, -1 after the last."""
    detections = model.predict(IMAGES, verbose=0)
    for image in range(2):
        count = detections["num_detections"][image]
        assert 3 < count <= 100
        confidence = detections["confidence"][image]
        assert (np.diff(confidence[:count]) <= 0).all() and confidence[count - 1] > 0.05
        x, y, width, height = detections["boxes"][image, :count].T
        assert min(x.min(), y.min(), width.min(), height.min()) >= 0
        assert (x + width).max() <= 96.001 and (y + height).max() <= 64.001
        assert set(detections["classes"][image, :count]) <= {0, 1, 2}
        assert (detections["edge_stddev"][image, :count] > 0).all()
        for name in ("boxes", "classes", "confidence", "edge_stddev"):
            assert (detections[name][image, count:] == -1).all(), name


def test_detect_is_predict_in_xyxy(model):
    """`detect` inside a `tf.function`; its boxes are clipped to each image's own shape when that is given."""
    detections = {name: value.numpy() for name, value in tf.function(model.detect)(tf.constant(IMAGES)).items()}
    expected = model.predict(IMAGES, verbose=0)
    boxes = expected.pop("boxes")
    xyxy = np.concatenate([boxes[..., :2], boxes[..., :2] + boxes[..., 2:]], axis=-1)
    is_detection = expected["classes"][..., np.newaxis] >= 0
    np.testing.assert_allclose(detections.pop("boxes"), np.where(is_detection, xyxy, -1), rtol=1e-5, atol=1e-4)
    assert_same_detections(detections, expected)
    small = model.detect(tf.constant(IMAGES), tf.constant([[64, 96], [40, 50]]))
    assert (small["boxes"][1] <= [50, 40, 50, 40]).numpy().all() and (small["boxes"][0] > 50).numpy().any()


def test_images_of_any_size_and_type(model):
    """333 x 517 pixels of uint8: boxes stay inside the image, not inside its padding to 352 x 544."""
    images = np.random.default_rng(0).integers(0, 256, (1, 333, 517, 3)).astype(np.uint8)
    detections = model.detect(images)
    boxes = detections["boxes"][0, : detections["num_detections"][0]].numpy()
    assert len(boxes) > 3
    assert boxes.min() >= 0 and boxes[:, 2].max() <= 517 and boxes[:, 3].max() <= 333
    as_float = model.detect(images.astype(np.float32))
    np.testing.assert_allclose(detections["boxes"], as_float["boxes"], atol=1e-3)


def test_decoder_can_be_replaced_after_predict(build):
    model = make_confident(build(gfl_tf.GFL))
    before = model.predict(IMAGES, verbose=0)
    assert (before["num_detections"] > 5).all()
    threshold = float(np.median(before["confidence"][before["classes"] >= 0]))
    model.prediction_decoder = gfl_tf.PredictionDecoder(score_threshold=threshold, max_detections=7)
    after = model.predict(IMAGES, verbose=0)
    assert after["boxes"].shape == (2, 7, 4)
    for image in range(2):
        count = min(7, (before["confidence"][image] > threshold).sum())
        assert after["num_detections"][image] == count
        np.testing.assert_allclose(after["boxes"][image, :count], before["boxes"][image, :count], rtol=1e-5)
    model.prediction_decoder = gfl_tf.PredictionDecoder(score_threshold=0.999999)
    assert not model.predict(IMAGES, verbose=0)["num_detections"].any()


def one_point_logits(per_side):
    """Box logits [1, 1, 4 * 17] of one point from {bin: probability} of left, top, right, bottom."""
    probabilities = np.full((4, 17), 1e-30, np.float32)
    for side, bins in enumerate(per_side):
        for index, probability in bins.items():
            probabilities[side, index] = probability
    return {"box": np.log(probabilities).reshape(1, 1, 68), "classification": np.zeros((1, 1, 3), np.float32)}


@pytest.mark.parametrize("bin_width", [1.0, 0.5])
def test_edge_standard_deviation_by_hand(model, build, bin_width):
    """A point at (64, 48) of stride 16.

    Left: half bin 2, half bin 4: mean 3, deviation 1. Top: certain, bin 1. Right: 3/4 at 0, 1/4 at 4: mean 1,
    variance 3/4 * 1 + 1/4 * 9 = 3. Bottom: bins 1 and 5, half each: mean 3, deviation 2. All times 16 x the bin width.
    """
    model = build(gfl_tf.GFL, bin_width=bin_width)
    outputs = one_point_logits([{2: 0.5, 4: 0.5}, {1: 1.0}, {0: 0.75, 4: 0.25}, {1: 0.5, 5: 0.5}])
    decoded = model.decode_candidates(outputs, PLACE)
    unit = 16 * bin_width
    expected_box = [64 - 3 * unit, 48 - 1 * unit, 64 + 1 * unit, 48 + 3 * unit]
    np.testing.assert_allclose(decoded["boxes"][0, 0], expected_box, rtol=1e-5)
    expected_stddev = [1 * unit, 0, 3**0.5 * unit, 2 * unit]
    np.testing.assert_allclose(decoded["edge_stddev"][0, 0], expected_stddev, rtol=1e-5, atol=1e-5)
    np.testing.assert_array_equal(model.score.scores(outputs)[0, 0], [0.5] * 3)


def test_scores_are_the_product(model):
    """GFLv2: 1 / (1 + e^-1) x 1 / (1 + e^-2)."""
    outputs = {**one_point_logits([{1: 1.0}] * 4), "quality": np.full((1, 1, 1), 2.0, np.float32)}
    outputs["classification"] += 1.0
    scores = model.score.scores(outputs)
    np.testing.assert_allclose(scores[0, 0], [1 / (1 + np.exp(-1)) / (1 + np.exp(-2))] * 3, rtol=1e-6)


def test_save_and_load(build, tmp_path):
    """The whole model in a .keras file: box format, pixel statistics, decoder and detections come back."""
    decoder = gfl_tf.PredictionDecoder(iou_threshold=0.45, max_detections=60)
    model = make_confident(
        build(
            gfl_tf.GFLV2,
            bounding_box_format="xywh",
            mean=(120.0, 110, 100),
            std=(60.0, 58, 57),
            prediction_decoder=decoder,
        )
    )
    expected = model.predict(IMAGES, verbose=0)
    model.save(tmp_path / "model.keras")
    restored = keras.models.load_model(tmp_path / "model.keras")
    assert type(restored) is gfl_tf.Detector
    assert restored.bounding_box_format == "xywh"
    assert restored.pad_value == (120, 110, 100)
    assert restored.prediction_decoder.get_config() == decoder.get_config()
    assert_same_detections(restored.predict(IMAGES, verbose=0), expected)
    restored.compile(optimizer="sgd", run_eagerly=True)
    labels = {"boxes": np.float32([[[5, 5, 40, 30]]] * 2), "classes": np.float32([[1]] * 2)}
    assert np.isfinite(restored.fit(tf.data.Dataset.from_tensors((IMAGES, labels)), verbose=0).history["loss"][0])


@pytest.mark.parametrize("option, known", [("nms", "soft_linear"), ("candidates", "pairs")])
def test_unknown_choice_is_named(option, known):
    with pytest.raises(ValueError, match=f"{option} is 'linear'; it must be one of .*{known}"):
        gfl_tf.PredictionDecoder(**{option: "linear"})


@pytest.mark.parametrize("options", [dict(soft_sigma=0.0), dict(soft_min_score=0.0)], ids=str)
def test_soft_settings_out_of_range(options):
    with pytest.raises(ValueError, match=f"{next(iter(options))} is 0.0; it must be a number above 0"):
        gfl_tf.PredictionDecoder(nms="soft_gaussian", **options)


def test_changed_decoder():
    """Only what was named changes, and the configuration holds every argument."""
    options = dict(
        score_threshold=0.1,
        candidates="pairs",
        candidates_per_level=7,
        nms="soft_linear",
        iou_threshold=0.65,
        soft_sigma=0.3,
        soft_min_score=0.01,
        class_wise=False,
        max_detections=9,
        voting_sigma=0.02,
    )
    decoder = gfl_tf.PredictionDecoder(**options)
    assert decoder.get_config() == options
    assert decoder.changed(soft_sigma=0.4).get_config() == {**options, "soft_sigma": 0.4}
    assert gfl_tf.PredictionDecoder.from_config(decoder.get_config()).get_config() == options


GAUSSIAN_DECAY = np.exp(-(0.5**2) / 0.25)


@pytest.mark.parametrize(
    "options, expected",
    [
        # At 0.6 all four pairs stay; at 0.1 one per class; over the classes' heads one per box.
        (dict(), [0.9, 0.8, 0.7, 0.6]),
        (dict(iou_threshold=0.1), [0.9, 0.8]),
        (dict(class_wise=False), [0.9, 0.7]),
        # The second box of each class is lowered, if its IoU of 0.5 reaches the threshold.
        (dict(nms="soft_linear"), [0.9, 0.8, 0.7, 0.6]),
        (dict(nms="soft_linear", iou_threshold=0.5), [0.9, 0.8, 0.35, 0.3]),
        (dict(nms="soft_linear", iou_threshold=0.5, soft_min_score=0.32), [0.9, 0.8, 0.35]),
        # 0.8 falls to 0, then 0.7 to 0.35, and 0.6 first to 0.3 and then to 0.
        (dict(nms="soft_linear", iou_threshold=0.5, class_wise=False), [0.9, 0.35]),
        (dict(nms="soft_gaussian", soft_sigma=0.25), [0.9, 0.8, 0.7 * GAUSSIAN_DECAY, 0.6 * GAUSSIAN_DECAY]),
        # The score threshold is for candidates: what falls below it later stays.
        (dict(nms="soft_linear", iou_threshold=0.5, score_threshold=0.5), [0.9, 0.8, 0.35, 0.3]),
    ],
    ids=str,
)
def test_decoder_options_reach_the_suppression(options, expected):
    """Two classes of one box, and a second box of IoU 0.5 with the first."""
    candidates = {
        "boxes": tf.constant([[[0.0, 0, 10, 10], [0, 0, 10, 5]]]),
        "scores": tf.constant([[[0.9, 0.8], [0.7, 0.6]]]),
    }
    detections = gfl_tf.PredictionDecoder(max_detections=5, **options).suppress(candidates)
    count = len(expected)
    assert detections["num_detections"] == [count]
    np.testing.assert_allclose(detections["confidence"][0], expected + [-1] * (5 - count), rtol=1e-5)


@pytest.mark.parametrize(
    "rule, expected",
    [
        ("points", [[[True, True], [True, True], [True, False]]]),
        ("pairs", [[[True, True], [False, False], [False, False]]]),
    ],
)
def test_candidate_rules_by_hand(rule, expected):
    """Two points of one level and one of the next, two candidates a level, threshold 0.3, a box without width.

    Points: each with its classes above 0.3. Pairs: both classes of the first point beat the second point's, and the
    box without width leaves.
    """
    decoder = gfl_tf.PredictionDecoder(score_threshold=0.3, candidates=rule, candidates_per_level=2)
    boxes = tf.constant([[[0.0, 0, 10, 10], [0, 0, 10, 5], [10, 0, 10, 5]]])
    scores = tf.constant([[[0.9, 0.8], [0.7, 0.6], [0.5, 0.3]]])
    np.testing.assert_array_equal(decoder.select_pairs(boxes, scores, tf.constant([5, 1])), expected)


def test_candidates_of_several_views_in_one_suppression(model):
    """The candidates of an image twice over, as a second view would add them, give the image's detections.

    Each detection and what comes with it is once there: its twin is suppressed, and votes as it does.
    """
    decoder = model.prediction_decoder.changed(voting_sigma=0.02)
    outputs = model(IMAGES)
    once = model.candidates(outputs, tf.constant([64, 96]), with_outputs=True)
    twice = tf.nest.map_structure(lambda value: tf.concat([value, value], axis=1), once)
    expected = decoder.suppress(once)
    assert set(expected) - set(model.detect(IMAGES)) == {"points_px", "point_strides", "outputs"}
    actual = decoder.suppress(twice)
    np.testing.assert_array_equal(actual["outputs"]["box"], expected["outputs"]["box"])
    assert_same_detections(actual, {name: value for name, value in expected.items() if name != "outputs"})
