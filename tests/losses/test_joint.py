"""The losses of GFLv2's joint score against extended-precision numpy, from its two logits, up to +-1e4."""

import itertools
import math

import numpy as np
import pytest
import tensorflow as tf

from gfl_tf import losses

LOGITS = [0.0, 0.01, 0.3, 1, 2, 3, 4, 5, 6, 8, 10, 15, 17, 20, 30, 50, 87, 89, 100, 1e3, 1e4]
LOGITS = sorted({sign * logit for logit in LOGITS for sign in (1.0, -1.0)})
TARGETS = [0.0, 0.3, 0.7, 1.0]


def log_sigmoid(x):
    return -np.logaddexp(0, -x)


def exact(y, c, q, beta):
    """Loss and its derivatives by c and q, without a difference of near numbers but for y - J with 0 < y < 1.

    |y - J|^beta times the cross entropy, where every element has its beta: what all three losses are but for a factor.
    """
    y, c, q, beta = (np.asarray(t, np.longdouble) for t in (y, c, q, beta))
    log_j = log_sigmoid(c) + log_sigmoid(q)
    # 1 - J = (1 - C) + C (1 - I), for small J rather log1p(-J).
    log_not_j = np.logaddexp(log_sigmoid(-c), log_sigmoid(c) + log_sigmoid(-q))
    log_not_j = np.where(log_j < -1, np.log1p(-np.exp(np.minimum(log_j, -1))), log_not_j)
    cross_entropy = -y * log_j - (1 - y) * log_not_j
    distance = np.where(y == 1, np.exp(log_not_j), y - np.exp(log_j))
    modulation = np.abs(distance) ** beta
    # Of the modulation, by J.
    slope = -beta * np.sign(distance) * np.abs(distance) ** np.where(beta > 0, beta - 1, 0)

    def derivative(x):
        # dJ / dx = J (1 - sigmoid(x)), and dCE / dJ = -(y - J) / (J (1 - J)).
        dj = np.exp(log_j + log_sigmoid(-x))
        return slope * dj * cross_entropy - modulation * distance * np.exp(log_sigmoid(-x) - log_not_j)

    return modulation * cross_entropy, derivative(c), derivative(q)


CASES = [  # loss, options, its targets, factor and beta of each target
    *((losses.quality_focal_loss, dict(beta=beta), TARGETS, np.ones_like, beta) for beta in (1.0, 2.0, 2.5)),
    (losses.focal_loss, dict(alpha=0.3, gamma=0.0), [0.0, 1.0], lambda y: np.where(y > 0, 0.3, 0.7), 0.0),
    (losses.focal_loss, dict(alpha=0.3, gamma=2.0), [0.0, 1.0], lambda y: np.where(y > 0, 0.3, 0.7), 2.0),
    (losses.varifocal_loss, dict(), TARGETS, lambda y: np.where(y > 0, y, 0.75), 2.0),
    (losses.varifocal_loss, dict(gamma=1.5), TARGETS, lambda y: np.where(y > 0, y, 0.75), 1.5),
    (losses.varifocal_loss, dict(iou_weighted=False), TARGETS, lambda y: np.where(y > 0, 1, 0.75), 2.0),
]


@pytest.mark.parametrize("loss, options, targets, factor, beta", CASES)
def test_exact_and_finite(loss, options, targets, factor, beta):
    y, c, q = (np.float32(t)[:, np.newaxis] for t in zip(*itertools.product(targets, LOGITS, LOGITS)))
    leaves = tf.constant(c), tf.constant(q)
    with tf.GradientTape() as tape:
        tape.watch(leaves)
        value = loss(y, *leaves, **options)
        total = tf.reduce_sum(value)
    if loss is losses.varifocal_loss:
        beta = np.where(y > 0, 0.0, beta)  # positives have no modulating factor
    results = (value, *tape.gradient(total, leaves))
    for name, actual, expected in zip(("loss", "by class", "by quality"), results, exact(y, c, q, beta)):
        assert np.isfinite(actual).all()
        expected = (factor(y) * expected).astype(np.float64)
        # The absolute part is float32's rounding of y - J where J comes near y.
        np.testing.assert_allclose(actual, expected, rtol=1e-5, atol=1e-7, err_msg=name)


@pytest.mark.parametrize(
    "loss, target, expected",
    [
        (losses.quality_focal_loss, 0.5, -((1 / 8) ** 2) * (math.log(3 / 8) + math.log(5 / 8)) / 2),
        (losses.focal_loss, 1.0, -0.25 * (5 / 8) ** 2 * math.log(3 / 8)),
        (losses.focal_loss, 0.0, -0.75 * (3 / 8) ** 2 * math.log(5 / 8)),
        (losses.varifocal_loss, 0.5, -0.5 * (math.log(3 / 8) + math.log(5 / 8)) / 2),
        (losses.varifocal_loss, 0.0, -0.75 * (3 / 8) ** 2 * math.log(5 / 8)),
    ],
)
def test_by_hand(loss, target, expected):
    """Class and quality probabilities of 3/4 and 1/2: J = 3/8."""
    np.testing.assert_allclose(loss([[target]], [[math.log(3)]], [[0.0]]), [[expected]], rtol=1e-6)


by_loss = pytest.mark.parametrize(
    "loss", [losses.focal_loss, losses.quality_focal_loss, losses.varifocal_loss], ids=lambda loss: loss.__name__
)


@by_loss
def test_classes_share_the_quality(loss):
    """Quality logits [..., 1] against class logits [..., C]: the same as one class at a time, gradients summed."""
    rng = np.random.default_rng(0)
    targets = rng.uniform(0, 1, (2, 5, 3)).astype(np.float32)
    class_logits = rng.normal(0, 3, (2, 5, 3)).astype(np.float32)
    quality = tf.constant(rng.normal(0, 3, (2, 5, 1)).astype(np.float32))
    with tf.GradientTape(persistent=True) as tape:
        tape.watch(quality)
        together = loss(targets, class_logits, quality)
        singles = [loss(targets[..., i : i + 1], class_logits[..., i : i + 1], quality) for i in range(3)]
    np.testing.assert_allclose(together, tf.concat(singles, axis=-1), rtol=1e-6)
    gradient = sum(tape.gradient(single, quality) for single in singles)
    np.testing.assert_allclose(tape.gradient(together, quality), gradient, rtol=1e-5, atol=1e-7)


@by_loss
def test_certain_quality_leaves_the_loss_of_the_class_score(loss):
    rng = np.random.default_rng(1)
    targets, logits = rng.integers(0, 2, (20, 4)), rng.normal(0, 3, (20, 4))
    value = loss(targets, logits, np.full((20, 1), 1e4))
    np.testing.assert_allclose(value, loss(targets, logits), rtol=1e-5, atol=1e-8)


@by_loss
def test_float32_inside(loss):
    shapes = (2, 3, 4), (2, 3, 4), (2, 3, 1)
    value = loss(*(np.zeros(shape, np.float16) for shape in shapes))
    assert value.shape == (2, 3, 4) and value.dtype == tf.float32
