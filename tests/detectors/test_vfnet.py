"""VarifocalNet where the reference has no values: perfect boxes, empty images, ablations, weights, training, saving."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import gfl_tf
from gfl_tf import losses
from gfl_tf.ops import points as point_ops

CANVAS = (64, 96)
NUM_POINTS = 8 * 12 + 4 * 6 + 2 * 3 + 1 * 2 + 1
IMAGES = np.random.default_rng(0).uniform(0, 255, (2, *CANVAS, 3)).astype(np.float32)
BOXES = np.float32([[[10, 4, 50, 44], [40, 8, 72, 56]], [[20, 6, 60, 60], [-1, -1, -1, -1]]])  # xyxy
CLASSES = np.float32([[0, 2], [1, -1]])


@pytest.fixture(scope="module")
def model(build):
    return build(gfl_tf.VFNet)


def random_outputs(seed=0):
    rng = np.random.default_rng(seed)
    outputs = {"classification": rng.normal(0, 1, (2, NUM_POINTS, 3))}
    outputs.update({name: rng.uniform(5, 40, (2, NUM_POINTS, 4)) for name in ("box", "refined_box")})
    return {name: tf.constant(value, tf.float32) for name, value in outputs.items()}


def parts_of(model, outputs, boxes=BOXES, classes=CLASSES, image_shape=(CANVAS, CANVAS)):
    return model.detection_losses(
        outputs, tf.constant(boxes), tf.constant(classes, tf.int32), tf.constant(image_shape), tf.constant(CANVAS)
    )


def perfect_outputs(box, label):
    """Raw outputs that say exactly `box` and its class at every point."""
    points_px, _ = point_ops.grid_points(tf.constant(CANVAS))
    distances = tf.concat([points_px - box[:2], box[2:] - points_px], axis=-1)[tf.newaxis]
    logits = [30.0 if index == label else -30.0 for index in range(3)]
    return {
        "box": distances,
        "refined_box": distances,
        "classification": tf.tile([logits], [NUM_POINTS, 1])[tf.newaxis],
    }


def test_perfect_outputs_and_what_each_error_costs(model):
    box = tf.constant([9.0, 7, 38, 33])
    outputs = perfect_outputs(box, 2)
    arguments = box[tf.newaxis, tf.newaxis], tf.constant([[2]]), tf.constant([CANVAS]), tf.constant(CANVAS)
    perfect = model.detection_losses(outputs, *arguments)
    assert perfect["num_positives"] > 0
    np.testing.assert_allclose(perfect["mean_iou"], 1, atol=1e-5)
    for name in ("box_loss", "refined_box_loss"):
        np.testing.assert_allclose(perfect[name], 0, atol=1e-5)
    worse = model.detection_losses({**outputs, "box": outputs["box"] + 3.0}, *arguments)
    assert worse["box_loss"] > 0.1 and worse["mean_iou"] == perfect["mean_iou"]
    assert worse["classification_loss"] == perfect["classification_loss"]
    # The class target is the refined box's IoU.
    worse = model.detection_losses({**outputs, "refined_box": outputs["refined_box"] + 3.0}, *arguments)
    assert worse["refined_box_loss"] > 0.1 and worse["mean_iou"] < 0.9
    assert worse["classification_loss"] > perfect["classification_loss"]


def test_equation_3_by_hand(model):
    """One positive: its point is the cell (2, 2) of P3 at (16, 16), its box 64 pixels wide like the anchors."""
    boxes = np.float32([[[-16, -16, 48, 48]]])
    logits = np.full((1, NUM_POINTS, 3), -60.0)  # a loss of 0
    point = 2 * 12 + 2
    logits[0, point, 1] = 0.5
    box, refined = (np.full((1, NUM_POINTS, 4), 1.0) for _ in range(2))
    box[0, point], refined[0, point] = (32, 32, 32, 16), (32, 32, 16, 32)  # IoU and GIoU 3/4 each
    outputs = {"classification": logits, "box": box, "refined_box": refined}
    outputs = {name: tf.constant(value, tf.float32) for name, value in outputs.items()}
    parts = parts_of(model, outputs, boxes, np.float32([[1]]), (CANVAS,))
    positives = float(parts["num_positives"])
    assert positives >= 1
    # The others' boxes are tiny: they hardly count, as each box loss is weighted by its IoU.
    p = 1 / (1 + np.exp(-0.5))
    expected = -0.75 * (0.75 * np.log(p) + 0.25 * np.log(1 - p))
    others = (positives - 1) * 60 * (4 / 64**2) ** 2  # q (q 60), q their IoU
    np.testing.assert_allclose(parts["classification_loss"] * positives, expected + others, rtol=1e-3)
    # The sum of the weights, 0.75, is below the normalizer's floor of 1.
    tiny = (positives - 1) * 4 / 64**2
    np.testing.assert_allclose(parts["box_loss"], 1.5 * (0.75 * 0.25 + tiny), rtol=0.01)
    np.testing.assert_allclose(parts["refined_box_loss"], 2.0 * (0.75 * 0.25 + tiny), rtol=0.01)


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
        for name in ("box", "refined_box"):
            assert np.any(gradients[name][image] != 0) == has_boxes
    if not any(with_boxes):
        assert parts["box_loss"] == parts["refined_box_loss"] == parts["num_positives"] == parts["mean_iou"] == 0
        # Divided by 1: the plain sum.
        expected = losses.varifocal_loss(tf.zeros_like(outputs["classification"]), outputs["classification"])
        np.testing.assert_allclose(parts["classification_loss"], tf.reduce_sum(expected), rtol=1e-5)


def test_no_box_slots_at_all(model):
    parts = parts_of(model, random_outputs(), boxes=np.zeros((2, 0, 4), np.float32), classes=np.zeros((2, 0)))
    padded = parts_of(model, random_outputs(), classes=np.full((2, 2), -1))
    np.testing.assert_allclose(parts["loss"], padded["loss"], rtol=1e-6)


@pytest.mark.parametrize("quality_targets", [True, False])
def test_points_outside_an_image(build, quality_targets):
    """Negatives of the Varifocal Loss, but no part of a loss on hard labels."""
    model = build(gfl_tf.VFNet, classification_loss=losses.FocalLoss(), quality_targets=quality_targets)
    points_px, _ = point_ops.grid_points(tf.constant(CANVAS))
    inside = np.stack([np.ones(NUM_POINTS, bool), points_px[:, 0] < 64])  # 40 columns, rounded up
    outputs = random_outputs()
    with tf.GradientTape() as tape:
        tape.watch(outputs)
        loss = parts_of(model, outputs, image_shape=[CANVAS, (64, 40)])["loss"]
    takes_part = tf.reduce_all(tape.gradient(loss, outputs)["classification"] != 0, axis=-1)
    np.testing.assert_array_equal(takes_part, inside | quality_targets)


@pytest.mark.parametrize(
    "loss, quality_targets",
    [
        (losses.VarifocalLoss(alpha=1.25, gamma=1.5, iou_weighted=False), True),
        (losses.QualityFocalLoss(), True),
        (losses.FocalLoss(), False),
    ],
    ids=["varifocal", "quality_focal", "focal"],
)
def test_classification_losses(build, model, loss, quality_targets):
    """Tables 2 and 3: the loss is the given one, of the targets that the default has or of 1 in their place."""
    seen = {}

    def spy(y_true, y_pred):
        seen["targets"] = y_true
        return type(loss).call(loss, y_true, y_pred)

    other = build(gfl_tf.VFNet, classification_loss=loss, quality_targets=quality_targets)
    other.classification_loss = type("Spy", (), {"call": staticmethod(spy)})()
    parts, plain = (parts_of(each, random_outputs()) for each in (other, model))
    positive = seen["targets"].numpy() > 0
    assert positive.sum() == parts["num_positives"]
    assert quality_targets == bool((seen["targets"].numpy()[positive] < 1).any())
    expected = loss.call(seen["targets"], random_outputs()["classification"])
    np.testing.assert_allclose(parts["classification_loss"], tf.reduce_sum(expected) / positive.sum(), rtol=1e-5)
    assert parts["classification_loss"] != plain["classification_loss"]
    for name in ("box_loss", "refined_box_loss"):
        assert parts[name] == plain[name]


def test_weights_of_the_parts(build, model):
    options = dict(classification_weight=3.0, box_weight=5.0, refined_box_weight=0.0)
    weighted = parts_of(build(gfl_tf.VFNet, **options), random_outputs())
    plain = parts_of(model, random_outputs())  # 1, 1.5 and 2
    np.testing.assert_allclose(weighted["classification_loss"], 3 * plain["classification_loss"], rtol=1e-6)
    np.testing.assert_allclose(weighted["box_loss"], 5 / 1.5 * plain["box_loss"], rtol=1e-6)
    assert weighted["refined_box_loss"] == 0 and plain["refined_box_loss"] > 0
    np.testing.assert_allclose(plain["loss"], sum(plain[name] for name in plain if name.endswith("_loss")), rtol=1e-6)


def test_without_refinement_the_initial_box_is_the_detection(build):
    model = build(gfl_tf.VFNet, head_options=dict(refine=False, star=False), box_weight=2.0)
    assert set(model.output) == {"classification", "box"}
    assert model.metric_names == ("loss", "classification_loss", "box_loss", "num_positives", "mean_iou")
    outputs = random_outputs()
    del outputs["refined_box"]
    parts = parts_of(model, outputs)
    np.testing.assert_allclose(parts["loss"], parts["classification_loss"] + parts["box_loss"], rtol=1e-6)
    decoded = model.decode_candidates(outputs, tf.constant([50.0, 40.0]), None)["boxes"]
    left, top, right, bottom = tf.unstack(outputs["box"], axis=-1)
    np.testing.assert_allclose(decoded, tf.stack([50 - left, 40 - top, 50 + right, 40 + bottom], axis=-1), rtol=1e-5)


@pytest.mark.parametrize("head_options", [{}, dict(refine=False, star=False)], ids=["whole", "raw"])
def test_fit_and_save(build, tmp_path, head_options):
    """Training improves the boxes; the saved model detects the same, without edge uncertainty.

    Not the class loss: its targets, the IoUs, rise.
    """
    keras.utils.set_random_seed(0)
    loss = losses.VarifocalLoss(gamma=1.5)
    model = build(
        gfl_tf.VFNet, bounding_box_format="xywh", head_options=head_options, classification_loss=loss, box_weight=1.2
    )
    xywh = np.concatenate([BOXES[..., :2], BOXES[..., 2:] - BOXES[..., :2]], axis=-1)
    labels = {"boxes": np.where(BOXES < 0, -1, xywh), "classes": CLASSES}
    model.compile(optimizer=keras.optimizers.Adam(2e-3), run_eagerly=True)
    history = model.fit(tf.data.Dataset.from_tensors((IMAGES, labels)).repeat(), epochs=2, steps_per_epoch=4, verbose=0)
    assert set(history.history) == set(model.metric_names)
    assert np.isfinite(history.history["loss"]).all()
    assert history.history["box_loss"][1] < history.history["box_loss"][0]
    assert history.history["mean_iou"][1] > history.history["mean_iou"][0]
    model.prediction_decoder = gfl_tf.PredictionDecoder(score_threshold=0.005)
    expected = model.decode_predictions(model(IMAGES), IMAGES)
    assert set(expected) == {"boxes", "classes", "confidence", "num_detections"}
    assert (expected["num_detections"].numpy() > 0).all()
    model.save(tmp_path / "model.keras")
    restored = keras.models.load_model(tmp_path / "model.keras")
    assert type(restored) is gfl_tf.VFNet and restored.box_weight == 1.2
    assert restored.classification_loss.gamma == 1.5
    for name, value in restored.decode_predictions(restored(IMAGES), IMAGES).items():
        np.testing.assert_allclose(value, expected[name], rtol=1e-4, atol=1e-4, err_msg=name)
