"""Losses, gradients and reductions against the reference's values."""

import numpy as np
import pytest
import tensorflow as tf

from gfl_tf import losses
from gfl_tf.ops import boxes as box_ops
from gfl_tf.ops import distributions

# Relative, as agreed with the reference. The absolute part is for elements that are a difference of rounded terms.
TOLERANCE = dict(rtol=1e-5, atol=1e-7)


@pytest.fixture(scope="module")
def reference(shared):
    return dict(np.load(shared / "reference" / "losses.npz"))


def one_hot_targets(labels, scores, num_classes=10):
    """[24, C]: the score at the label's class; label 10 is background."""
    targets = np.zeros((len(labels), num_classes), np.float32)
    rows = np.flatnonzero(labels < num_classes)
    targets[rows, labels[rows]] = scores[rows]
    return targets


def value_and_gradient(function, x, loss_of=tf.reduce_sum):
    x = tf.constant(x)
    with tf.GradientTape() as tape:
        tape.watch(x)
        value = function(x)
        scalar = loss_of(value)
    return value.numpy(), tape.gradient(scalar, x).numpy()


def check_reduced(reference, group, loss, targets, weights=None):
    """The Keras class, summed with weights and divided by avg_factor, is the reference's reduced loss."""
    logits = reference[f"{group}/{'pred' if group == 'giou' else 'logits'}"]
    scale = float(reference.get(f"{group}/loss_weight", 1.0)) / float(reference[f"{group}/avg_factor"])
    value, gradient = value_and_gradient(lambda x: loss(targets, x, sample_weight=weights) * scale, logits)
    np.testing.assert_allclose(value, reference[f"{group}/loss_reduced"], **TOLERANCE)
    np.testing.assert_allclose(gradient, reference[f"{group}/grad_of_reduced"], **TOLERANCE)


@pytest.mark.parametrize("group", ["qfl_logits", "qfl_logits_extreme"])  # extreme: logits of +-20 to +-120
def test_quality_focal_loss(reference, group):
    targets = one_hot_targets(reference[f"{group}/label"], reference[f"{group}/score"])
    value, gradient = value_and_gradient(lambda x: losses.quality_focal_loss(targets, x), reference[f"{group}/logits"])
    np.testing.assert_allclose(value, reference[f"{group}/loss_elem"], **TOLERANCE)
    np.testing.assert_allclose(value.sum(axis=1), reference[f"{group}/loss_per_anchor"], **TOLERANCE)
    np.testing.assert_allclose(gradient, reference[f"{group}/grad_of_sum"], **TOLERANCE)
    loss = losses.QualityFocalLoss(reduction="sum")
    check_reduced(reference, group, loss, targets, reference[f"{group}/weight"])


def joint_from_probabilities(targets, probabilities):
    """Loss and gradient with respect to J, of the joint loss at class logits of J and a quality of exactly 1."""
    probabilities = probabilities.astype(np.float64)
    logits = (np.log(probabilities) - np.log1p(-probabilities)).astype(np.float32)
    quality = np.full((len(logits), 1), 40.0, np.float32)
    value, gradient = value_and_gradient(lambda x: losses.quality_focal_loss(targets, x, quality), logits)
    return value, gradient / (probabilities * (1 - probabilities))  # dJ / d logit = J (1 - J)


def test_joint_quality_focal_loss(reference):
    targets = one_hot_targets(reference["qfl_prob/label"], reference["qfl_prob/score"])
    value, gradient = joint_from_probabilities(targets, reference["qfl_prob/prob"])
    np.testing.assert_allclose(value, reference["qfl_prob/loss_elem"], **TOLERANCE)
    np.testing.assert_allclose(gradient, reference["qfl_prob/grad_of_sum"], **TOLERANCE)


def test_joint_quality_focal_loss_extreme(reference):
    """Where the reference's guards are not at work: it clamps log J at -100 and divides by J (1 - J) >= 1e-12."""
    group = "qfl_prob_extreme"
    probabilities = reference[f"{group}/prob"]
    rows, columns = np.nonzero((probabilities > 1e-6) & (probabilities < 1))
    assert len(rows) > 20
    targets = one_hot_targets(reference[f"{group}/label"], reference[f"{group}/score"])[rows, columns][:, None]
    value, gradient = joint_from_probabilities(targets, probabilities[rows, columns][:, None])
    np.testing.assert_allclose(value[:, 0], reference[f"{group}/loss_elem"][rows, columns], **TOLERANCE)
    np.testing.assert_allclose(gradient[:, 0], reference[f"{group}/grad_of_sum"][rows, columns], **TOLERANCE)


@pytest.mark.parametrize(
    "group, options",
    [
        ("vfl_a0.75_g2_iouw", dict(alpha=0.75, gamma=2.0, iou_weighted=True)),
        ("vfl_a1_g1.5_noiouw", dict(alpha=1.0, gamma=1.5, iou_weighted=False)),
    ],
)
def test_varifocal_loss(reference, group, options):
    targets = reference[f"{group}/target"]
    value, gradient = value_and_gradient(
        lambda x: losses.varifocal_loss(targets, x, **options), reference[f"{group}/logits"]
    )
    np.testing.assert_allclose(value, reference[f"{group}/loss_elem"], **TOLERANCE)
    np.testing.assert_allclose(gradient, reference[f"{group}/grad_of_sum"], **TOLERANCE)
    check_reduced(reference, group, losses.VarifocalLoss(reduction="sum", **options), targets)


def test_focal_loss(reference):
    targets = one_hot_targets(reference["focal/label"], np.ones(24, np.float32))
    value, gradient = value_and_gradient(lambda x: losses.focal_loss(targets, x), reference["focal/logits"])
    np.testing.assert_allclose(value, reference["focal/loss_elem"], **TOLERANCE)
    np.testing.assert_allclose(gradient, reference["focal/grad_of_sum"], **TOLERANCE)
    check_reduced(reference, "focal", losses.FocalLoss(reduction="sum"), targets, reference["focal/weight"])


def test_distribution_focal_loss(reference):
    targets = reference["dfl/target"]
    value, gradient = value_and_gradient(lambda x: losses.distribution_focal_loss(targets, x), reference["dfl/logits"])
    np.testing.assert_allclose(value, reference["dfl/loss_elem"], **TOLERANCE)
    np.testing.assert_allclose(gradient, reference["dfl/grad_of_sum"], **TOLERANCE)
    loss = losses.DistributionFocalLoss(reduction="sum")
    check_reduced(reference, "dfl", loss, targets, reference["dfl/weight"])


def test_integral(reference):
    """32 distributions of 17 bins are 8 boxes of 4 sides, side-major."""
    box_logits = reference["dfl/logits"].reshape(8, 68)
    cotangent = reference["dfl/integral_cotangent"]
    value, gradient = value_and_gradient(
        lambda x: distributions.integral(distributions.side_probabilities(x)),
        box_logits,
        loss_of=lambda value: tf.reduce_sum(value * cotangent),
    )
    np.testing.assert_allclose(value, reference["dfl/integral"], **TOLERANCE)
    np.testing.assert_allclose(gradient, reference["dfl/integral_grad"].reshape(8, 68), rtol=1e-5, atol=1e-6)


def test_giou_loss(reference):
    target, pred = reference["giou/target"], reference["giou/pred"]
    value, gradient = value_and_gradient(lambda x: losses.giou_loss(target, x), pred)
    _, target_gradient = value_and_gradient(lambda x: losses.giou_loss(x, pred), target)
    np.testing.assert_allclose(value, reference["giou/loss_elem"], **TOLERANCE)
    assert np.isfinite(gradient).all() and np.isfinite(target_gradient).all()
    # The first 13 rows are ties and boxes without area, where a subgradient is any of several; the others are random.
    np.testing.assert_allclose(gradient[13:], reference["giou/grad_pred"][13:], **TOLERANCE)
    np.testing.assert_allclose(target_gradient[13:], reference["giou/grad_target"][13:], **TOLERANCE)


def test_giou_loss_reduced(reference):
    scale = float(reference["giou/loss_weight"]) / float(reference["giou/avg_factor"])
    loss = losses.GIoULoss(reduction="sum")(reference["giou/target"], reference["giou/pred"], reference["giou/weight"])
    np.testing.assert_allclose(loss * scale, reference["giou/loss_reduced"], **TOLERANCE)


def test_iou(reference):
    target, pred = reference["giou/target"], reference["giou/pred"]
    np.testing.assert_allclose(box_ops.iou(target, pred), reference["giou/iou_aligned"], **TOLERANCE)
    matrix = box_ops.iou(pred[:, np.newaxis], target[np.newaxis])
    np.testing.assert_allclose(matrix, reference["giou/iou_matrix"], **TOLERANCE)
