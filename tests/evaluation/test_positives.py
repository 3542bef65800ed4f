"""Positives and oracles of real detectors on scenes whose truth is known."""

import numpy as np
import pytest
import tensorflow as tf

from gfl_tf.evaluation import positives
from gfl_tf.evaluation.analyses import class_and_quality, oracles
from gfl_tf.evaluation.analyses.oracles import Oracle

pytestmark = pytest.mark.one_stack

BOXES = np.array([[[10, 20, 50, 68], [60, 16, 120, 76]], [[30, 30, 70, 60], [-1, -1, -1, -1]]], np.float32)
CLASSES = np.array([[0, 2], [1, -1]], np.float32)
LABELS = {"boxes": tf.constant(BOXES), "classes": tf.constant(CLASSES)}


@pytest.fixture(scope="module")
def images():
    return tf.constant(np.random.default_rng(0).uniform(0, 255, [2, 96, 160, 3]), tf.float32)


@pytest.mark.parametrize("detector", ["tiny_depthwise", "tiny_vfnet"])
def test_positives_are_those_of_the_loss(detector, images, request):
    model = request.getfixturevalue(detector)
    found = positives.positives(model, images, LABELS)
    boxes, classes = tf.constant(BOXES), tf.constant(CLASSES.astype(np.int32))
    losses = model.detection_losses(
        model(images, training=False), boxes, classes, tf.constant([[96, 160]] * 2), tf.constant([96, 160])
    )
    assert len(found.iou) == losses["num_positives"] > 2
    assert np.mean(found.iou) == pytest.approx(float(losses["mean_iou"]), rel=1e-5)
    np.testing.assert_array_equal(found.target_boxes, BOXES[found.image, found.box])
    assert ((found.points_px > found.target_boxes[:, :2]) & (found.points_px < found.target_boxes[:, 2:])).numpy().all()
    if found.quality is None:
        np.testing.assert_array_equal(found.score, found.class_score)
    else:
        np.testing.assert_allclose(found.score, found.class_score * found.quality, rtol=1e-5)
    assert (found.top is None) == (detector != "tiny_depthwise")
    joined = positives.joined(
        [positives.Positives(*(value if value is None else value.numpy() for value in found))] * 2
    )
    assert len(joined.iou) == 2 * len(found.iou) and (joined.quality is None) == (found.quality is None)


def test_top_probabilities_fall(tiny_gfl, images):
    top = positives.positives(tiny_gfl, images, LABELS).top.numpy()
    assert top.shape[1:] == (4, 4) and (np.diff(top, axis=-1) <= 0).all() and (top.sum(axis=-1) <= 1.001).all()


@pytest.mark.parametrize("detector", ["tiny_depthwise", "tiny_atss"])
def test_with_nothing_replaced_the_detections_are_the_models(detector, images, request):
    model = request.getfixturevalue(detector)
    outputs = model(images, training=False)
    assigned = positives.assign(model, outputs, images, LABELS)
    found = oracles.detect_function(model)(
        oracles.substituted(outputs, assigned, Oracle("nothing", None)), tf.constant([96, 160])
    )
    expected = model.detect(images)
    for name in ("boxes", "classes", "confidence", "num_detections"):
        np.testing.assert_array_equal(found[name], expected[name])


@pytest.mark.parametrize("detector", ["tiny_depthwise", "tiny_atss"])
def test_with_everything_replaced_the_objects_come_first(detector, images, request):
    """As many detections with a score of 1 as there are objects, and these are the objects: NMS drops the others, as
    the boxes of all positives of an object are the same."""
    model = request.getfixturevalue(detector)
    outputs = model(images, training=False)
    assigned = positives.assign(model, outputs, images, LABELS)
    found = oracles.detect_function(model)(
        oracles.substituted(outputs, assigned, oracles.TABLE[-1]), tf.constant([96, 160])
    )
    for row, count in enumerate((2, 1)):
        is_sure = found["confidence"][row].numpy() > 0.9999
        boxes, classes = found["boxes"][row].numpy()[is_sure], found["classes"][row].numpy()[is_sure]
        order = np.argsort(classes)
        np.testing.assert_array_equal(boxes[order], BOXES[row, :count])
        np.testing.assert_array_equal(classes[order], CLASSES[row, :count])


def test_what_is_replaced(tiny_atss, images):
    """Only the object's class at the positives, and the quality there."""
    outputs = tiny_atss(images, training=False)
    assigned = positives.assign(tiny_atss, outputs, images, LABELS)
    found = positives.of_outputs(tiny_atss, outputs, assigned)
    changed = oracles.substituted(outputs, assigned, Oracle("", None, oracles.IOU, quality=oracles.CENTERNESS))
    after = positives.of_outputs(tiny_atss, changed, positives.assign(tiny_atss, changed, images, LABELS))
    np.testing.assert_allclose(after.class_score, found.iou, atol=1e-5)
    number = int(np.argmax(found.target_boxes[:, 2] - found.target_boxes[:, 0]))
    x, y = found.points_px[number].numpy()
    left, top, right, bottom = x - 60, y - 16, 120 - x, 76 - y
    centerness = (min(left, right) / max(left, right) * min(top, bottom) / max(top, bottom)) ** 0.5
    assert float(after.quality[number]) == pytest.approx(centerness, abs=1e-5)
    differ = tf.reduce_any(changed["classification"] != outputs["classification"], axis=-1)
    assert int(tf.math.count_nonzero(differ)) == len(found.iou)
    left_out = oracles.substituted(outputs, assigned, oracles.TABLE[0])
    assert tf.reduce_min(tf.sigmoid(left_out["quality"])) == 1


def test_rows_of_a_detector(tiny_atss, tiny_gfl, tiny_depthwise):
    assert oracles.of_model(tiny_atss) == oracles.TABLE
    assert [row.paper for row in oracles.of_model(tiny_gfl)] == [38.5, 56.1, 43.1, 74.7, None]
    assert [row for row in oracles.TABLE if row not in oracles.of_model(tiny_depthwise)] == [oracles.TABLE[2]]


def test_negatives_are_all_other_places(tiny_atss, images):
    outputs = tiny_atss(images, training=False)
    assigned = positives.assign(tiny_atss, outputs, images, LABELS)
    negatives = class_and_quality.at_negatives(outputs, assigned)
    count = len(positives.of_outputs(tiny_atss, outputs, assigned).iou)
    assert int(tf.math.count_nonzero(~negatives["is_negative"])) == count
