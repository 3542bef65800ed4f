"""PAFPNX against its definition in plain numpy."""

import numpy as np
import pytest
import tensorflow as tf

from gfl_tf.necks.pafpnx import PAFPNX
from tests.necks.test_fpn import conv_by_loop

CHANNELS, GROUPS = 4, 2
SIZES = {"P3": (12, 20, 2), "P4": (6, 10, 3), "P5": (3, 5, 5)}  # 96 x 160 pixels


def features(sizes=SIZES):
    rng = np.random.default_rng(0)
    return {level: rng.normal(size=(2, *size)).astype(np.float32) for level, size in sizes.items()}


def built(sizes=SIZES, **options):
    """A neck with random weights, biases too, whose deformable kernels lie a cell lower: offsets (1, 0)."""
    neck = PAFPNX(channels=CHANNELS, groups=GROUPS, **options)
    neck(features(sizes))
    rng = np.random.default_rng(1)
    for weight in neck.weights:
        weight.assign(rng.normal(size=weight.shape))
    for block in neck.aggregations.values():
        if block.deformable:
            offset_conv = block.conv.offset_conv
            offset_conv.kernel.assign(tf.zeros_like(offset_conv.kernel))
            offset_conv.bias.assign(9 * [1.0, 0.0] + 9 * [0.0])  # the last ones: masks of sigmoid(0) = 0.5
    return neck


def block_by_hand(x, block, stride=1):
    """Convolution without bias, then group norm, of one image."""
    kernel = block.conv.kernel.numpy().astype(np.float64)
    if block.deformable:
        below = np.pad(x, [(0, 2), (0, 0), (0, 0)])
        x = 0.5 * conv_by_loop(below, kernel, 0.0)[1:-1]
    else:
        x = conv_by_loop(x, kernel, 0.0, stride)
    groups = x.reshape(*x.shape[:2], GROUPS, -1)
    moments = dict(axis=(0, 1, 3), keepdims=True)
    x = (groups - groups.mean(**moments)) / np.sqrt(groups.var(**moments) + 1e-5)
    return x.reshape(*x.shape[:2], -1) * block.norm.gamma.numpy() + block.norm.beta.numpy()


def by_hand(neck, inputs):
    """The levels of one image."""
    of_backbone = [level for level in inputs if level in neck.laterals]
    top_down, m = {}, None
    for level in reversed(of_backbone):
        layer = neck.laterals[level]
        lateral = conv_by_loop(inputs[level], layer.kernel.numpy(), layer.bias.numpy())
        m = top_down[level] = lateral if m is None else lateral + m.repeat(2, axis=0).repeat(2, axis=1)
    maps, n = {}, None
    for level in neck.outputs:
        output = block_by_hand(top_down[level], neck.outputs[level])
        n = output if n is None else output + block_by_hand(n, neck.downsamples[level], stride=2)
        maps[level] = block_by_hand(n, neck.aggregations[level])
    if 6 in neck.levels:
        maps["P6"] = block_by_hand(maps["P5"], neck.extra["P6"], stride=2)
    if 7 in neck.levels:
        p6 = np.maximum(maps["P6"], 0) if neck.extra_relu else maps["P6"]
        maps["P7"] = block_by_hand(p6, neck.extra["P7"], stride=2)
    return [maps[f"P{level}"] for level in neck.levels]


@pytest.mark.parametrize("deformable, extra_relu", [(True, True), (False, False)])
def test_is_what_the_definition_says(deformable, extra_relu):
    neck = built(deformable=deformable, extra_relu=extra_relu)
    inputs = features()
    actual = neck(inputs)
    assert [level.shape[1:3] for level in actual] == [(12, 20), (6, 10), (3, 5), (2, 3), (1, 2)]
    for image in range(2):
        expected = by_hand(neck, {level: x[image] for level, x in inputs.items()})
        for level, wanted in zip(actual, expected):
            np.testing.assert_allclose(level[image], wanted, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("levels", [(2, 3, 4, 5, 6), (3, 4, 5), (4, 5, 6, 7), (2, 3)])
def test_other_levels(levels):
    sizes = {"P2": (24, 40, 1), **SIZES}
    neck = built({level: size for level, size in sizes.items() if int(level[1]) >= levels[0]}, levels=levels)
    inputs = features(sizes)  # a level below its own is not looked at
    actual, expected = neck(inputs), by_hand(neck, {level: x[0] for level, x in inputs.items()})
    assert len(actual) == len(expected) == len(levels)
    for level, wanted in zip(actual, expected):
        np.testing.assert_allclose(level[0], wanted, rtol=1e-4, atol=1e-4)


def test_config_gives_the_same_neck():
    neck = built(deformable=False, extra_relu=False)
    again = PAFPNX.from_config(neck.get_config())
    again.build({level: (None, *size) for level, size in SIZES.items()})
    assert [weight.shape for weight in again.weights] == [weight.shape for weight in neck.weights]
    again.set_weights(neck.get_weights())
    for level, other in zip(neck(features()), again(features())):
        np.testing.assert_array_equal(level, other)


def test_starts_from_random_kernels_of_keras_default_spread():
    """Every block has an initializer of its own: one instance would repeat its values."""
    neck = PAFPNX(channels=CHANNELS, groups=GROUPS)
    neck.build({level: (None, *size) for level, size in SIZES.items()})
    parts = (neck.outputs, neck.downsamples, neck.aggregations, neck.extra)
    kernels = [block.conv.kernel.numpy() for part in parts for block in part.values()]
    limit = np.sqrt(6 / (2 * 9 * CHANNELS))  # Glorot and Bengio, AISTATS 2010, eq. 16
    for kernel in kernels:
        assert 0.8 * limit < np.abs(kernel).max() <= limit
    assert len({kernel.tobytes() for kernel in kernels}) == len(kernels) == 10


def test_xla_and_gradients():
    """Of the neck's own operations; the deformable convolution has its own test."""
    neck = built(deformable=False)
    inputs = {level: tf.constant(x) for level, x in features().items()}

    def gradients():
        with tf.GradientTape() as tape:
            total = tf.add_n([tf.reduce_sum(tf.square(level)) for level in neck(inputs)])
        return tape.gradient(total, neck.trainable_variables)

    for plain, compiled in zip(gradients(), tf.function(gradients, jit_compile=True)()):
        np.testing.assert_allclose(plain, compiled, rtol=1e-3, atol=1e-3)


def test_refuses_uneven_groups():
    with pytest.raises(ValueError, match="4 channels do not divide into 3 groups"):
        PAFPNX(channels=CHANNELS, groups=3)(features())
