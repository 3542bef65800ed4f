"""Probabilities, expectation and standard deviation of the General distribution, worked out by hand."""

import numpy as np
import pytest
import tensorflow as tf

from gfl_tf.ops import distributions


def test_side_probabilities_are_side_major():
    """4 sides x 2 bins: logits 0 and log w are probabilities 1 / (1 + w) and w / (1 + w)."""
    weights = np.float32([1, 3, 7, 9])
    logits = np.stack([np.zeros(4), np.log(weights)], axis=-1).reshape(1, 8)
    expected = [[[1 / 2, 1 / 2], [1 / 4, 3 / 4], [1 / 8, 7 / 8], [1 / 10, 9 / 10]]]
    np.testing.assert_allclose(distributions.side_probabilities(tf.constant(logits)), expected, rtol=1e-6)


@pytest.mark.parametrize(
    "probabilities, mean, variance",
    [
        ((0, 0, 1, 0), 2, 0),
        ((0.5, 0, 0, 0.5), 1.5, 1.5**2),
        ((0.25, 0.25, 0.25, 0.25), 1.5, (1.5**2 + 0.5**2) / 2),
        ((0, 0.75, 0.25, 0), 1.25, 0.75 * 0.25**2 + 0.25 * 0.75**2),
    ],
)
@pytest.mark.parametrize("bin_width", [1.0, 0.5])
def test_moments(probabilities, mean, variance, bin_width):
    sides = tf.tile(tf.constant(probabilities, tf.float32)[tf.newaxis], [4, 1])
    np.testing.assert_allclose(distributions.integral(sides, bin_width), [mean * bin_width] * 4, rtol=1e-6)
    deviation = distributions.standard_deviation(sides, bin_width)
    np.testing.assert_allclose(deviation, [np.sqrt(variance) * bin_width] * 4, rtol=1e-6)


def test_low_precision_logits_become_float32():
    """bfloat16 has 8 bits: the softmax is taken after the cast."""
    logits = tf.cast(tf.random.stateless_normal([5, 68], seed=(1, 2)), tf.bfloat16)
    probabilities = distributions.side_probabilities(logits)
    assert probabilities.dtype == tf.float32
    np.testing.assert_allclose(tf.reduce_sum(probabilities, axis=-1), np.ones((5, 4)), rtol=1e-6)
