"""Boxes as one number a side, worked out by hand."""

import math

import keras
import numpy as np
import pytest
import tensorflow as tf

from gfl_tf.boxes.points import AnchorDeltas, DiracDistances
from gfl_tf.ops.deltas import boxes_to_deltas
from gfl_tf.ops.grid import Places

# Two places: a point with an anchor of 40 x 20 around it, and one with 16 x 16.
PLACES = Places(
    tf.constant([[30.0, 30], [100, 60]]), tf.constant([8.0, 16]), tf.constant([[10.0, 20, 50, 40], [92, 52, 108, 68]])
)
LOG2 = math.log(2)


@pytest.mark.parametrize("unit, factors", [("stride", (8, 16)), ("pixel", (1, 1))])
@pytest.mark.parametrize(
    "activation, output, distances",
    [
        ("exp", [0, LOG2, -LOG2, 0], [1, 2, 0.5, 1]),
        ("relu", [1.5, 2, -3, 0], [1.5, 2, 0, 0]),
        ("none", [1.5, 2, 0.5, 0], [1.5, 2, 0.5, 0]),
    ],
)
def test_distances_decode(unit, factors, activation, output, distances):
    coder = DiracDistances(activation=activation, unit=unit)
    boxes = coder.decode(tf.constant([output, output], tf.float32), PLACES)
    for box, (x, y), factor in zip(boxes, PLACES.points_px, factors):
        left, top, right, bottom = factor * np.array(distances)
        np.testing.assert_allclose(box, [x - left, y - top, x + right, y + bottom], rtol=1e-6)


def test_distances_have_neither_loss_nor_extras():
    coder = DiracDistances()
    assert (coder.num_outputs, coder.loss_weight) == (4, 0)
    assert coder.extras(tf.zeros([2, 4]), PLACES) == {}


def test_deltas_decode():
    """40 x 20 around (30, 30): the centre moves by 0.1 x 40 and -0.2 x 20, width x 2, height / 2. 16 x 16: as it is."""
    output = tf.constant([[1.0, -2, LOG2 / 0.2, -LOG2 / 0.2], [0, 0, 0, 0]])
    coder = AnchorDeltas()
    assert coder.num_outputs == 4
    np.testing.assert_allclose(coder.decode(output, PLACES), [[-6, 21, 74, 31], [92, 52, 108, 68]], rtol=1e-5)
    output *= [0.1, 0.1, 0.2, 0.2]
    plain = AnchorDeltas(stddevs=(1, 1, 1, 1))
    np.testing.assert_allclose(plain.decode(output, PLACES), [[-6, 21, 74, 31], [92, 52, 108, 68]], rtol=1e-5)
    assert coder.extras(output, PLACES) == {}


@pytest.mark.parametrize("stddevs", [(0.1, 0.1, 0.2, 0.2), (1.0, 1.0, 1.0, 1.0)])
def test_delta_loss(stddevs):
    """Targets of (0.1, -0.2, log 2, -log 2) / stddevs and of 0, outputs that miss them by 1, 2, 3, 4 and by 0.5."""
    targets = np.array([[0.1, -0.2, LOG2, -LOG2], [0, 0, 0, 0]]) / stddevs
    boxes = tf.constant([[-6.0, 21, 74, 31], [92, 52, 108, 68]])
    output = tf.constant(targets + [[1, -2, 3, -4], [0.5, 0, 0, 0]], tf.float32)
    coder = AnchorDeltas(stddevs=stddevs, delta_weight=0.7)
    assert (coder.loss_name, coder.loss_weight) == ("delta_loss", 0.7)
    np.testing.assert_allclose(coder.loss(output, boxes, PLACES), [10, 0.5], rtol=1e-5)


def test_what_the_delta_loss_asks_for_decodes_to_the_target():
    boxes = tf.constant([[3.0, 5, 40, 61], [50, 52, 148, 60]])
    coder = AnchorDeltas()
    output = boxes_to_deltas(PLACES.anchors, boxes, coder.stddevs)
    np.testing.assert_allclose(coder.loss(output, boxes, PLACES), [0, 0], atol=1e-6)
    np.testing.assert_allclose(coder.decode(output, PLACES), boxes, rtol=1e-5)


@pytest.mark.parametrize(
    "coder",
    [DiracDistances(activation="relu", unit="pixel"), AnchorDeltas(stddevs=(1.0, 1.0, 2.0, 2.0), delta_weight=0.5)],
)
def test_contract(coder):
    """Any leading axes, and a way through Keras's files."""
    places = Places(*(tf.tile(value[tf.newaxis], [3] + [1] * value.shape.rank) for value in PLACES))
    output = tf.random.stateless_normal([3, 2, 4], (0, 1))
    boxes = coder.decode(output, places)
    np.testing.assert_allclose(coder.decode(output[2], PLACES), boxes[2], rtol=1e-6)
    assert keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(coder)) == coder


@pytest.mark.parametrize(
    "cls, options, message",
    [
        (
            DiracDistances,
            dict(activation="softplus"),
            "activation is 'softplus'; it must be one of 'exp', 'relu', 'none'",
        ),
        (DiracDistances, dict(unit="px"), "unit is 'px'; it must be one of 'stride', 'pixel'"),
        (AnchorDeltas, dict(delta_weight=-0.5), "delta_weight is -0.5; it must be a number of at least 0"),
    ],
)
def test_impossible_arguments_are_refused(cls, options, message):
    with pytest.raises(ValueError, match=message):
        cls(**options)
