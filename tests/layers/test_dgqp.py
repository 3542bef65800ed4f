"""The statistics of the DGQP by hand, and its gradient."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from gfl_tf.layers.dgqp import DGQP

# Four sides of 4 bins, in eighths; the two largest of each by hand.
PROBABILITIES = np.array([[1, 4, 2, 1], [1, 1, 1, 5], [2, 2, 2, 2], [3, 3, 1, 1]]) / 8
TOP2 = np.array([[4, 2], [5, 1], [2, 2], [3, 3]]) / 8
MEAN = np.array([[3], [3], [2], [3]]) / 8
VARIANCE = np.array([[1], [4], [0], [0]]) / 64  # of (a, b): ((a - b) / 2)^2
PARTS = {"topk": TOP2, "mean": MEAN, "variance": VARIANCE}
COMBINATIONS = [
    ("topk",),
    ("mean",),
    ("variance",),
    ("topk", "mean"),
    ("topk", "variance"),
    ("mean", "variance"),
    ("topk", "mean", "variance"),
]


@pytest.mark.parametrize("statistics", COMBINATIONS, ids="-".join)
def test_statistics(statistics):
    """With identity matrices for weights the output is the feature itself (not negative, so ReLU lets it through)."""
    expected = np.concatenate([PARTS[name] for name in statistics], axis=1).reshape(1, 1, -1)  # side-major
    width = expected.shape[-1]
    dgqp = DGQP(k=2, hidden=width, statistics=statistics, outputs=width)
    dgqp.build((None, None, 16))
    dgqp.set_weights([np.eye(width), np.zeros(width)] * 2)
    logits = np.log(PROBABILITIES).reshape(1, 1, 16) + 3.0
    np.testing.assert_allclose(dgqp(tf.constant(logits, tf.float32)), expected, rtol=1e-5, atol=1e-7)


def test_order_of_names_does_not_matter():
    outputs = []
    for statistics in (("topk", "mean"), ("mean", "topk")):
        keras.utils.set_random_seed(0)
        outputs.append(DGQP(k=2, statistics=statistics)(np.log(PROBABILITIES).reshape(1, 16).astype(np.float32)))
    np.testing.assert_array_equal(*outputs)


def test_two_layers_with_relu():
    """Output = W2 relu(W1 F + b1) + b2 on the four means 3/8, 3/8, 2/8, 3/8."""
    dgqp = DGQP(k=2, hidden=2, statistics=("mean",))
    dgqp.build((None, 16))
    kernel = np.array([[8, 0], [0, 8], [0, -8], [-8, 0]])
    dgqp.set_weights([kernel, np.array([1, -3]), np.array([[10], [100]]), np.array([0.5])])
    # Hidden: 3 - 3 + 1 = 1 and 3 - 2 - 3 = -2, cut off at 0; output 10 + 0 + 0.5.
    value = dgqp(np.log(PROBABILITIES).reshape(1, 16).astype(np.float32))
    np.testing.assert_allclose(value, [[10.5]], rtol=1e-5)


@pytest.mark.parametrize("prior, logit", [(0.5, 0.0), (0.75, np.log(3))])
def test_prior(prior, logit):
    """A feature of zero scores the prior: log(p / (1 - p))."""
    dgqp = DGQP(k=2, prior=prior)
    dgqp.build((None, 16))
    np.testing.assert_allclose(dgqp.output_layer(tf.zeros((1, 64))), [[logit]], atol=1e-6)


def test_quality_shapes_the_distribution():
    """The statistics are not detached: a gradient reaches every side's logits."""
    logits = tf.random.stateless_normal((1, 3, 16), seed=(1, 2))
    dgqp = DGQP(k=2, hidden=8)
    with tf.GradientTape() as tape:
        tape.watch(logits)
        value = dgqp(logits)
    gradient = tf.reshape(tape.gradient(value, logits), (3, 4, 4))
    assert (tf.reduce_max(tf.abs(gradient), axis=-1).numpy() > 0).all()


@pytest.mark.parametrize("dtype", [tf.bfloat16, tf.float16])
def test_float32_inside(dtype):
    assert DGQP(k=2)(tf.zeros((1, 16), dtype)).dtype == tf.float32


def test_wrong_arguments_are_named():
    with pytest.raises(ValueError, match="statistics is .'median',.; it must be .* each one of 'topk'"):
        DGQP(statistics=("median",))
    with pytest.raises(ValueError, match="statistics is ..; it must be one or more values"):
        DGQP(statistics=())
    with pytest.raises(ValueError, match="k = 5 is larger than the 4 bins"):
        DGQP(k=5)(tf.zeros((1, 16)))


def test_serialization():
    dgqp = DGQP(k=3, hidden=5, statistics=("variance",), outputs=7, prior=0.3)
    restored = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(dgqp))
    assert restored.get_config() == dgqp.get_config()
