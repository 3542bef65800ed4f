"""The losses by hand where the reference has no values: perfect outputs, normalisers, weights, targets."""

import numpy as np
import pytest
import tensorflow as tf

import gfl_tf
from gfl_tf import losses
from gfl_tf.assigners.atss import ATSSAssigner
from gfl_tf.detectors.training import centerness
from gfl_tf.ops import deltas
from gfl_tf.ops.grid import GridSpec
from gfl_tf.scores.joint import JointScore
from tests.detectors.scenes import BOXES, CANVAS, CLASSES, NUM_POINTS, parts_of, random_outputs

BOX = np.float32([9, 7, 38, 33])  # all its points are less than 4 strides of P3 from its sides
PLACES = GridSpec().on(CANVAS).places
DISTANCES_PX = tf.concat([PLACES.points_px - BOX[:2], BOX[2:] - PLACES.points_px], axis=-1)


@pytest.fixture(scope="module")
def models(build):
    return {name: build(getattr(gfl_tf, name)) for name in ("GFL", "GFLV2", "ATSS", "VFNet")}


def logit(p):
    p = np.clip(p, 1e-6, 1 - 1e-6)
    return tf.constant(np.log(p) - np.log1p(-p), tf.float32)


def class_logits(label):
    return tf.tile([[[30.0 if i == label else -30.0 for i in range(3)]]], [1, NUM_POINTS, 1])


def bin_logits(num_bins, bin_width):
    """Two-bin distributions around the true distances."""
    bins = np.clip(DISTANCES_PX / PLACES.strides[:, tf.newaxis] / bin_width, 0, num_bins)
    weights = 1 - np.abs(bins[..., np.newaxis] - np.arange(num_bins + 1))
    return tf.constant(np.log(np.maximum(weights, 1e-30)).reshape(1, NUM_POINTS, -1), tf.float32)


def parts_of_box(model, outputs, label=2):
    return parts_of(model, outputs, BOX[np.newaxis, np.newaxis], np.float32([[label]]), [CANVAS])


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


@pytest.mark.parametrize("num_bins, bin_width", [(16, 1.0), (8, 0.5), (32, 0.25), (5, 1.0)])
def test_perfect_boxes_in_bins_of_any_width(build, num_bins, bin_width):
    """IoU 1 and no GIoU loss; DFL is the entropy that must remain."""
    model = build(gfl_tf.GFL, num_bins=num_bins, bin_width=bin_width)
    outputs = {"box": bin_logits(num_bins, bin_width), "classification": class_logits(2)}
    parts = parts_of_box(model, outputs)
    assert parts["num_positives"] > 0
    np.testing.assert_allclose(parts["mean_iou"], 1, atol=1e-4)
    np.testing.assert_allclose(parts["box_loss"], 0, atol=1e-3)
    assert 0 < parts["distribution_loss"] < 0.25 * np.log(2)
    worse = parts_of_box(model, {**outputs, "box": tf.roll(outputs["box"], 1, axis=-1)})
    assert worse["mean_iou"] < 0.9 and worse["distribution_loss"] > parts["distribution_loss"]


def test_distances_beyond_the_last_bin_are_clamped(build):
    """Two bins of 0.05 strides end before every side of the box, so each target is 2 - 0.1 bins, of weights 0.1, 0.9.

    All points have probabilities 0.2, 0.1 and 0.7, so DFL is -(0.1 log 0.1 + 0.9 log 0.7) on every side.
    """
    model = build(gfl_tf.GFL, num_bins=2, bin_width=0.05)
    logits = tf.tile(tf.math.log([[[0.2, 0.1, 0.7]]]), (1, NUM_POINTS, 4))
    parts = parts_of_box(model, {"box": logits, "classification": class_logits(2)})
    assert parts["num_positives"] > 0
    expected = -(0.1 * np.log(0.1) + 0.9 * np.log(0.7))
    np.testing.assert_allclose(parts["distribution_loss"], 0.25 * expected, rtol=1e-5)


def test_perfect_outputs_of_atss(models):
    """IoU 1, no GIoU loss; the quality loss is the entropy of the centerness, which must remain."""
    model = models["ATSS"]
    box = deltas.boxes_to_deltas(PLACES.anchors, BOX, model.boxes.stddevs)[tf.newaxis]
    outputs = {"box": box, "classification": class_logits(2), "quality": logit(centerness(DISTANCES_PX))[None, :, None]}
    parts = parts_of_box(model, outputs)
    assert parts["num_positives"] > 0
    np.testing.assert_allclose(parts["mean_iou"], 1, atol=1e-4)
    np.testing.assert_allclose(parts["box_loss"], 0, atol=1e-3)
    assert 0 < parts["quality_loss"] < np.log(2)
    worse = parts_of_box(model, {**outputs, "quality": outputs["quality"] + 1.0})
    assert worse["quality_loss"] > parts["quality_loss"] + 0.05
    worse = parts_of_box(model, {**outputs, "box": outputs["box"] + 1.0})
    assert worse["mean_iou"] < 0.9 and worse["box_loss"] > 0.1


def test_perfect_outputs_of_vfnet_and_what_each_error_costs(models):
    model = models["VFNet"]
    distances = DISTANCES_PX[tf.newaxis]
    outputs = {"box": distances, "refined_box": distances, "classification": class_logits(2)}
    perfect = parts_of_box(model, outputs)
    assert perfect["num_positives"] > 0
    np.testing.assert_allclose(perfect["mean_iou"], 1, atol=1e-5)
    for name in ("box_loss", "refined_box_loss"):
        np.testing.assert_allclose(perfect[name], 0, atol=1e-5)
    worse = parts_of_box(model, {**outputs, "box": outputs["box"] + 3.0})
    assert worse["box_loss"] > 0.1 and worse["mean_iou"] == perfect["mean_iou"]
    assert worse["classification_loss"] == perfect["classification_loss"]
    # The class target is the refined box's IoU.
    worse = parts_of_box(model, {**outputs, "refined_box": outputs["refined_box"] + 3.0})
    assert worse["refined_box_loss"] > 0.1 and worse["mean_iou"] < 0.9
    assert worse["classification_loss"] > perfect["classification_loss"]


def test_equation_3_of_vfnet_by_hand(models):
    """One positive: its point is the cell (2, 2) of P3 at (16, 16), its box 64 pixels wide like the anchors."""
    boxes = np.float32([[[-16, -16, 48, 48]]])
    logits = np.full((1, NUM_POINTS, 3), -60.0)  # a loss of 0
    point = 2 * 12 + 2
    logits[0, point, 1] = 0.5
    box, refined = (np.full((1, NUM_POINTS, 4), 1.0) for _ in range(2))
    box[0, point], refined[0, point] = (32, 32, 32, 16), (32, 32, 16, 32)  # IoU and GIoU 3/4 each
    outputs = {"classification": logits, "box": box, "refined_box": refined}
    outputs = {name: tf.constant(value, tf.float32) for name, value in outputs.items()}
    parts = parts_of(models["VFNet"], outputs, boxes, np.float32([[1]]), (CANVAS,))
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


@pytest.mark.parametrize(
    "name, function, empty_images",
    [
        ("GFL", losses.quality_focal_loss, 2),
        ("GFLV2", losses.quality_focal_loss, 2),
        ("ATSS", losses.focal_loss, 2),
        ("VFNet", losses.varifocal_loss, 1),
    ],
)
def test_what_images_without_boxes_are_divided_by(models, name, function, empty_images):
    """1 for each image, in VarifocalNet for all together: the plain sum of the loss against targets of 0, over that."""
    outputs = random_outputs(models[name])
    parts = parts_of(models[name], outputs, classes=np.full((2, 2), -1))
    quality = outputs["quality"] if name == "GFLV2" else None
    expected = function(tf.zeros_like(outputs["classification"]), outputs["classification"], quality)
    np.testing.assert_allclose(parts["classification_loss"], tf.reduce_sum(expected) / empty_images, rtol=1e-5)


@pytest.mark.parametrize(
    "recipe, plain, options",
    [
        (gfl_tf.GFL, (1, 2, 0.25), dict(classification_weight=3.0, box_weight=5.0, distribution_weight=0.5)),
        (gfl_tf.ATSS, (1, 2, 1), dict(classification_weight=3.0, box_weight=5.0, quality_weight=0.5)),
        (gfl_tf.VFNet, (1, 1.5, 2), dict(classification_weight=3.0, box_weight=5.0, refined_box_weight=0.5)),
    ],
    ids=["gfl", "atss", "vfnet"],
)
def test_weights_of_the_parts(build, recipe, plain, options):
    """Each scales its own part; 0 leaves it out (GFL, eq. 11; VarifocalNet, eq. 3)."""
    model, weighted = build(recipe), build(recipe, **options)
    without = build(recipe, **{name: 0.0 for name in list(options)[2:]})
    outputs = random_outputs(model)
    before, after = parts_of(model, outputs), parts_of(weighted, outputs)
    for name, old, new in zip(options, plain, options.values()):
        part = name.replace("_weight", "_loss")
        np.testing.assert_allclose(after[part], new / old * before[part], rtol=1e-6, err_msg=part)
    assert part in model.metric_names and part not in without.metric_names
    assert tuple(parts_of(without, outputs)) == without.metric_names


def targets_of(model, outputs):
    """[2, P, 3]: 1 at each positive and its class."""
    targets = np.zeros((2, NUM_POINTS, 3), np.float32)
    grid = model.grid.on(CANVAS, [CANVAS] * 2)
    assignment = model.assigner(tf.constant(BOXES), tf.constant(CLASSES), grid)
    for image, slot in zip(*np.nonzero(assignment.is_positive.numpy())):
        box = assignment.box[image, slot]
        targets[image, assignment.place[image, slot], int(CLASSES[image, box])] = 1
    return targets


@pytest.mark.parametrize(
    "loss, function",
    [(losses.FocalLoss(), losses.focal_loss), (losses.VarifocalLoss(), losses.varifocal_loss)],
    ids=["focal", "varifocal"],
)
@pytest.mark.parametrize("recipe", [gfl_tf.GFL, gfl_tf.GFLV2, gfl_tf.VFNet], ids=["gfl", "gflv2", "vfnet"])
def test_hard_targets_and_other_losses(build, recipe, loss, function):
    """The sum over the points of `function` against 1 at the positives, over their number; all other parts stay."""
    plain, model = build(recipe), build(recipe, classification_loss=loss, quality_targets=False)
    outputs = random_outputs(plain)
    targets = targets_of(model, outputs)
    expected = tf.reduce_sum(function(targets, outputs["classification"], outputs.get("quality"))) / targets.sum()
    before, after = parts_of(plain, outputs), parts_of(model, outputs)
    np.testing.assert_allclose(after["classification_loss"], expected, rtol=1e-5)
    for name in set(before) - {"loss", "classification_loss"}:
        np.testing.assert_allclose(after[name], before[name], rtol=1e-6, err_msg=name)


def test_soft_targets_are_the_ious(build):
    """QFL's parts of a detector whose score is weighted by nothing: the IoUs of the boxes at the positives."""
    model = build(gfl_tf.ATSS, score=JointScore(weight_boxes_by="none"), classification_loss=losses.QualityFocalLoss())
    outputs = {name: value for name, value in random_outputs(model).items()}
    parts = parts_of(model, outputs)
    hard = targets_of(model, outputs)
    boxes = model.boxes.decode(outputs["box"], PLACES).numpy()
    soft = np.zeros_like(hard)
    for image, place, label in zip(*np.nonzero(hard)):
        truth = BOXES[image][list(CLASSES[image]).index(label)]
        low, high = np.maximum(boxes[image, place, :2], truth[:2]), np.minimum(boxes[image, place, 2:], truth[2:])
        overlap = np.prod(np.maximum(high - low, 0))
        areas = [np.prod(box[2:] - box[:2]) for box in (boxes[image, place], truth)]
        soft[image, place, label] = overlap / (sum(areas) - overlap)
    expected = tf.reduce_sum(losses.quality_focal_loss(soft, outputs["classification"])) / hard.sum()
    np.testing.assert_allclose(parts["classification_loss"], expected, rtol=1e-5)
    np.testing.assert_allclose(parts["mean_iou"], soft.sum() / hard.sum(), rtol=1e-4)


def test_without_refinement_the_initial_box_is_the_detection(build):
    """It has the last box's weight of 2, as in the reference, and its assigner may leave out what lies outside."""
    assigner = ATSSAssigner()
    model = build(gfl_tf.VFNet, head_options=dict(refine=False, star=False), assigner=assigner)
    assert set(model.output) == {"classification", "box"} and model.box_weights == {"box": 2.0}
    assert model.metric_names == ("loss", "classification_loss", "box_loss", "num_positives", "mean_iou")
    outputs = random_outputs(model)
    decoded = model.decode_candidates(outputs, PLACES._replace(points_px=tf.constant([50.0, 40.0])))["boxes"]
    left, top, right, bottom = tf.unstack(outputs["box"], axis=-1)
    np.testing.assert_allclose(decoded, tf.stack([50 - left, 40 - top, 50 + right, 40 + bottom], axis=-1), rtol=1e-5)


@pytest.mark.parametrize("rule, is_second", [("points", True), ("pairs", False)])
def test_centerness_in_ranking_and_scores(models, rule, is_second):
    """One candidate of P3 in two points of scores 0.8 and 0.6, centerness 0.5 and 0.9.

    The product ranks the points, the class score alone the pairs. Either way 0.06, another point's score on P4, is
    above the threshold of 0.05 before its centerness of 0.5 halves it, and 0.04 on P5 with centerness 1 is not.
    """
    model = models["ATSS"]
    scores, central = np.full((1, NUM_POINTS, 3), 1e-4), np.full((1, NUM_POINTS, 1), 1 - 1e-7)
    p4, p5 = 96, 96 + 24
    for point, score, factor in ((0, 0.8, 0.5), (1, 0.6, 0.9), (p4, 0.06, 0.5), (p5, 0.04, 1 - 1e-7)):
        scores[0, point, 1], central[0, point] = score, factor
    outputs = {"classification": logit(scores), "box": tf.zeros([1, NUM_POINTS, 4]), "quality": logit(central)}
    decoder = gfl_tf.PredictionDecoder(candidates=rule, candidates_per_level=1, iou_threshold=0.99)
    assert model.prediction_decoder.candidates == "points"  # the decoder that is handed in counts
    detections = decoder.suppress(model.candidates(outputs, tf.constant(CANVAS), decoder=decoder))
    assert detections["num_detections"] == [2]
    best = 0.6 * 0.9 if is_second else 0.8 * 0.5
    np.testing.assert_allclose(detections["confidence"][0, :2], [best, 0.06 * 0.5], rtol=1e-5)
    # The anchors, 64 and 128 pixels wide, around (0, 0) or (8, 0) and around (0, 0), clipped to the image.
    np.testing.assert_allclose(detections["boxes"][0, :2], [[0, 0, 40 if is_second else 32, 32], [0, 0, 64, 64]])
