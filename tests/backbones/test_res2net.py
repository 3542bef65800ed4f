"""Res2Net: the published network's size and names, what its pools see, and how it trains and is saved."""

import re

import keras
import numpy as np
import pytest
import tensorflow as tf

from gfl_tf.backbones.res2net import Res2Net
from gfl_tf.layers.deformable import DeformableConv2D


@pytest.fixture(scope="module")
def small():
    """The smallest Res2Net: 50 layers, splits of 4 to 32 channels."""
    return Res2Net(50, scales=3, base_width=4)


def test_names_and_sizes():
    backbone = Res2Net(101, scales=4, base_width=26)
    shapes = {
        re.sub(r"_(?=\d)|(?<=\d)_", ".", layer.name): layer.weights[0].shape
        for layer in backbone.layers
        if layer.weights and not isinstance(layer, keras.layers.BatchNormalization)
    }
    expected = {"stem.0": (3, 3, 3, 32), "stem.3": (3, 3, 32, 32), "stem.6": (3, 3, 32, 64)}
    channels = 64
    for stage, (depth, planes, width) in enumerate([(3, 64, 26), (4, 128, 52), (23, 256, 104), (3, 512, 208)], start=1):
        expected[f"layer{stage}.0.downsample.1"] = (1, 1, channels, 4 * planes)
        for index in range(depth):
            name = f"layer{stage}.{index}"
            expected[f"{name}.conv1"] = (1, 1, channels, 4 * width)
            expected.update({f"{name}.convs.{split}": (3, 3, width, width) for split in range(3)})
            expected[f"{name}.conv3"] = (1, 1, 4 * width, 4 * planes)
            channels = 4 * planes
    assert shapes == expected
    norms = {layer.name for layer in backbone.layers if isinstance(layer, keras.layers.BatchNormalization)}
    assert len(norms) == len(shapes)
    assert {"stem_1", "stem_7", "layer1_0_bn1", "layer1_0_bns_2", "layer3_22_bn3", "layer4_0_downsample_2"} <= norms


def outputs_of(backbone, names, height, width):
    pixels = tf.constant(np.random.default_rng(1).normal(size=(1, height, width, 3)), tf.float32)
    values = keras.Model(backbone.inputs, [backbone.get_layer(name).output for name in names])(pixels)
    return [tf.nest.map_structure(np.array, value) for value in values]


def test_pools(small):
    """On maps of odd sizes: 43 x 55 pixels are 11 x 14 in C2, 6 x 7 in C3 and 3 x 4 in C4."""
    names = ["layer2_0_split", "layer2_0_pool", "layer1_2_out", "layer2_0_downsample_0"]
    (*_, split), pooled, c2, shortcut = outputs_of(small, names, 43, 55)
    assert pooled.shape == (1, 6, 7, 8) and shortcut.shape == (1, 6, 7, 256)
    np.testing.assert_allclose(pooled[0, 0, 0], split[0, :2, :2].sum((0, 1)) / 9, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(pooled[0, 2, 3], split[0, 3:6, 5:8].mean((0, 1)), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(shortcut[0, 0, 0], c2[0, :2, :2].mean((0, 1)), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(shortcut[0, 5, 6], c2[0, 10, 12:].mean(0), rtol=1e-5, atol=1e-6)
    layers = {layer.name for layer in small.layers}
    # C2 has the size of the stem's output: its first block pools nothing.
    assert not layers & {"layer1_0_pool", "layer1_0_downsample_0"}


def test_splits(small):
    """In the first block of a stage every split is convolved alone; later the output of the one before is added."""

    for block, added in [("layer1_0", 0.0), ("layer1_1", 1.0)]:
        names = [f"{block}_{part}" for part in ("split", "bns_0", "convs_1", "concat")]
        (_, second, third), before, convolved, joined = outputs_of(small, names, 64, 64)
        before = np.maximum(before, 0)
        kernel = small.get_layer(f"{block}_convs_1").kernel
        expected = tf.nn.conv2d(second + added * before, kernel, 1, "SAME")
        np.testing.assert_allclose(convolved, expected, rtol=1e-4, atol=1e-5)
        np.testing.assert_array_equal(joined[..., :4], before)
        np.testing.assert_array_equal(joined[..., 8:], third)


def test_deformable_and_trained():
    backbone = Res2Net(50, 3, 4, deformable_stages=("C4",), frozen_stages=2, norm_eval=True)
    convs = {layer.name for layer in backbone.layers if isinstance(layer, DeformableConv2D)}
    assert convs == {f"layer3_{index}_convs_{split}" for index in range(6) for split in range(2)}
    assert {layer.name.split("_")[0] for layer in backbone.layers if layer.trainable_variables} == {"layer3", "layer4"}
    pixels = tf.constant(np.random.default_rng(1).normal(size=(1, 64, 64, 3)), tf.float32)
    with tf.GradientTape() as tape:
        loss = tf.reduce_mean(tf.square(backbone(pixels, training=True)))
    gradients = tape.gradient(loss, backbone.trainable_variables)
    still = [v.name for v, g in zip(backbone.trainable_variables, gradients) if g is None or not np.any(g)]
    assert not still


def test_saving(small, tmp_path):
    small.save(tmp_path / "small.keras")
    again = keras.models.load_model(tmp_path / "small.keras")
    assert type(again) is Res2Net and again.get_config() == small.get_config()
    (actual,), (expected,) = (outputs_of(model, ["layer4_2_out"], 64, 64) for model in (again, small))
    np.testing.assert_array_equal(actual, expected)


@pytest.mark.parametrize("arguments,message", [(dict(depth=18), "depth 18"), (dict(scales=1), "scales 1")])
def test_impossible_arguments(arguments, message):
    with pytest.raises(ValueError, match=message):
        Res2Net(**arguments)
