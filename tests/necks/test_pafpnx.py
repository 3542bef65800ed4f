"""PAFPNX against its definition in plain numpy."""

import numpy as np
import pytest
import tensorflow as tf

from gfl_tf.necks.pafpnx import PAFPNX
from tests.necks.test_fpn import conv_by_loop

CHANNELS, GROUPS = 4, 2
SIZES = {"P3": (12, 20, 2), "P4": (6, 10, 3), "P5": (3, 5, 5)}  # 96 x 160 pixels


def features():
    rng = np.random.default_rng(0)
    return {level: rng.normal(size=(2, *size)).astype(np.float32) for level, size in SIZES.items()}


def built(**options):
    """A neck with random weights, biases too, whose deformable kernels lie a cell lower: offsets (1, 0)."""
    neck = PAFPNX(CHANNELS, GROUPS, **options)
    neck(features())
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
    """P3 to P7 of one image."""

    def twice(x):
        return x.repeat(2, axis=0).repeat(2, axis=1)

    laterals = [neck.laterals[level] for level in SIZES]
    m3, m4, m5 = (
        conv_by_loop(inputs[level], layer.kernel.numpy(), layer.bias.numpy()) for level, layer in zip(SIZES, laterals)
    )
    m4 = m4 + twice(m5)
    m3 = m3 + twice(m4)
    n3 = block_by_hand(m3, neck.outputs["P3"])
    n4 = block_by_hand(m4, neck.outputs["P4"]) + block_by_hand(n3, neck.downsamples["P4"], stride=2)
    n5 = block_by_hand(m5, neck.outputs["P5"]) + block_by_hand(n4, neck.downsamples["P5"], stride=2)
    levels = [block_by_hand(n, neck.aggregations[level]) for level, n in zip(SIZES, (n3, n4, n5))]
    levels.append(block_by_hand(levels[-1], neck.extra["P6"], stride=2))
    p6 = np.maximum(levels[-1], 0) if neck.extra_relu else levels[-1]
    return [*levels, block_by_hand(p6, neck.extra["P7"], stride=2)]


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
    neck = PAFPNX(CHANNELS, GROUPS)
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
        PAFPNX(CHANNELS, groups=3)(features())
