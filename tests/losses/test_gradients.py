"""Gradients against numeric ones.

The losses compute in float32, whose rounding of 6e-8 a difference quotient divides by its step h. The 5-point stencil
has an error of about h^4: at h = 0.05 both are about 1e-6 of the loss, so 2e-5 of the largest loss is allowed.
"""

import numpy as np
import pytest
import tensorflow as tf

from gfl_tf import losses

H = 0.05
STENCIL = ((-2, 1 / 12), (-1, -8 / 12), (1, 8 / 12), (2, -1 / 12))


def check_gradient(loss, x):
    """`loss`: [N, K] or [N, ...] -> [N, ...], row by row, so that one column of all rows is moved at once."""
    x = np.float32(x)
    leaf = tf.constant(x)
    with tf.GradientTape() as tape:
        tape.watch(leaf)
        value = loss(leaf)
        total = tf.reduce_sum(value)
    numeric = np.zeros(x.shape)
    for column in range(x.shape[1]):
        for steps, weight in STENCIL:
            moved = x.copy()
            moved[:, column] += steps * H
            rows = np.float64(loss(tf.constant(moved))).reshape(len(x), -1).sum(axis=1)
            numeric[:, column] += weight * rows / H
    assert np.abs(numeric).max() > 0.01  # there is a gradient to compare
    np.testing.assert_allclose(tape.gradient(total, leaf), numeric, atol=2e-5 * max(1.0, np.abs(value).max()))


@pytest.fixture
def rng():
    return np.random.default_rng(0)


@pytest.mark.parametrize(
    "function, options",
    [
        (losses.focal_loss, dict()),
        (losses.focal_loss, dict(alpha=0.6, gamma=1.5)),
        (losses.quality_focal_loss, dict()),
        (losses.quality_focal_loss, dict(beta=3.0)),
        (losses.varifocal_loss, dict()),
        (losses.varifocal_loss, dict(alpha=1.0, gamma=1.5, iou_weighted=False)),
    ],
    ids=lambda argument: getattr(argument, "__name__", None),
)
def test_classification(function, options, rng):
    targets = np.float32(rng.uniform(0, 1, (20, 5)) * (rng.uniform(0, 1, (20, 5)) > 0.5))
    if function is losses.focal_loss:
        targets = np.ceil(targets)
    check_gradient(lambda x: function(targets, x, **options), rng.normal(0, 2, (20, 5)))


@pytest.mark.parametrize(
    "function, options",
    [
        (losses.focal_loss, dict(alpha=0.6, gamma=2.0)),
        (losses.quality_focal_loss, dict(beta=2.0)),
        (losses.quality_focal_loss, dict(beta=3.0)),
        (losses.varifocal_loss, dict(alpha=1.0, gamma=1.5)),
    ],
    ids=lambda argument: getattr(argument, "__name__", None),
)
def test_joint(function, options, rng):
    """Columns: five class logits and the quality logit."""
    targets = np.float32(rng.uniform(0, 1, (20, 5)) * (rng.uniform(0, 1, (20, 5)) > 0.3))
    if function is losses.focal_loss:
        targets = np.ceil(targets)
    check_gradient(lambda x: function(targets, x[:, :5], x[:, 5:], **options), rng.normal(0, 2, (20, 6)))


def test_distribution(rng):
    targets = np.float32(rng.uniform(0, 7, 20))
    check_gradient(lambda x: losses.distribution_focal_loss(targets, x), rng.normal(0, 2, (20, 8)))


def test_generalized(rng):
    """Columns: logits of p_l and p_r, each on its own."""
    targets = np.float32(rng.uniform(2, 3, 20))

    def loss(x):
        p = tf.sigmoid(x)
        return losses.generalized_focal_loss(targets, p[:, 0], p[:, 1], 2.0, 3.0, 2.0)

    check_gradient(loss, rng.normal(0, 1, (20, 2)))


@pytest.mark.parametrize("loss", [losses.giou_loss, losses.diou_loss])  # CIoU holds its alpha fixed
def test_overlap(loss, rng):
    """Overlapping and disjoint boxes whose sides are at least 4 H apart, so that no step crosses a kink."""
    corner = rng.uniform(0, 10, (200, 2, 2))
    boxes = np.concatenate([corner, corner + rng.uniform(2, 8, (200, 2, 2))], axis=-1)  # [200, 2 boxes, 4]
    sides = boxes.reshape(200, 2, 2, 2)  # [..., corner, axis]
    gaps = np.abs(sides[:, 0, :, np.newaxis] - sides[:, 1, np.newaxis]).min(axis=(1, 2, 3))
    boxes = np.float32(boxes[gaps > 4 * H])
    size = np.minimum(boxes[:, 0, 2:], boxes[:, 1, 2:]) - np.maximum(boxes[:, 0, :2], boxes[:, 1, :2])
    assert 20 < (size > 0).all(axis=-1).sum() < len(boxes) - 20
    check_gradient(lambda x: loss(boxes[:, 0], x), boxes[:, 1])
    check_gradient(lambda x: loss(x, boxes[:, 1]), boxes[:, 0])
