"""The parts of the loss where the reference has no values: empty images, masks, bins, formats and options."""

import numpy as np
import pytest
import tensorflow as tf

import gfl_tf
from gfl_tf import losses
from gfl_tf.assigners import atss
from gfl_tf.ops import points as point_ops

HEIGHT, WIDTH = 64, 96
CANVAS = (HEIGHT, WIDTH)
NUM_POINTS = 8 * 12 + 4 * 6 + 2 * 3 + 1 * 2 + 1
IMAGES = np.zeros((2, HEIGHT, WIDTH, 3), np.float32)
BOXES = np.float32([[[10, 4, 50, 44], [40, 8, 72, 56]], [[20, 6, 60, 60], [-1, -1, -1, -1]]])  # xyxy
CLASSES = np.float32([[0, 2], [1, -1]])


@pytest.fixture(scope="module", params=[gfl_tf.GFL, gfl_tf.GFLV2])
def model(request, build):
    return build(request.param)


@pytest.fixture(scope="module")
def gfl(build):
    return build(gfl_tf.GFL)


def random_outputs(model, seed=0):
    rng = np.random.default_rng(seed)
    sizes = {name: output.shape[-1] for name, output in model.output.items()}
    return {name: tf.constant(rng.normal(0, 1, (2, NUM_POINTS, n)).astype(np.float32)) for name, n in sizes.items()}


def parts_of(model, outputs, boxes=BOXES, classes=CLASSES, image_shape=((HEIGHT, WIDTH),) * 2):
    return model.detection_losses(
        outputs, tf.constant(boxes), tf.constant(classes, tf.int32), tf.constant(image_shape), tf.constant(CANVAS)
    )


@pytest.mark.parametrize("with_boxes", [(True, False), (False, True), (False, False)])
def test_images_without_boxes(model, with_boxes):
    """Padding alone, in one or all images: a finite loss whose classification gradient does not vanish."""
    classes = np.where(np.array(with_boxes)[:, np.newaxis], CLASSES, -1)
    outputs = random_outputs(model)
    with tf.GradientTape() as tape:
        tape.watch(outputs)
        parts = parts_of(model, outputs, classes=classes)
    gradients = tape.gradient(parts["loss"], outputs)
    for image, has_boxes in enumerate(with_boxes):
        assert (np.abs(gradients["classification"][image]) > 0).all()
        assert np.any(gradients["box"][image] != 0) == has_boxes
    assert all(np.isfinite(value).all() for value in (*parts.values(), *gradients.values()))
    assert (parts["num_positives"] > 0) == any(with_boxes)
    if not any(with_boxes):
        assert parts["box_loss"] == parts["distribution_loss"] == parts["mean_iou"] == 0
        # Divided by 1 per image: the plain sum of the loss against targets of 0, over 2.
        if "quality" in outputs:
            expected = losses.joint_quality_focal_loss(
                tf.zeros_like(outputs["classification"]), outputs["classification"], outputs["quality"]
            )
        else:
            expected = losses.quality_focal_loss(tf.zeros_like(outputs["classification"]), outputs["classification"])
        np.testing.assert_allclose(parts["quality_loss"], tf.reduce_sum(expected) / 2, rtol=1e-5)


def test_no_box_slots_at_all(model):
    """Labels of a batch without a single box may have M = 0."""
    parts = parts_of(model, random_outputs(model), boxes=np.zeros((2, 0, 4), np.float32), classes=np.zeros((2, 0)))
    padded = parts_of(model, random_outputs(model), classes=np.full((2, 2), -1))
    np.testing.assert_allclose(parts["loss"], padded["loss"], rtol=1e-6)


def test_padding_slots_do_not_matter(model):
    """More slots, in another place, of any coordinates: the same losses."""
    outputs = random_outputs(model)
    boxes, classes = np.full((2, 9, 4), 13.0, np.float32), np.full((2, 9), -1.0)
    boxes[:, 3:5], classes[:, 3:5] = BOXES, CLASSES
    boxes[:, 0] = [0, 0, 90, 60]
    for name, value in parts_of(model, outputs, boxes=boxes, classes=classes).items():
        np.testing.assert_allclose(value, parts_of(model, outputs)[name], rtol=1e-6, err_msg=name)


@pytest.mark.parametrize("image_shape", [(32, 96), (30, 90), (64, 40)])
def test_points_outside_an_image_take_no_part(gfl, image_shape):
    """The second image is smaller than the canvas: its points from its extent, rounded up to 32, are masked."""
    points_px, _ = point_ops.grid_points(tf.constant(CANVAS))
    height, width = (-(-side // 32) * 32 for side in image_shape)
    inside = (points_px[:, 0] < width) & (points_px[:, 1] < height)
    inside = tf.stack([tf.ones_like(inside), inside])  # [2, P]
    outputs = random_outputs(gfl)
    boxes = np.float32([BOXES[0], [[2, 2, 28, 26], [-1] * 4]])
    with tf.GradientTape() as tape:
        tape.watch(outputs)
        loss = parts_of(gfl, outputs, boxes=boxes, image_shape=[CANVAS, image_shape])["loss"]
    gradients = tape.gradient(loss, outputs)
    np.testing.assert_array_equal(tf.reduce_all(gradients["classification"] != 0, axis=-1), inside)
    outside_box_gradient = tf.boolean_mask(gradients["box"], ~inside)
    assert not np.any(outside_box_gradient)


def perfect_outputs(num_bins, bin_width, box, label):
    """Raw outputs that say exactly `box` at every point, and its class wherever it may be asked for."""
    points_px, strides = (t.numpy() for t in point_ops.grid_points(tf.constant(CANVAS)))
    box = np.float32(box)
    distances = np.concatenate([points_px - box[:2], box[2:] - points_px], axis=1) / strides[:, None] / bin_width
    weights = 1 - np.abs(np.clip(distances, 0, num_bins)[..., np.newaxis] - np.arange(num_bins + 1))
    box_logits = np.log(np.maximum(weights, 1e-30)).reshape(1, NUM_POINTS, -1)
    class_logits = np.where(np.arange(3) == label, 30.0, -30.0) * np.ones((1, NUM_POINTS, 1))
    return {"box": tf.constant(box_logits, tf.float32), "classification": tf.constant(class_logits, tf.float32)}


@pytest.mark.parametrize("num_bins, bin_width", [(16, 1.0), (8, 0.5), (32, 0.25), (5, 1.0)])
def test_perfect_boxes_in_bins_of_any_width(build, num_bins, bin_width):
    """Two-bin distributions around the true distances: IoU 1 and no GIoU loss; DFL is the entropy that must remain."""
    model = build(gfl_tf.GFL, head_options=dict(num_bins=num_bins), bin_width=bin_width)
    box = [9.0, 7, 38, 33]  # all its points are less than 4 strides of P3 from its sides
    outputs = perfect_outputs(num_bins, bin_width, box, label=2)
    parts = model.detection_losses(
        outputs, tf.constant([[box]]), tf.constant([[2]]), tf.constant([CANVAS]), tf.constant(CANVAS)
    )
    assert parts["num_positives"] > 0
    np.testing.assert_allclose(parts["mean_iou"], 1, atol=1e-4)
    np.testing.assert_allclose(parts["box_loss"], 0, atol=1e-3)
    assert 0 < parts["distribution_loss"] < 0.25 * np.log(2)
    worse = {**outputs, "box": tf.roll(outputs["box"], 1, axis=-1)}
    worse = model.detection_losses(
        worse, tf.constant([[box]]), tf.constant([[2]]), tf.constant([CANVAS]), tf.constant(CANVAS)
    )
    assert worse["mean_iou"] < 0.9 and worse["distribution_loss"] > parts["distribution_loss"]


def test_distances_beyond_the_last_bin_are_clamped(build):
    """Two bins of 0.05 strides end before every side of the box, so each target is 2 - 0.1 bins, of weights 0.1, 0.9.

    All points have probabilities 0.2, 0.1 and 0.7, so DFL is -(0.1 log 0.1 + 0.9 log 0.7) on every side.
    """
    model = build(gfl_tf.GFL, head_options=dict(num_bins=2), bin_width=0.05)
    box = [9.0, 7, 38, 33]
    outputs = perfect_outputs(2, 0.05, box, label=0)
    outputs["box"] = tf.tile(tf.math.log([[[0.2, 0.1, 0.7]]]), (1, NUM_POINTS, 4))
    parts = model.detection_losses(
        outputs, tf.constant([[box]]), tf.constant([[0]]), tf.constant([CANVAS]), tf.constant(CANVAS)
    )
    assert parts["num_positives"] > 0
    expected = -(0.1 * np.log(0.1) + 0.9 * np.log(0.7))
    np.testing.assert_allclose(parts["distribution_loss"], 0.25 * expected, rtol=1e-5)


def test_weights_of_the_parts(build, gfl):
    options = dict(quality_weight=3.0, box_weight=5.0, distribution_weight=0.0)
    weighted = parts_of(build(gfl_tf.GFL, **options), random_outputs(gfl))
    plain = parts_of(gfl, random_outputs(gfl))  # 1, 2 and 0.25 (eq. 11)
    np.testing.assert_allclose(weighted["quality_loss"], 3 * plain["quality_loss"], rtol=1e-6)
    np.testing.assert_allclose(weighted["box_loss"], 5 / 2 * plain["box_loss"], rtol=1e-6)
    assert weighted["distribution_loss"] == 0
    np.testing.assert_allclose(weighted["loss"], weighted["quality_loss"] + weighted["box_loss"], rtol=1e-6)


@pytest.mark.parametrize(
    "loss, function",
    [(losses.FocalLoss(), losses.focal_loss), (losses.VarifocalLoss(), losses.varifocal_loss)],
    ids=["focal", "varifocal"],
)
def test_other_classification_losses(build, gfl, loss, function):
    """With hard targets, the sum over the points of `function` against 1 at the positives, over their number."""
    model = build(gfl_tf.GFL, classification_loss=loss, quality_targets=False)
    outputs = random_outputs(gfl)
    targets = np.zeros((2, NUM_POINTS, 3), np.float32)
    assignment = atss.assign(
        tf.constant(BOXES), tf.constant(CLASSES) >= 0, tf.constant([CANVAS] * 2), tf.constant(CANVAS)
    )
    for image, slot in zip(*np.nonzero(assignment.is_positive.numpy())):
        box = assignment.box[image, slot]
        targets[image, assignment.point[image, slot], int(CLASSES[image, box])] = 1
    expected = tf.reduce_sum(function(targets, outputs["classification"])) / targets.sum()
    np.testing.assert_allclose(parts_of(model, outputs)["quality_loss"], expected, rtol=1e-5)


FORMATS = {
    "xyxy": lambda x1, y1, x2, y2: (x1, y1, x2, y2),
    "yxyx": lambda x1, y1, x2, y2: (y1, x1, y2, x2),
    "xywh": lambda x1, y1, x2, y2: (x1, y1, x2 - x1, y2 - y1),
    "center_xywh": lambda x1, y1, x2, y2: ((x1 + x2) / 2, (y1 + y2) / 2, x2 - x1, y2 - y1),
    "rel_xyxy": lambda x1, y1, x2, y2: (x1 / WIDTH, y1 / HEIGHT, x2 / WIDTH, y2 / HEIGHT),
    "rel_yxyx": lambda x1, y1, x2, y2: (y1 / HEIGHT, x1 / WIDTH, y2 / HEIGHT, x2 / WIDTH),
}


def converted(boxes, name):
    """Boxes of the format `name` from xyxy; padding stays -1."""
    result = np.stack(FORMATS[name](*np.moveaxis(boxes, -1, 0)), axis=-1)
    return np.where((boxes == -1).all(axis=-1, keepdims=True), -1, result).astype(np.float32)


@pytest.fixture
def with_format(gfl):
    def set_format(name):
        gfl.bounding_box_format = name
        return gfl

    yield set_format
    gfl.bounding_box_format = "xyxy"


@pytest.mark.parametrize("name", list(FORMATS))
def test_labels_and_predictions_in_every_format(gfl, with_format, name):
    outputs = random_outputs(gfl)
    expected_loss = gfl.compute_loss(IMAGES, {"boxes": BOXES, "classes": CLASSES}, outputs)
    expected = gfl.decode_predictions(outputs, IMAGES)
    assert (expected["num_detections"].numpy() > 5).all()
    model = with_format(name)
    labels = {"boxes": converted(BOXES, name), "classes": CLASSES}
    np.testing.assert_allclose(model.compute_loss(IMAGES, labels, outputs), expected_loss, rtol=1e-5)
    detections = model.decode_predictions(outputs, IMAGES)
    np.testing.assert_allclose(detections["boxes"], converted(expected["boxes"].numpy(), name), rtol=1e-5, atol=1e-4)
    np.testing.assert_array_equal(detections["confidence"], expected["confidence"])


def test_ragged_labels(model):
    """Dense labels with -1 padding and ragged ones, also with an image without boxes."""
    outputs = random_outputs(model)
    for rows in ([BOXES[0], BOXES[1, :1]], [BOXES[0], BOXES[1, :0]]):
        counts = [len(row) for row in rows]
        dense_classes = np.where(np.arange(2) < np.array(counts)[:, None], CLASSES, -1)
        ragged = {
            "boxes": tf.RaggedTensor.from_row_lengths(np.concatenate(rows), counts),
            "classes": tf.RaggedTensor.from_row_lengths(dense_classes[dense_classes >= 0], counts),
        }
        dense = {"boxes": BOXES, "classes": dense_classes}
        expected = model.compute_loss(IMAGES, dense, outputs)
        np.testing.assert_allclose(model.compute_loss(IMAGES, ragged, outputs), expected, rtol=1e-6)


def test_labels_say_how_large_each_image_is(gfl):
    """`image_shape` in the labels masks points: only then are the second image's right half's scores free."""
    outputs = random_outputs(gfl)
    points_px, _ = point_ops.grid_points(tf.constant(CANVAS))
    right = tf.cast(points_px[:, 0] >= 64, tf.float32)
    moved = {
        **outputs,
        "classification": outputs["classification"] + 5 * tf.stack([0 * right, right])[..., tf.newaxis],
    }
    labels = {"boxes": BOXES, "classes": CLASSES}
    sized = {**labels, "image_shape": np.int32([[64, 96], [64, 60]])}
    assert gfl.compute_loss(IMAGES, sized, moved) == gfl.compute_loss(IMAGES, sized, outputs)
    assert gfl.compute_loss(IMAGES, labels, moved) > gfl.compute_loss(IMAGES, labels, outputs) + 1
