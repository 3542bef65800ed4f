"""The classification losses worked out by hand."""

import math

import numpy as np
import pytest
import tensorflow as tf

from gfl_tf import losses

# p = sigmoid(logit): logit 0 is 1/2, log 3 is 3/4, -log 3 is 1/4.
LOG3 = math.log(3)


@pytest.mark.parametrize(
    "target, logit, loss",
    [
        (1, 0, 0.25 * (1 / 2) ** 2 * math.log(2)),
        (0, 0, 0.75 * (1 / 2) ** 2 * math.log(2)),
        (1, LOG3, 0.25 * (1 / 4) ** 2 * math.log(4 / 3)),
        (0, LOG3, 0.75 * (3 / 4) ** 2 * math.log(4)),
        (1, -LOG3, 0.25 * (3 / 4) ** 2 * math.log(4)),
        (1, -100, 0.25 * 100),
    ],
)
def test_focal_loss(target, logit, loss):
    np.testing.assert_allclose(losses.focal_loss([float(target)], [float(logit)]), [loss], rtol=1e-6)


def test_focal_loss_options():
    """alpha 0.5, gamma 1 at p = 3/4: 0.5 (1 - 3/4) log(4/3)."""
    value = losses.focal_loss([1.0], [LOG3], alpha=0.5, gamma=1.0)
    np.testing.assert_allclose(value, [0.5 * 0.25 * math.log(4 / 3)], rtol=1e-6)


@pytest.mark.parametrize(
    "target, logit, beta, loss",
    [
        (0.0, 0, 2, (1 / 2) ** 2 * math.log(2)),
        (1.0, LOG3, 2, (1 / 4) ** 2 * math.log(4 / 3)),
        # -|0.5 - 0.75|^2 (0.5 log 0.25 + 0.5 log 0.75)
        (0.5, LOG3, 2, (1 / 4) ** 2 * (math.log(4) + math.log(4 / 3)) / 2),
        (0.5, LOG3, 1, (1 / 4) * (math.log(4) + math.log(4 / 3)) / 2),
        (0.5, LOG3, 0, (math.log(4) + math.log(4 / 3)) / 2),
        (0.75, LOG3, 2, 0),  # the score is the target
        (1.0, -100, 2, 100),
        (0.0, 100, 2, 100),
    ],
)
def test_quality_focal_loss(target, logit, beta, loss):
    value = losses.quality_focal_loss([target], [float(logit)], beta=float(beta))
    np.testing.assert_allclose(value, [loss], rtol=1e-6, atol=1e-12)


@pytest.mark.parametrize(
    "target, logit, loss",
    [
        (0.0, LOG3, 0.75 * (3 / 4) ** 2 * math.log(4)),  # negative: alpha p^gamma -log(1 - p)
        (0.0, -LOG3, 0.75 * (1 / 4) ** 2 * math.log(4 / 3)),
        # positive: q times the cross-entropy, no modulating factor
        (0.5, LOG3, 0.5 * (math.log(4 / 3) + math.log(4)) / 2),
        (0.8, 0, 0.8 * math.log(2)),
    ],
)
def test_varifocal_loss(target, logit, loss):
    np.testing.assert_allclose(losses.varifocal_loss([target], [float(logit)]), [loss], rtol=1e-6)


def test_varifocal_loss_options():
    options = dict(alpha=0.5, gamma=1.0, iou_weighted=False)
    value = losses.varifocal_loss([0.0, 0.8], [LOG3, 0.0], **options)
    np.testing.assert_allclose(value, [0.5 * 0.75 * math.log(4), math.log(2)], rtol=1e-6)


@pytest.mark.parametrize(
    "function", [losses.focal_loss, losses.quality_focal_loss, losses.varifocal_loss], ids=lambda f: f.__name__
)
def test_unreduced_float32(function):
    value = function(np.zeros((2, 3, 4), np.float16), np.zeros((2, 3, 4), np.float16))
    assert value.shape == (2, 3, 4)
    assert value.dtype == "float32"


@pytest.mark.parametrize(
    "function, option",
    [(losses.focal_loss, "gamma"), (losses.quality_focal_loss, "beta"), (losses.varifocal_loss, "gamma")],
)
def test_gradient_without_modulating_factor(function, option):
    """Finite where the probability rounds to 0 or 1."""
    logits = tf.constant([-200.0, 0.0, 200.0])
    for target in (0.0, 1.0):
        with tf.GradientTape() as tape:
            tape.watch(logits)
            value = function(tf.fill([3], target), logits, **{option: 0.0})
        assert np.isfinite(tape.gradient(value, logits)).all()


def test_options_are_given_by_name():
    """The third argument by position is the quality's logits."""
    with pytest.raises(TypeError, match="positional"):
        losses.focal_loss([1.0], [0.0], None, 0.5)


@pytest.mark.parametrize("target, logit", [(0.0, -200.0), (1.0, 200.0), (0.5, 0.0)])
def test_a_power_below_1_has_a_finite_gradient_at_the_target(target, logit):
    logits = tf.constant([logit])
    with tf.GradientTape() as tape:
        tape.watch(logits)
        loss = losses.quality_focal_loss([target], logits, beta=0.5)
    np.testing.assert_array_equal(loss, [0.0])
    np.testing.assert_array_equal(tape.gradient(loss, logits), [0.0])
