"""Distribution Focal Loss by hand, and the Generalized Focal Loss of eq. 7 with its special cases and minimum."""

import math

import numpy as np
import pytest
import tensorflow as tf

from gfl_tf import losses

# Probabilities 1/8, 4/8, 2/8, 1/8 over the bins 0 to 3.
PROBABILITIES = np.array([1, 4, 2, 1]) / 8
LOG2 = math.log(2)


@pytest.mark.parametrize(
    "target, loss",
    [
        (0.0, 3 * LOG2),  # -log(1/8)
        (1.0, LOG2),
        (3.0, 3 * LOG2),
        (1.25, 0.75 * LOG2 + 0.25 * 2 * LOG2),
        (2.5, 0.5 * 2 * LOG2 + 0.5 * 3 * LOG2),
        (-1.0, 3 * LOG2),  # clamped to the first bin
        (7.0, 3 * LOG2),  # and to the last
    ],
)
@pytest.mark.parametrize("shift", [0.0, 500.0, -500.0])  # of the logits: the softmax does not see it
def test_distribution_focal_loss(target, loss, shift):
    logits = np.log(PROBABILITIES) + shift
    value = losses.distribution_focal_loss([target], [logits])
    np.testing.assert_allclose(value, [loss], rtol=1e-6 if shift == 0 else 1e-4)  # 500 has 3e-5 of rounding


def test_distribution_focal_loss_shapes():
    value = losses.distribution_focal_loss(np.zeros((2, 5, 4)), np.zeros((2, 5, 4, 17), np.float16))
    assert value.shape == (2, 5, 4) and value.dtype == "float32"
    np.testing.assert_allclose(value, np.full((2, 5, 4), math.log(17)), rtol=1e-6)


def test_generalized_focal_loss_by_hand():
    """y = 2.25 between 2 and 4 at p = (3/4, 1/4): estimate 2.5, -|0.25|^2 (1.75 log(3/4) + 0.25 log(1/4))."""
    value = losses.generalized_focal_loss([2.25], [0.75], [0.25], 2.0, 4.0, 2.0)
    expected = -(0.25**2) * (1.75 * math.log(3 / 4) + 0.25 * math.log(1 / 4))
    np.testing.assert_allclose(value, [expected], rtol=1e-6)


def test_distillation_loss_by_hand():
    """At T = 10 the teacher's probabilities are 1/2, 1/4, 1/4 and the student's 1/3 each.

    KL = 1/2 log(3/2) + 2 * 1/4 log(3/4) = log(3) - 3/2 log(2); times T^2. Its gradient is T (q - p).
    """
    teacher = tf.constant([10 * LOG2, 0.0, 0.0]) - 70.0
    student = tf.constant([5.0, 5, 5])
    with tf.GradientTape() as tape:
        tape.watch([teacher, student])
        loss = losses.distillation_loss(teacher, student, 10.0)
    np.testing.assert_allclose(loss, 100 * (math.log(3) - 1.5 * LOG2), rtol=1e-4)
    of_teacher, of_student = tape.gradient(loss, [teacher, student])
    assert of_teacher is None
    np.testing.assert_allclose(of_student, 10 * (1 / 3 - np.array([1 / 2, 1 / 4, 1 / 4])), rtol=1e-4)


def test_distillation_loss_at_a_high_temperature():
    """Half the variance of the differences (1, 5, 0, 0), whose mean is 1.5: (0.25 + 12.25 + 2.25 + 2.25) / 4 / 2."""
    value = losses.distillation_loss([[1.0, 7, 3, 2]], [[0.0, 2, 3, 2]], 100.0)
    np.testing.assert_allclose(value, [2.125], rtol=0.03)  # what is left out is of the order of 5 / T
    same = losses.distillation_loss(np.ones((2, 4, 17), np.float16), np.ones((2, 4, 17)), 10.0)
    assert same.shape == (2, 4) and same.dtype == "float32" and not np.any(same)


@pytest.fixture
def logits():
    return np.random.default_rng(0).normal(0, 2, 50).astype(np.float32)


@pytest.mark.parametrize("gamma", [0.0, 1.0, 2.0])
def test_focal_loss_is_a_special_case(logits, gamma):
    """Eq. 8: y_l = 0, y_r = 1, y in {0, 1}, beta = gamma; without alpha, which 2 x 0.5 takes out."""
    targets = (np.arange(50) % 2).astype(np.float32)
    p = tf.sigmoid(logits)
    value = losses.generalized_focal_loss(targets, 1 - p, p, 0.0, 1.0, gamma)
    np.testing.assert_allclose(value, 2 * losses.focal_loss(targets, logits, alpha=0.5, gamma=gamma), rtol=1e-5)


@pytest.mark.parametrize("beta", [0.0, 1.0, 2.0, 2.5])
def test_quality_focal_loss_is_a_special_case(logits, beta):
    """Eq. 9: y_l = 0, y_r = 1, y in [0, 1]."""
    targets = np.random.default_rng(1).uniform(0, 1, 50).astype(np.float32)
    p = tf.sigmoid(logits)
    value = losses.generalized_focal_loss(targets, 1 - p, p, 0.0, 1.0, beta)
    np.testing.assert_allclose(value, losses.quality_focal_loss(targets, logits, beta=beta), rtol=1e-5, atol=1e-8)


def test_distribution_focal_loss_is_a_special_case():
    """Eq. 10: beta = 0, y_l and y_r the two bins around y."""
    rng = np.random.default_rng(2)
    bin_logits = rng.normal(0, 2, (50, 17)).astype(np.float32)
    targets = rng.uniform(0, 16, 50).astype(np.float32)
    left = np.floor(targets).astype(int)
    probabilities = tf.nn.softmax(bin_logits).numpy()
    p_left, p_right = probabilities[range(50), left], probabilities[range(50), left + 1]
    value = losses.generalized_focal_loss(targets, p_left, p_right, left, left + 1, 0.0)
    np.testing.assert_allclose(value, losses.distribution_focal_loss(targets, bin_logits), rtol=1e-5)


@pytest.mark.parametrize("beta", [0.0, 1.0, 2.0])
@pytest.mark.parametrize("y, y_left, y_right", [(0.3, 0.0, 1.0), (4.75, 4.0, 5.0), (2.5, 1.0, 6.0)])
def test_minimum_of_generalized_focal_loss(y, y_left, y_right, beta):
    """Section 3: the minimum lies at p_l = (y_r - y) / (y_r - y_l), p_r = (y - y_l) / (y_r - y_l)."""
    best = (y_right - y) / (y_right - y_left)
    grid = np.arange(1, 2000) / 2000  # p_l over the simplex p_l + p_r = 1; all three minima lie on it
    values = losses.generalized_focal_loss(y, grid, 1 - grid, y_left, y_right, beta).numpy()
    assert abs(grid[np.argmin(values)] - best) <= 1 / 2000

    p_left = tf.constant(best)
    with tf.GradientTape() as tape:
        tape.watch(p_left)
        value = losses.generalized_focal_loss(y, p_left, 1 - p_left, y_left, y_right, beta)
    gradient = tape.gradient(value, p_left)
    if beta == 1.0:  # |d| has a kink at 0: the gradient is one of the two sides', (y_r - y_l) x cross-entropy at most
        cross_entropy = losses.generalized_focal_loss(y, best, 1 - best, y_left, y_right, 0.0)
        assert abs(gradient) <= (y_right - y_left) * cross_entropy * 1.001
    else:
        np.testing.assert_allclose(gradient, 0, atol=1e-5)
    if beta:
        np.testing.assert_allclose(value, 0, atol=1e-6)


def test_the_gradient_at_the_minimum_is_finite_for_a_small_beta():
    """|d|^0.5 has an infinite slope at d = 0, where the loss is 0."""
    p_left = tf.constant(0.25)
    with tf.GradientTape() as tape:
        tape.watch(p_left)
        value = losses.generalized_focal_loss(0.75, p_left, 1 - p_left, 0.0, 1.0, 0.5)
    assert value == 0 and tape.gradient(value, p_left) == 0


def test_certain_probabilities_are_finite():
    """At y = y_l a probability p_r = 0 has no weight, and costs nothing."""
    p_right = tf.constant(0.0)
    with tf.GradientTape() as tape:
        tape.watch(p_right)
        value = losses.generalized_focal_loss(2.0, 1.0, p_right, 2.0, 3.0, 2.0)
    assert value == 0
    assert np.isfinite(tape.gradient(value, p_right))
