"""Losses, their gradients and detections from the reference models' own raw outputs, against the reference's values."""

import numpy as np
import pytest
import tensorflow as tf

import gfl_tf
from gfl_tf.scores.dgqp import DGQPScore
from tests.parity.compare import LEVELS, RULES, SETTINGS, unmatched_detections
from tests.parity.inputs import CASES

CANVAS = (256, 320)
# GFLv2's reference stores the joint score J alone. A quality logit of 40 makes the quality exactly 1 in float32, so
# that the class logit is J's.
QUALITY_LOGIT = 40.0
MODELS = {
    "gfl_r50_fpn": gfl_tf.GFL,
    "gfocal_r50_fpn": gfl_tf.GFLV2,
    "atss_r50_fpn": gfl_tf.ATSS,
    "vfnet_r50_fpn": gfl_tf.VFNet,
}
# Our names and the reference's.
OUTPUTS = {"classification": "cls", "box": "reg", "quality": "ctr", "refined_box": "reg_refine"}
LOSSES = {
    "classification_loss": "loss_cls",
    "box_loss": "loss_bbox",
    "distribution_loss": "loss_dfl",
    "quality_loss": "loss_centerness",
    "refined_box_loss": "loss_bbox_rf",
}


@pytest.fixture(scope="module", params=list(MODELS))
def case(request, shared, build):
    """(detector, reference values, input values, raw outputs as the detector has them)."""
    reference = dict(np.load(shared / "reference" / f"{request.param}.npz"))
    inputs = dict(np.load(shared / "reference" / "inputs.npz"))
    outputs = {
        ours: np.concatenate([reference[f"out/{theirs}/{level}"] for level in LEVELS], axis=1)
        for ours, theirs in OUTPUTS.items()
        if f"out/{theirs}/P3" in reference
    }
    model = build(MODELS[request.param], num_classes=80)
    if isinstance(model.score, DGQPScore):
        scores = outputs["classification"].astype(np.float64)
        outputs["classification"] = np.log(scores) - np.log1p(-scores)
        outputs["quality"] = np.full((*scores.shape[:2], 1), QUALITY_LOGIT)
    outputs = {name: tf.constant(value, tf.float32) for name, value in outputs.items()}
    return model, reference, inputs, outputs


def padded_labels(inputs, name):
    """Boxes [2, 6, 4] and classes [2, 6], padded with -1, of the reference's cases."""
    boxes, classes = np.full((2, 6, 4), -1, np.float32), np.full((2, 6), -1, np.int32)
    for image in CASES[name]:
        gt, labels = inputs[f"gt{image}"], inputs[f"labels{image}"]
        boxes[image, : len(gt)], classes[image, : len(gt)] = gt, labels
    return tf.constant(boxes), tf.constant(classes)


def losses_of(model, inputs, outputs, name):
    boxes, classes = padded_labels(inputs, name)
    image_shape = tf.constant(inputs["img_shapes"], tf.int32)
    return model.detection_losses(outputs, boxes, classes, image_shape, tf.constant(CANVAS))


@pytest.mark.parametrize("name", list(CASES))
def test_losses(case, name):
    model, reference, inputs, outputs = case
    losses = losses_of(model, inputs, outputs, name)
    parts = [part for part in LOSSES if part in losses]
    assert len(parts) == 3
    for ours in parts:
        expected = reference[f"loss/{name}/{LOSSES[ours]}"].sum()
        np.testing.assert_allclose(losses[ours], expected, rtol=2e-6, atol=1e-7, err_msg=ours)
    np.testing.assert_allclose(losses["loss"], reference[f"loss/{name}/total"], rtol=2e-6)
    # The reference counts an image without positives as one, except for VFNet.
    empty_images = 2 - len(CASES[name]) if model.count_empty_images else 0
    assert losses["num_positives"] + empty_images == reference[f"loss/{name}/reduce_mean_args"][0]


def test_gradients_of_raw_outputs(case):
    model, reference, inputs, outputs = case
    names = [name for name in OUTPUTS if name in outputs and f"out_grad/{OUTPUTS[name]}/P3" in reference]
    leaves = {name: outputs[name] for name in names}
    with tf.GradientTape() as tape:
        tape.watch(leaves)
        total = losses_of(model, inputs, {**outputs, **leaves}, "main")["loss"]
    gradients = {name: gradient.numpy() for name, gradient in tape.gradient(total, leaves).items()}
    if isinstance(model.score, DGQPScore):  # the reference's leaf is J: dJ / d logit = J (1 - J)
        scores = tf.sigmoid(tf.cast(outputs["classification"], tf.float64)).numpy()
        gradients["classification"] = gradients["classification"] / (scores * (1 - scores))
    first = 0
    for level, (height, width) in zip(LEVELS, reference["out_hw"]):
        size = height * width
        step = 7 if size > 100 else 1
        for ours in leaves:
            theirs = OUTPUTS[ours]
            actual = gradients[ours][:, first : first + size]
            expected = reference[f"out_grad/{theirs}/{level}"]
            # Small gradients are differences of larger terms: relative to the level's largest.
            atol = 1e-6 * np.abs(expected).max() + 1e-12
            np.testing.assert_allclose(actual[:, ::step], expected, rtol=2e-5, atol=atol, err_msg=f"{theirs} {level}")
            abs_sum = reference[f"out_grad_stats/{theirs}/{level}"][2]
            np.testing.assert_allclose(np.abs(actual).sum(dtype=np.float64), abs_sum, rtol=1e-4, atol=1e-9)
        first += size


@pytest.mark.parametrize("version, rule", RULES.items())
@pytest.mark.parametrize("settings", list(SETTINGS))
def test_detections(case, settings, version, rule):
    model, reference, inputs, outputs = case
    model.prediction_decoder = gfl_tf.PredictionDecoder(score_threshold=0.05, candidates=rule, **SETTINGS[settings])
    candidates = model.candidates(outputs, tf.constant(CANVAS), tf.constant(inputs["img_shapes"], tf.int32))
    detections = model.prediction_decoder.suppress(candidates)
    for image in range(2):
        expected = {key: reference[f"{settings}/{version}/img{image}/{key}"] for key in ("bboxes", "scores", "labels")}
        count = int(detections["num_detections"][image])
        assert count == len(expected["scores"])
        boxes, scores, classes = (detections[key][image, :count].numpy() for key in ("boxes", "confidence", "classes"))
        unmatched = unmatched_detections(boxes, scores, classes, expected)
        assert len(unmatched) == 0, f"image {image}: {unmatched}"
