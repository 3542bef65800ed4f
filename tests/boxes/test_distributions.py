"""Box sides as distributions, worked out by hand."""

import math

import keras
import numpy as np
import pytest
import tensorflow as tf

from gfl_tf.boxes.distributions import GaussianDistribution, GeneralDistribution
from gfl_tf.ops.grid import Places

# One place: the point (100, 60) at stride 8.
PLACES = Places(tf.constant([[100.0, 60]]), tf.constant([8.0]), tf.constant([[68.0, 28, 132, 92]]))
# In eighths over the bins 0 to 3, of left, top, right and bottom. Means 11/8, 18/8, 12/8 and 0.
PROBABILITIES = np.array([[1, 4, 2, 1], [1, 1, 1, 5], [2, 2, 2, 2], [8, 0, 0, 0]]) / 8
LOGITS = np.float32(np.log(PROBABILITIES + 1e-30)).reshape(1, 16)
LOG2 = math.log(2)


def box_of(left, top, right, bottom):
    """The target box [1, 4] of distances in strides."""
    return tf.constant([[100 - 8 * left, 60 - 8 * top, 100 + 8 * right, 60 + 8 * bottom]], tf.float32)


@pytest.mark.parametrize("bin_width", [1.0, 0.5])
def test_general_decode(bin_width):
    """The means times bin width and stride: 11, 18, 12 and 0 pixels, or half of that."""
    coder = GeneralDistribution(num_bins=3, bin_width=bin_width)
    assert coder.num_outputs == 16
    left, top, right = 11 * bin_width, 18 * bin_width, 12 * bin_width
    expected = [[100 - left, 60 - top, 100 + right, 60]]
    np.testing.assert_allclose(coder.decode(tf.constant(LOGITS), PLACES), expected, rtol=1e-5)


@pytest.mark.parametrize("bin_width", [1.0, 0.5])
def test_general_edge_stddev(bin_width):
    """Variances: mean of squares 21/8, 50/8, 28/8 and 0, less the squared means."""
    variances = np.array([21 / 8 - (11 / 8) ** 2, 50 / 8 - (18 / 8) ** 2, 28 / 8 - (12 / 8) ** 2, 0])
    extras = GeneralDistribution(num_bins=3, bin_width=bin_width).extras(tf.constant(LOGITS), PLACES)
    assert set(extras) == {"edge_stddev"}
    np.testing.assert_allclose(extras["edge_stddev"], [8 * bin_width * np.sqrt(variances)], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("bin_width", [1.0, 0.5])
def test_general_loss(bin_width):
    """Targets of 1.25, 2, 0.5 and 0 bins.

    Left: (3 log 2 + 2 x 1 log 2 ...) = 0.75 log(8/4) + 0.25 log(8/2) = 1.25 log 2; top: log 8 = 3 log 2;
    right: log 4 = 2 log 2; bottom: 0. Their mean: 6.25 / 4 log 2.
    """
    target = box_of(*(bin_width * np.array([1.25, 2, 0.5, 0])))
    value = GeneralDistribution(num_bins=3, bin_width=bin_width).loss(tf.constant(LOGITS), target, PLACES)
    np.testing.assert_allclose(value, [6.25 / 4 * LOG2], rtol=1e-5)


@pytest.mark.parametrize("distance, bins", [(2.9, 2.9), (3.0, 2.9), (50.0, 2.9), (0.0, 0.0), (-1.0, 0.0)])
def test_general_targets_are_clamped(distance, bins):
    """To 0 and n - 0.1, as in the reference: (3 - b) log(1 / p_2) + (b - 2) log(1 / p_3), or log(1 / p_0)."""
    logits = np.tile(LOGITS[:, :4], (1, 4))  # 1, 4, 2, 1 eighths on all sides
    expected = 3 * LOG2 if bins == 0 else 0.1 * 2 * LOG2 + 0.9 * 3 * LOG2
    value = GeneralDistribution(num_bins=3).loss(tf.constant(logits), box_of(*[distance] * 4), PLACES)
    np.testing.assert_allclose(value, [expected], rtol=1e-5)


def test_general_loss_asks_for_the_target():
    """The two bins around the target, in the shares of eq. 6, are its minimum: no gradient, and they decode to it."""
    distances = np.array([0.3, 1.0, 2.25, 2.6])
    target = box_of(*distances)
    probabilities = np.maximum(1 - np.abs(distances[:, np.newaxis] - np.arange(4)), 0)
    logits = tf.constant(np.float32(np.log(probabilities + 1e-30)).reshape(1, 16))
    coder = GeneralDistribution(num_bins=3)
    with tf.GradientTape() as tape:
        tape.watch(logits)
        value = coder.loss(logits, target, PLACES)
    np.testing.assert_allclose(tape.gradient(value, logits), np.zeros((1, 16)), atol=1e-6)
    np.testing.assert_allclose(coder.decode(logits, PLACES), target, rtol=1e-5)


# Distances of 1, 2, 0.5 and 4 strides, variances of 1, 4, 1/4 and 1 squared strides.
GAUSSIAN = tf.constant([[0.0, LOG2, -LOG2, 2 * LOG2, 0, 2 * LOG2, -2 * LOG2, 0]])


def test_gaussian_decode():
    coder = GaussianDistribution()
    assert coder.num_outputs == 8
    np.testing.assert_allclose(coder.decode(GAUSSIAN, PLACES), [[100 - 8, 60 - 16, 100 + 4, 60 + 32]], rtol=1e-6)
    np.testing.assert_allclose(coder.extras(GAUSSIAN, PLACES)["edge_stddev"], [[8, 16, 4, 8]], rtol=1e-6)


@pytest.mark.parametrize(
    "distances, expected",
    [
        # No error: the mean of a / 2, 0 + log 2 - log 2 + 0.
        ((1, 2, 0.5, 4), 0),
        # Errors of 1/2, 1, 1/2 and 1, eq. 9: e^-a d^2 / 2 = 1/8, 1/8, 1/2 and 1/2.
        ((0.5, 1, 1, 5), 1.25 / 4),
        # Errors of 2, 3, 4 and 5, eq. 10: e^-a (d - 1/2) = 1.5, 2.5 / 4, 3.5 x 4 and 4.5.
        ((3, 5, 4.5, 9), (1.5 + 2.5 / 4 + 3.5 * 4 + 4.5) / 4),
    ],
)
def test_gaussian_loss(distances, expected):
    np.testing.assert_allclose(
        GaussianDistribution().loss(GAUSSIAN, box_of(*distances), PLACES), [expected], rtol=1e-6, atol=1e-6
    )


def test_gaussian_loss_asks_for_distance_and_variance():
    """Its gradient vanishes at the target distance; by a it is (1 - e^-a d^2) / 2 a side, 0 where the variance is d^2.

    A variance of 1/4 with an error of 1/2 on all sides.
    """
    output = tf.constant([[math.log(1.5)] * 4 + [-2 * LOG2] * 4])
    with tf.GradientTape(persistent=True) as tape:
        tape.watch(output)
        there, half_off = (GaussianDistribution().loss(output, box_of(*[d] * 4), PLACES) for d in (1.5, 1.0))
    np.testing.assert_allclose(tape.gradient(there, output)[:, :4], np.zeros((1, 4)), atol=1e-6)
    np.testing.assert_allclose(tape.gradient(half_off, output)[:, 4:], np.zeros((1, 4)), atol=1e-6)


CODERS = [
    GeneralDistribution(num_bins=3, bin_width=0.5, distribution_weight=0.1),
    GaussianDistribution(distribution_weight=0.1),
]


@pytest.mark.parametrize("coder", CODERS)
def test_contract(coder):
    """Any leading axes, a named and weighted loss, and a way through Keras's files."""
    assert (coder.loss_name, coder.loss_weight) == ("distribution_loss", 0.1)
    places = Places(*(tf.tile(value[tf.newaxis], [2, 3] + [1] * (value.shape.rank - 1)) for value in PLACES))
    output = tf.random.stateless_normal([2, 3, coder.num_outputs], (0, 1))
    boxes = coder.decode(output, places)
    assert boxes.shape == (2, 3, 4)
    assert coder.extras(output, places)["edge_stddev"].shape == (2, 3, 4)
    assert coder.loss(output, boxes, places).shape == (2, 3)
    single = Places(*(value[1, 2] for value in places))
    np.testing.assert_allclose(coder.decode(output[1, 2], single), boxes[1, 2], rtol=1e-6)
    assert keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(coder)) == coder


@pytest.mark.parametrize(
    "cls, options, message",
    [
        (GeneralDistribution, dict(num_bins=0), "num_bins is 0; it must be a whole number of at least 1"),
        (GeneralDistribution, dict(bin_width=0.0), "bin_width is 0.0; it must be a number above 0"),
        (
            GeneralDistribution,
            dict(distribution_weight=-1.0),
            "distribution_weight is -1.0; it must be a number of at least 0",
        ),
        (
            GaussianDistribution,
            dict(distribution_weight=-1.0),
            "distribution_weight is -1.0; it must be a number of at least 0",
        ),
    ],
)
def test_impossible_arguments_are_refused(cls, options, message):
    with pytest.raises(ValueError, match=message):
        cls(**options)
