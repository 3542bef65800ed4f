import numpy as np
import pytest
import tensorflow as tf

from gfl_tf.ops.largest import largest


def _with_gradient(function, values):
    values = tf.constant(values)
    with tf.GradientTape() as tape:
        tape.watch(values)
        found = function(values)
        loss = tf.reduce_sum(found * tf.constant([5.0, 3.0, 2.0, 1.0])[: found.shape[-1]])
    return found.numpy(), tape.gradient(loss, values).numpy()


@pytest.mark.parametrize("k", (1, 3, 4))
def test_values_and_gradients_are_those_of_top_k(k):
    values = np.random.default_rng(k).random((5, 4, 17), np.float32)
    found = _with_gradient(lambda values: largest(values, k), values)
    expected = _with_gradient(lambda values: tf.math.top_k(values, k).values, values)
    np.testing.assert_array_equal(found[0], expected[0])
    np.testing.assert_array_equal(found[1], expected[1])


def test_all_of_a_row_are_sorted():
    np.testing.assert_array_equal(largest(tf.constant([0.2, 0.5, 0.3]), 3), np.float32([0.5, 0.3, 0.2]))


def test_equal_values_are_each_counted_and_share_their_gradient():
    found, gradient = _with_gradient(lambda values: largest(values, 2), np.float32([0.1, 0.4, 0.4, 0.1]))
    np.testing.assert_array_equal(found, np.float32([0.4, 0.4]))
    np.testing.assert_array_equal(gradient, [0.0, 4.0, 4.0, 0.0])  # (5 + 3) / 2
    found, gradient = _with_gradient(lambda values: largest(values, 1), np.float32([0.5, 0.0, 0.5]))
    np.testing.assert_array_equal(gradient, [2.5, 0.0, 2.5])  # of one place


def test_any_shape_in_a_graph():
    values = np.random.default_rng(0).random((2, 3, 5), np.float32)
    function = tf.function(lambda values: largest(values, 2), input_signature=[tf.TensorSpec([None, None, 5])])
    np.testing.assert_array_equal(function(values), tf.math.top_k(values, 2).values)
