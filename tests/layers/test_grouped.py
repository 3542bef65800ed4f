"""Grouped convolution against one tf.nn.conv2d per group, both as TensorFlow's op and from dense blocks."""

import functools

import keras
import numpy as np
import pytest
import tensorflow as tf

from gfl_tf.layers import grouped
from gfl_tf.layers.grouped import GroupedConv2D, grouped_conv2d


@pytest.fixture(params=["native", "blocks"])
def way(request, monkeypatch):
    """float32 on x86 takes TensorFlow's op; the other formulation is what other processors would take."""
    if request.param == "blocks":
        monkeypatch.setattr(grouped, "_has_native_gradient", lambda dtype: False)


def normal(shape, seed, dtype=tf.float32):
    return tf.constant(np.random.default_rng(seed).normal(size=shape), dtype)


def one_by_one(inputs, kernel, groups, strides, padding, dilation_rate):
    parts = zip(tf.split(inputs, groups, axis=-1), tf.split(kernel, groups, axis=-1))
    outputs = [tf.nn.conv2d(x, k, strides, padding.upper(), dilations=dilation_rate) for x, k in parts]
    return tf.concat(outputs, axis=-1)


def outputs_and_gradients(function, *variables):
    """The output and the gradients of its product with fixed noise."""
    with tf.GradientTape() as tape:
        tape.watch(variables)
        outputs = function(*variables)
        loss = tf.reduce_sum(outputs * normal(outputs.shape, 9, outputs.dtype))
    return (outputs, *tape.gradient(loss, variables))


def has_gradient_of_dilated_convolution():
    """oneDNN has it, which TensorFlow uses on processors with AVX-512."""
    try:
        dilated = functools.partial(tf.nn.conv2d, strides=1, padding="SAME", dilations=2)
        outputs_and_gradients(dilated, normal((1, 4, 4, 1), 0), normal((3, 3, 1, 1), 1))
    except tf.errors.InvalidArgumentError:
        return False
    return True


# groups, channels per group, filters per group, strides, padding, dilation. 16 channels of neighbouring groups merge
# into a block: 4 groups of 4, 3 of 3 (of 6 groups 5 do not divide), both of 5, none of 32. With one channel per group
# it is a depthwise convolution, which has no unequal strides.
CASES = [
    (32, 4, 4, 1, "same", 1),
    (32, 4, 4, 2, "valid", 1),
    (6, 3, 2, (2, 1), "valid", 1),
    (2, 5, 7, 1, "same", 2),
    (3, 32, 16, 2, "same", 1),
    (1, 8, 4, 2, "valid", 1),
    (8, 1, 1, 2, "valid", 1),
    (6, 1, 3, 1, "same", 2),
    (8, 1, 2, (2, 1), "same", 1),
]


@pytest.mark.usefixtures("way")
@pytest.mark.parametrize("groups,channels,filters,strides,padding,dilation_rate", CASES)
def test_against_a_loop(groups, channels, filters, strides, padding, dilation_rate):
    if dilation_rate > 1 and not has_gradient_of_dilated_convolution():
        pytest.skip("on this processor TensorFlow has no gradient of any dilated convolution")
    inputs, kernel = normal((2, 9, 12, groups * channels), 1), normal((3, 3, channels, groups * filters), 2)
    options = (groups, strides, padding, dilation_rate)
    actual = outputs_and_gradients(tf.function(lambda x, k: grouped_conv2d(x, k, *options)), inputs, kernel)
    expected = outputs_and_gradients(lambda x, k: one_by_one(x, k, *options), inputs, kernel)
    for ours, theirs in zip(actual, expected):  # float32 sums of up to 288 products in another order
        np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-5 * np.abs(theirs).max())


@pytest.mark.parametrize("dtype", [tf.float64, tf.bfloat16])
def test_other_types_are_trainable(dtype):
    """TensorFlow 2.15 on a CPU has no gradient of its own op in float64."""
    inputs, kernel = normal((1, 6, 5, 8), 1, dtype), normal((3, 3, 2, 12), 2, dtype)
    actual = outputs_and_gradients(lambda x, k: grouped_conv2d(x, k, 4, 2), inputs, kernel)
    expected = outputs_and_gradients(lambda x, k: one_by_one(x, k, 4, 2, "valid", 1), inputs, kernel)
    for ours, theirs in zip(actual, expected):
        assert ours.dtype == dtype
        theirs = tf.cast(theirs, tf.float64)
        # bfloat16 has 8 bits: sums of 18 products of it in another order
        tolerance = 1e-12 if dtype == tf.float64 else 0.03 * np.abs(theirs).max()
        np.testing.assert_allclose(tf.cast(ours, tf.float64), theirs, rtol=0, atol=tolerance)


@pytest.mark.usefixtures("way")
def test_under_xla():
    variables = normal((1, 6, 5, 16), 1), normal((3, 3, 4, 16), 2)
    compiled = tf.function(lambda x, k: outputs_and_gradients(lambda *v: grouped_conv2d(*v, 4), x, k), jit_compile=True)
    expected = outputs_and_gradients(lambda x, k: one_by_one(x, k, 4, 1, "valid", 1), *variables)
    for ours, theirs in zip(compiled(*variables), expected):
        np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-5)


@pytest.mark.usefixtures("way")
def test_layer():
    layer = GroupedConv2D(12, 3, strides=2, padding="same", groups=4, activation="relu", bias_initializer="ones")
    inputs = normal((2, 7, 8, 8), 1)
    outputs = keras.Sequential([keras.Input((None, None, 8)), layer])(inputs)
    assert layer.kernel.shape == (3, 3, 2, 12)
    expected = tf.nn.relu(one_by_one(inputs, layer.kernel, 4, 2, "same", 1) + 1.0)
    np.testing.assert_allclose(outputs, expected, rtol=1e-5, atol=1e-5)
    again = keras.layers.deserialize(keras.layers.serialize(layer))
    assert type(again) is GroupedConv2D and again.get_config() == layer.get_config()


@pytest.mark.parametrize("channels,filters", [(6, 8), (8, 6)])
def test_channels_that_do_not_fit(channels, filters):
    with pytest.raises(ValueError, match=f"{channels} channels and {filters} filters in 4 groups"):
        grouped_conv2d(tf.zeros((1, 4, 4, channels)), tf.zeros((3, 3, 2, filters)), 4)
