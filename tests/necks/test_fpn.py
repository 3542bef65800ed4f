"""FPN against its definition in plain numpy."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from gfl_tf.necks.fpn import FPN


def conv_by_loop(x, kernel, bias, stride=1):
    """[H, W, C] with kernel [k, k, C, F]: symmetric padding of (k - 1) / 2, as PyTorch has it."""
    k = kernel.shape[0]
    x = np.pad(x, [(k // 2, k // 2)] * 2 + [(0, 0)])
    height, width = ((side - k) // stride + 1 for side in x.shape[:2])
    windows = [
        [x[stride * i : stride * i + k, stride * j : stride * j + k] for j in range(width)] for i in range(height)
    ]
    return np.einsum("hwijc,ijcf->hwf", np.float64(windows), kernel) + bias


@pytest.fixture(scope="module")
def neck_and_features():
    keras.utils.set_random_seed(0)
    neck = FPN(channels=4)
    sizes = {"P3": (12, 20, 2), "P4": (6, 10, 3), "P5": (3, 5, 5)}  # 96 x 160 pixels
    features = {level: tf.random.normal((2, *size)) for level, size in sizes.items()}
    neck(features)
    for weight in neck.weights:
        weight.assign(tf.random.normal(weight.shape))  # biases too
    return neck, features


def test_is_what_the_definition_says(neck_and_features):
    neck, features = neck_and_features

    def conv(x, layer, stride=1):
        return conv_by_loop(x, layer.kernel.numpy(), layer.bias.numpy(), stride)

    for image in range(2):
        p3, p4, p5 = (conv(features[f"P{i}"][image].numpy(), neck.laterals[f"P{i}"]) for i in (3, 4, 5))
        p4 = p4 + p5.repeat(2, axis=0).repeat(2, axis=1)  # nearest neighbour
        p3 = p3 + p4.repeat(2, axis=0).repeat(2, axis=1)
        expected = [conv(p, neck.outputs[f"P{i}"]) for i, p in ((3, p3), (4, p4), (5, p5))]
        expected.append(conv(expected[-1], neck.extra["P6"], stride=2))  # from P5's output, no ReLU between
        expected.append(conv(expected[-1], neck.extra["P7"], stride=2))
        for actual, wanted in zip(neck(features), expected):
            np.testing.assert_allclose(actual[image], wanted, rtol=1e-4, atol=1e-4)


P2_SIZES = {"P2": (24, 40, 1), "P3": (12, 20, 2), "P4": (6, 10, 3), "P5": (3, 5, 5)}  # 96 x 160 pixels


@pytest.mark.parametrize(
    "extra_relu, extra_from_backbone", [(False, False), (True, False), (False, True), (True, True)]
)
@pytest.mark.parametrize("levels", [(2, 3, 4, 5, 6), (3, 4, 5), (4, 5, 6, 7), (5, 6, 7), (2, 3)])
def test_levels_and_extra_levels(levels, extra_relu, extra_from_backbone):
    """Every level from its definition; P6 of the backbone's P5 or the pyramid's, ReLU before P7 alone."""
    neck = FPN(levels, channels=4, extra_relu=extra_relu, extra_from_backbone=extra_from_backbone)
    features = {
        level: tf.random.stateless_normal((1, *size), (i, 0)) for i, (level, size) in enumerate(P2_SIZES.items())
    }
    maps = neck({level: x for level, x in features.items() if int(level[1]) >= levels[0]})
    for index, weight in enumerate(neck.weights):
        weight.assign(tf.random.stateless_normal(weight.shape, (index, 1)))
    maps = neck(features)  # a level below its own is not looked at
    assert len(maps) == len(levels)

    def conv(x, layer, stride=1):
        return conv_by_loop(x, layer.kernel.numpy(), layer.bias.numpy(), stride)

    inner, expected = None, {}
    for level in range(5, levels[0] - 1, -1):
        lateral = conv(features[f"P{level}"][0].numpy(), neck.laterals[f"P{level}"])
        inner = lateral if inner is None else lateral + inner.repeat(2, axis=0).repeat(2, axis=1)
        if level in levels:
            expected[level] = conv(inner, neck.outputs[f"P{level}"])
    if 6 in levels:
        below = features["P5"][0].numpy() if extra_from_backbone else expected[5]
        expected[6] = conv(below, neck.extra["P6"], stride=2)
    if 7 in levels:
        below = np.maximum(expected[6], 0) if extra_relu else expected[6]
        expected[7] = conv(below, neck.extra["P7"], stride=2)
    for level, actual in zip(levels, maps):
        np.testing.assert_allclose(actual[0], expected[level], rtol=1e-4, atol=1e-4)


def test_depthwise(neck_and_features):
    """The same neck, but each 3x3 kernel is the product of a depthwise and a 1x1 one."""
    neck, features = neck_and_features
    light = FPN(channels=4, depthwise=True)
    light(features)
    for weight in light.weights:
        weight.assign(tf.random.normal(weight.shape))
    full = FPN(channels=4)
    full.build({level: value.shape for level, value in features.items()})
    for level, lateral in full.laterals.items():
        lateral.set_weights(light.laterals[level].get_weights())
    for one, other in ((full.outputs, light.outputs), (full.extra, light.extra)):
        assert one.keys() == other.keys()
        for level, conv in one.items():
            each, across, bias = other[level].get_weights()
            conv.set_weights([each * across, bias])  # [3, 3, C, 1] and [1, 1, C, F]
    for actual, expected in zip(light(features), full(features)):
        np.testing.assert_allclose(actual, expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("depthwise", [False, True])
def test_config_gives_the_same_neck(depthwise):
    neck = FPN(levels=(2, 3, 4, 5, 6), channels=4, extra_relu=True, extra_from_backbone=True, depthwise=depthwise)
    again = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(neck))
    assert type(again) is FPN and again.get_config() == neck.get_config()
    for one in (neck, again):
        one.build({level: (None, *size) for level, size in P2_SIZES.items()})
    again.set_weights(neck.get_weights())
    features = {level: tf.ones((1, *size)) for level, size in P2_SIZES.items()}
    tf.nest.map_structure(np.testing.assert_array_equal, again(features), neck(features))


def test_odd_sizes_round_up(neck_and_features):
    neck, _ = neck_and_features
    features = {"P3": tf.zeros((1, 44, 68, 2)), "P4": tf.zeros((1, 22, 34, 3)), "P5": tf.zeros((1, 11, 17, 5))}
    sizes = [tuple(level.shape[1:3]) for level in neck(features)]
    assert sizes == [(44, 68), (22, 34), (11, 17), (6, 9), (3, 5)]


@pytest.mark.parametrize("size", ["7x9", "6x8"])
def test_strided_convolution_is_the_reference_one(shared, size):
    """The neck's own P6 convolution with the reference's weights, at an odd and an even size."""
    reference = np.load(shared / "reference" / "ops.npz")
    height, width = (int(side) for side in size.split("x"))
    x = reference["resample/x"].transpose(0, 2, 3, 1)[:, :height, :width]
    kernel = reference["resample/conv_w"].transpose(2, 3, 1, 0)  # [3, 3, 3 in, 4 out]
    neck = FPN(channels=4)
    conv = neck.extra["P6"]
    conv.build((None, None, None, 3))
    conv.set_weights([kernel, np.zeros(4)])
    expected = reference[f"resample/conv3_s2_p1_{size}"].transpose(0, 2, 3, 1)
    np.testing.assert_allclose(conv(neck.pad(x)), expected, rtol=1e-5, atol=1e-5)
