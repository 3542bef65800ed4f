"""ATSS where the reference has no values: perfect boxes, empty images, weights, ranking; training and saving."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import gfl_tf
from gfl_tf import losses
from gfl_tf.detectors.atss import centerness
from gfl_tf.ops import points as point_ops

CANVAS = (64, 96)
NUM_POINTS = 8 * 12 + 4 * 6 + 2 * 3 + 1 * 2 + 1
IMAGES = np.random.default_rng(0).uniform(0, 255, (2, *CANVAS, 3)).astype(np.float32)
BOXES = np.float32([[[10, 4, 50, 44], [40, 8, 72, 56]], [[20, 6, 60, 60], [-1, -1, -1, -1]]])  # xyxy
CLASSES = np.float32([[0, 2], [1, -1]])


@pytest.fixture(scope="module")
def model(build):
    return build(gfl_tf.ATSS)


def random_outputs(seed=0):
    rng = np.random.default_rng(seed)
    sizes = {"classification": 3, "box": 4, "centerness": 1}
    return {name: tf.constant(rng.normal(0, 1, (2, NUM_POINTS, n)).astype(np.float32)) for name, n in sizes.items()}


def parts_of(model, outputs, boxes=BOXES, classes=CLASSES, image_shape=(CANVAS, CANVAS)):
    return model.detection_losses(
        outputs, tf.constant(boxes), tf.constant(classes, tf.int32), tf.constant(image_shape), tf.constant(CANVAS)
    )


@pytest.mark.parametrize(
    "distances, expected",
    [
        ([5.0, 7, 5, 7], 1.0),
        ([1.0, 2, 4, 8], (1 / 4 * 2 / 8) ** 0.5),
        ([4.0, 8, 1, 2], (1 / 4 * 2 / 8) ** 0.5),
        ([0.0, 3, 9, 3], 0.0),
        ([-1.0, 3, 9, 3], 0.0),
    ],
)
def test_centerness_by_hand(distances, expected):
    np.testing.assert_allclose(centerness(tf.constant(distances)), expected, rtol=1e-6)


def perfect_outputs(box, label):
    """Raw outputs that say exactly `box`, its class and its centerness at every point."""
    points_px, strides = point_ops.grid_points(tf.constant(CANVAS))
    box = tf.constant(box)
    side = strides[:, tf.newaxis] * 8.0  # of the anchors, centred at the points
    shift = ((box[:2] + box[2:]) / 2.0 - points_px) / side
    encoded = tf.concat([shift / 0.1, tf.math.log((box[2:] - box[:2]) / side) / 0.2], axis=-1)
    central = centerness(tf.concat([points_px - box[:2], box[2:] - points_px], axis=-1))
    central = tf.clip_by_value(central, 1e-6, 1 - 1e-6)
    return {
        "box": encoded[tf.newaxis],
        "classification": tf.tile([[30.0 if i == label else -30.0 for i in range(3)]], [NUM_POINTS, 1])[tf.newaxis],
        "centerness": tf.math.log(central / (1 - central))[tf.newaxis, :, tf.newaxis],
    }


def test_perfect_outputs(model):
    """IoU 1, no GIoU loss; the centerness loss is the entropy of its targets, which must remain."""
    box = [9.0, 7, 38, 33]
    outputs = perfect_outputs(box, 2)
    arguments = tf.constant([[box]]), tf.constant([[2]]), tf.constant([CANVAS]), tf.constant(CANVAS)
    parts = model.detection_losses(outputs, *arguments)
    assert parts["num_positives"] > 0
    np.testing.assert_allclose(parts["mean_iou"], 1, atol=1e-4)
    np.testing.assert_allclose(parts["box_loss"], 0, atol=1e-3)
    assert 0 < parts["centerness_loss"] < np.log(2)
    worse = model.detection_losses({**outputs, "centerness": outputs["centerness"] + 1.0}, *arguments)
    assert worse["centerness_loss"] > parts["centerness_loss"] + 0.05
    worse = model.detection_losses({**outputs, "box": outputs["box"] + 1.0}, *arguments)
    assert worse["mean_iou"] < 0.9 and worse["box_loss"] > 0.1


@pytest.mark.parametrize("with_boxes", [(True, False), (False, True), (False, False)])
def test_images_without_boxes(model, with_boxes):
    classes = np.where(np.array(with_boxes)[:, np.newaxis], CLASSES, -1)
    outputs = random_outputs()
    with tf.GradientTape() as tape:
        tape.watch(outputs)
        parts = parts_of(model, outputs, classes=classes)
    gradients = tape.gradient(parts["loss"], outputs)
    assert all(np.isfinite(value).all() for value in (*parts.values(), *gradients.values()))
    for image, has_boxes in enumerate(with_boxes):
        assert (np.abs(gradients["classification"][image]) > 0).all()
        for name in ("box", "centerness"):
            assert np.any(gradients[name][image] != 0) == has_boxes
    if not any(with_boxes):
        assert parts["box_loss"] == parts["centerness_loss"] == parts["num_positives"] == parts["mean_iou"] == 0
        # Divided by 1 per image: the plain sum of the loss against targets of 0, over 2.
        expected = losses.focal_loss(tf.zeros_like(outputs["classification"]), outputs["classification"])
        np.testing.assert_allclose(parts["classification_loss"], tf.reduce_sum(expected) / 2, rtol=1e-5)


def test_no_box_slots_at_all(model):
    parts = parts_of(model, random_outputs(), boxes=np.zeros((2, 0, 4), np.float32), classes=np.zeros((2, 0)))
    padded = parts_of(model, random_outputs(), classes=np.full((2, 2), -1))
    np.testing.assert_allclose(parts["loss"], padded["loss"], rtol=1e-6)


def test_points_outside_an_image_take_no_part(model):
    points_px, _ = point_ops.grid_points(tf.constant(CANVAS))
    inside = np.stack([np.ones(NUM_POINTS, bool), points_px[:, 0] < 64])  # 40 columns, rounded up
    outputs = random_outputs()
    with tf.GradientTape() as tape:
        tape.watch(outputs)
        loss = parts_of(model, outputs, image_shape=[CANVAS, (64, 40)])["loss"]
    gradients = tape.gradient(loss, outputs)
    np.testing.assert_array_equal(tf.reduce_all(gradients["classification"] != 0, axis=-1), inside)


def test_weights_of_the_parts(build, model):
    options = dict(classification_weight=3.0, box_weight=5.0, centerness_weight=0.0)
    weighted = parts_of(build(gfl_tf.ATSS, **options), random_outputs())
    plain = parts_of(model, random_outputs())  # 1, 2 and 1
    np.testing.assert_allclose(weighted["classification_loss"], 3 * plain["classification_loss"], rtol=1e-6)
    np.testing.assert_allclose(weighted["box_loss"], 5 / 2 * plain["box_loss"], rtol=1e-6)
    assert weighted["centerness_loss"] == 0 and plain["centerness_loss"] > 0
    np.testing.assert_allclose(plain["loss"], sum(plain[name] for name in plain if name.endswith("_loss")), rtol=1e-6)


@pytest.mark.parametrize("rule, is_second", [("points", True), ("pairs", False)])
def test_centerness_in_ranking_and_scores(model, rule, is_second):
    """One candidate of P3 in two points of scores 0.8 and 0.6, centerness 0.5 and 0.9.

    The product ranks the points, the class score alone the pairs. Either way 0.06, another point's score on P4, is
    above the threshold of 0.05 before its centerness of 0.5 halves it, and 0.04 on P5 with centerness 1 is not.
    """

    def logit(p):
        return np.log(p) - np.log1p(-p)

    scores, central = np.full((1, NUM_POINTS, 3), 1e-4), np.full((1, NUM_POINTS, 1), 1 - 1e-7)
    p4, p5 = 96, 96 + 24
    for point, score, factor in ((0, 0.8, 0.5), (1, 0.6, 0.9), (p4, 0.06, 0.5), (p5, 0.04, 1 - 1e-7)):
        scores[0, point, 1], central[0, point] = score, factor
    outputs = {
        "classification": tf.constant(logit(scores), tf.float32),
        "box": tf.zeros([1, NUM_POINTS, 4]),
        "centerness": tf.constant(logit(central), tf.float32),
    }
    model.prediction_decoder = gfl_tf.PredictionDecoder(candidates=rule, candidates_per_level=1, iou_threshold=0.99)
    detections = model.prediction_decoder.suppress(model.candidates(outputs, tf.constant(CANVAS)))
    assert detections["num_detections"] == [2]
    best = 0.6 * 0.9 if is_second else 0.8 * 0.5
    np.testing.assert_allclose(detections["confidence"][0, :2], [best, 0.06 * 0.5], rtol=1e-5)
    # The anchors, 64 and 128 pixels wide, around (0, 0) or (8, 0) and around (0, 0), clipped to the image.
    np.testing.assert_allclose(detections["boxes"][0, :2], [[0, 0, 40 if is_second else 32, 32], [0, 0, 64, 64]])


def test_fit_and_save(build, tmp_path):
    """Training brings the loss down; the saved model detects the same, without edge uncertainty."""
    keras.utils.set_random_seed(0)
    model = build(gfl_tf.ATSS, box_weight=1.5, bounding_box_format="xywh")
    xywh = np.concatenate([BOXES[..., :2], BOXES[..., 2:] - BOXES[..., :2]], axis=-1)
    labels = {"boxes": np.where(BOXES < 0, -1, xywh), "classes": CLASSES}
    model.compile(optimizer=keras.optimizers.Adam(0.01), run_eagerly=True)
    history = model.fit(tf.data.Dataset.from_tensors((IMAGES, labels)).repeat(), epochs=2, steps_per_epoch=3, verbose=0)
    assert set(history.history) == set(gfl_tf.ATSS.metric_names)
    assert history.history["loss"][1] < history.history["loss"][0]
    model.prediction_decoder = gfl_tf.PredictionDecoder(score_threshold=0.02, candidates="pairs")
    expected = model.decode_predictions(model(IMAGES), IMAGES)
    assert set(expected) == {"boxes", "classes", "confidence", "num_detections"}
    assert (expected["num_detections"].numpy() > 0).all()
    model.save(tmp_path / "model.keras")
    restored = keras.models.load_model(tmp_path / "model.keras")
    assert type(restored) is gfl_tf.ATSS and restored.box_weight == 1.5
    assert restored.prediction_decoder.candidates == "pairs"
    for name, value in restored.decode_predictions(restored(IMAGES), IMAGES).items():
        np.testing.assert_allclose(value, expected[name], rtol=1e-4, atol=1e-4, err_msg=name)
