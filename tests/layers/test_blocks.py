"""Group normalization, towers, scale and preprocessing."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from gfl_tf import compat
from gfl_tf.layers.blocks import ConvGN, GroupNormalization, Preprocess, Scale, conv3x3, head_initializer


def test_group_normalization_by_hand():
    """Two channels in one group, values 1, 3, 5, 7: mean 4, variance (9 + 1 + 1 + 9) / 4 = 5."""
    norm = GroupNormalization(groups=1, epsilon=0.0)
    x = tf.constant([1.0, 3, 5, 7], shape=(1, 1, 2, 2))
    expected = np.float32([-3, -1, 1, 3]).reshape(1, 1, 2, 2) / np.sqrt(5)
    np.testing.assert_allclose(norm(x), expected, rtol=1e-6)
    norm.gamma.assign([2, 3])
    norm.beta.assign([10, 20])
    np.testing.assert_allclose(norm(x), expected * [2, 3] + [10, 20], rtol=1e-6)


def test_group_normalization_against_the_reference(shared):
    reference = np.load(shared / "reference" / "ops.npz")
    norm = GroupNormalization(groups=8)
    x, expected = (reference[f"gn/{key}"].transpose(0, 2, 3, 1) for key in ("x", "out_8groups"))
    norm.build(x.shape)
    norm.set_weights([reference["gn/weight"], reference["gn/bias"]])
    np.testing.assert_allclose(norm(x), expected, rtol=1e-5, atol=1e-6)


def test_group_normalization_is_keras_own_with_its_gradient():
    rng = np.random.default_rng(0)
    x = tf.constant(rng.normal(1, 2, (2, 5, 7, 12)).astype(np.float32))
    cotangent = rng.normal(0, 1, x.shape).astype(np.float32)
    results = []
    for norm in (GroupNormalization(groups=4), keras.layers.GroupNormalization(groups=4, epsilon=1e-5)):
        norm.build(x.shape)
        norm.set_weights([np.linspace(0.5, 2, 12), np.linspace(-1, 1, 12)])
        with tf.GradientTape() as tape:
            tape.watch(x)
            y = norm(x)
        results.append([y, *tape.gradient(y, [x, norm.gamma, norm.beta], output_gradients=cotangent)])
    for ours, keras_own in zip(*results):
        np.testing.assert_allclose(ours, keras_own, rtol=1e-4, atol=1e-5)


def test_group_normalization_of_any_size_in_bfloat16():
    """Moments and gradient are computed in float32, the output's products and sums in bfloat16."""
    rng = np.random.default_rng(0)
    # values that bfloat16 holds
    x, cotangent = (tf.cast(tf.constant(rng.normal(2, 1, (2, 6, 4, 8)), tf.bfloat16), tf.float32) for _ in range(2))
    norm = GroupNormalization(groups=2)
    norm.build(x.shape)

    @tf.function(input_signature=[tf.TensorSpec([None, None, None, 8], dtype) for dtype in (x.dtype, tf.bfloat16)])
    def results(x, small):
        found = []
        for inputs in (x, small):
            with tf.GradientTape() as tape:
                tape.watch(inputs)
                y = norm.call(inputs)
            gradients = tape.gradient(y, [inputs, norm.gamma], output_gradients=tf.cast(cotangent, inputs.dtype))
            found.append([y, *gradients])
        return found

    expected, found = results(x, tf.cast(x, tf.bfloat16))
    assert [each.dtype for each in found] == [tf.bfloat16, tf.bfloat16, tf.float32]
    y, of_x, of_gamma = (tf.cast(each, tf.float32) for each in found)
    np.testing.assert_allclose(y, expected[0], atol=2**-8 * 2 * float(tf.reduce_max(x)))  # two roundings
    np.testing.assert_allclose(of_x, expected[1], rtol=2**-8, atol=1e-6)
    np.testing.assert_allclose(of_gamma, expected[2], rtol=1e-5)


def test_constant_input_is_normalized_to_beta():
    """Variance 0, computed as a difference of squares, must not fall below 0."""
    norm = GroupNormalization(groups=1)
    x = tf.fill((1, 16, 16, 4), 1000.1)
    assert np.isfinite(norm(x)).all()
    np.testing.assert_allclose(norm(tf.fill((1, 2, 2, 4), 3.0)), np.zeros((1, 2, 2, 4)), atol=1e-5)


def test_group_normalization_refuses_uneven_groups():
    with pytest.raises(ValueError, match="12 channels do not divide into 5 groups"):
        GroupNormalization(groups=5)(tf.zeros((1, 2, 2, 12)))


@pytest.mark.parametrize("depthwise, kernels", [(False, ["kernel"]), (True, ["depthwise_kernel", "pointwise_kernel"])])
def test_conv_gn(depthwise, kernels):
    block = ConvGN(8, groups=2, depthwise=depthwise)
    y = block(tf.random.stateless_normal((2, 6, 5, 4), seed=(1, 2)))
    assert y.shape == (2, 6, 5, 8)
    assert tf.reduce_min(y) == 0 and 0.2 < tf.reduce_mean(tf.cast(y > 0, tf.float32)) < 0.8  # ReLU of zero-mean values
    assert sorted(map(compat.own_name, block.weights)) == ["beta", *kernels[:-1], "gamma", kernels[-1]]


@pytest.mark.parametrize("strides, padding", [(1, "SAME"), (2, "VALID")])
def test_depthwise_by_hand(strides, padding):
    """Each channel with its own 3x3 kernel, then sums over channels, then the bias; nothing between."""
    conv = conv3x3(5, strides, depthwise=True)
    x = tf.random.stateless_normal((2, 7, 9, 4), seed=(1, 2))
    conv.build(x.shape)
    each, across, bias = (np.random.default_rng(0).normal(size=w.shape).astype(np.float32) for w in conv.weights)
    conv.set_weights([each, across, bias])
    filtered = tf.nn.depthwise_conv2d(x, each, [1, strides, strides, 1], padding)
    np.testing.assert_allclose(conv(x), filtered @ across[0, 0] + bias, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("initializer", [lambda depthwise: "glorot_uniform", head_initializer])
def test_depthwise_starts_as_large_as_a_full_convolution(initializer):
    """The depthwise kernel would lose the signal with a head's standard deviation of 0.01."""
    x = tf.random.stateless_normal((1, 34, 34, 64), seed=(1, 2))
    full, light = (conv3x3(64, 2, form, kernel_initializer=initializer(form))(x) for form in (False, True))
    np.testing.assert_allclose(tf.math.reduce_std(light), tf.math.reduce_std(full), rtol=0.15)


def test_a_convolution_is_not_deformable_and_depthwise():
    with pytest.raises(ValueError, match="a convolution is deformable or depthwise, not both"):
        ConvGN(8, groups=2, deformable=True, depthwise=True)


def test_scale():
    scale = Scale()
    np.testing.assert_array_equal(scale(tf.constant([1.0, -2.0])), [1, -2])
    scale.scale.assign(3.0)
    np.testing.assert_array_equal(scale(tf.constant([1.0, -2.0])), [3, -6])


def test_preprocess_pads_with_zeros_after_normalization():
    preprocess = Preprocess(mean=(10, 20, 30), std=(2, 4, 5), divisor=4)
    images = np.full((1, 3, 5, 3), (12, 16, 30), np.uint8)
    y = preprocess(images).numpy()
    assert y.shape == (1, 4, 8, 3) and y.dtype == np.float32
    np.testing.assert_array_equal(y[0, :3, :5], np.tile([1, -1, 0], (3, 5, 1)))  # (12 - 10) / 2, (16 - 20) / 4, 0
    y[0, :3, :5] = 0
    assert not y.any()


def test_preprocess_leaves_the_pixels_to_a_backbone_that_rescales():
    images = np.full((1, 32, 64, 3), 200, np.uint8)
    np.testing.assert_array_equal(Preprocess()(images), images)


@pytest.mark.parametrize(
    "layer",
    [
        GroupNormalization(4, 1e-3),
        ConvGN(8, groups=2),
        ConvGN(8, groups=2, depthwise=True),
        Scale(),
        Preprocess((1, 2, 3), (4, 5, 6), 64),
    ],
)
def test_serialization(layer):
    config = keras.saving.serialize_keras_object(layer)
    assert keras.saving.deserialize_keras_object(config).get_config() == layer.get_config()
