"""Batch normalization folded into convolutions: exact, only where it may be, and nowhere left over else."""

import keras
import keras_cv
import numpy as np
import pytest
import tensorflow as tf

from gfl_tf import compat
from gfl_tf.layers.deformable import DeformableConv2D
from gfl_tf.layers.grouped import GroupedConv2D
from gfl_tf.serving import fold

layers = keras.layers

CONVOLUTIONS = {
    "plain": lambda: layers.Conv2D(6, 3, use_bias=False),
    "bias": lambda: layers.Conv2D(6, 3, bias_initializer="random_normal"),
    "depthwise": lambda: layers.DepthwiseConv2D(3, depth_multiplier=2, use_bias=False),
    "grouped": lambda: GroupedConv2D(6, 3, groups=2, use_bias=False),
    "deformable": lambda: DeformableConv2D(6, modulated=False),
    "deformable, modulated": lambda: DeformableConv2D(6, strides=2, use_bias=True),
}
BLOCKS = {
    "inverted": lambda: keras_cv.layers.MBConvBlock(4, 4, expand_ratio=2, se_ratio=0.25),
    "fused": lambda: keras_cv.layers.FusedMBConvBlock(4, 4, expand_ratio=2),
    "fused, not expanded": lambda: keras_cv.layers.FusedMBConvBlock(4, 4),
    "sequential": lambda: keras.Sequential([layers.Conv2D(5, 1), layers.BatchNormalization(), layers.ReLU()]),
}
NOT_FOLDABLE = {
    "norm first": lambda x: layers.Conv2D(4, 1)(layers.BatchNormalization()(x)),
    "activation between": lambda x: layers.BatchNormalization()(layers.Conv2D(4, 1, activation="relu")(x)),
    "two consumers": lambda x: _twice(layers.Conv2D(4, 1)(x)),
    "convolution used twice": lambda x: _shared(layers.Conv2D(4, 1), layers.BatchNormalization(), x),
    "norm used twice": lambda x: _normalized_twice(layers.BatchNormalization(), x),
    "another axis": lambda x: layers.BatchNormalization(axis=1)(layers.Conv2D(4, 1)(x)),
    "an output beside the norm": lambda x: _with_norm(layers.Conv2D(4, 1)(x)),
    "statistics of the batch": lambda x: layers.BatchNormalization()(layers.Conv2D(4, 1)(x), training=True),
    "transposed": lambda x: layers.BatchNormalization()(layers.Conv2DTranspose(4, 1)(x)),
}
if not compat.KERAS_3:  # which takes only tensors by position
    NOT_FOLDABLE["statistics by position"] = lambda x: layers.BatchNormalization()(layers.Conv2D(4, 1)(x), True)


def _twice(x):
    return layers.Add()([x, layers.BatchNormalization()(x)])


def _with_norm(x):
    return [x, layers.BatchNormalization()(x)]


def _shared(conv, norm, x):
    return layers.Add()([norm(conv(x)), conv(conv(x))])


def _normalized_twice(norm, x):
    return layers.Add()([norm(layers.Conv2D(4, 1)(x)), norm(x)])


def randomize(model, seed=0):
    """All weights at random, batch normalization's statistics, too."""
    random = np.random.default_rng(seed)
    for layer in compat.nested_layers(model):
        if isinstance(layer, layers.BatchNormalization) and layer.built:
            layer.set_weights([random.uniform(0.5, 2.0, weight.shape) for weight in layer.get_weights()])
        if isinstance(layer, DeformableConv2D):
            layer.offset_conv.set_weights([random.normal(0, 0.1, w.shape) for w in layer.offset_conv.get_weights()])


def model_of(function, seed=0):
    keras.utils.set_random_seed(seed)
    inputs = keras.Input((8, 8, 4))
    model = keras.Model(inputs, function(inputs))
    compat.use_batch_norm(model)
    randomize(model, seed)
    return model


def fold_into(model, copy):
    """Folds all that is foldable of `model` into `copy`, of the same layers, and returns how much that was."""
    twins = {id(layer): twin for layer, twin in zip(compat.nested_layers(model), compat.nested_layers(copy))}
    copy.set_weights(model.get_weights())
    pairs = fold.foldable_pairs(compat.nested_layers(model)[1:])
    for conv, norm in pairs:
        fold.fold(conv, norm, twins[id(conv)], twins[id(norm)])
    return len(pairs)


def number_of_norms(function, *args):
    """How many batch normalizations a call of `function` computes."""
    graph = tf.function(function).get_concrete_function(*args).graph
    return sum(operation.type.startswith("FusedBatchNorm") for operation in graph.get_operations())


def check(function, folded):
    model, copy = model_of(function), model_of(function, seed=1)
    x = tf.random.normal([2, 8, 8, 4])
    before, norms = model(x), number_of_norms(model, x)
    assert fold_into(model, copy) == folded
    assert number_of_norms(copy, x) == norms - folded
    # Within rounding of the output's range.
    np.testing.assert_allclose(copy(x), before, rtol=0, atol=3e-6 * np.abs(before).max())
    np.testing.assert_array_equal(model(x), before)


@pytest.mark.parametrize("conv", CONVOLUTIONS.values(), ids=CONVOLUTIONS)
def test_every_convolution(conv):
    check(lambda x: layers.BatchNormalization()(conv()(x), training=False), folded=1)


@pytest.mark.parametrize("options", [dict(scale=False), dict(center=False)], ids=str)
def test_norm_without_scale_or_shift(options):
    check(lambda x: layers.BatchNormalization(**options)(layers.Conv2D(4, 1)(x)), folded=1)


@pytest.mark.parametrize(
    ("name", "folded"), [("inverted", 3), ("fused", 2), ("fused, not expanded", 1), ("sequential", 1)]
)
def test_inside_blocks(name, folded):
    check(lambda x: BLOCKS[name]()(x), folded)


@pytest.mark.parametrize("function", NOT_FOLDABLE.values(), ids=NOT_FOLDABLE)
def test_stays(function):
    model = model_of(function)
    assert fold.foldable_pairs([model, *model.layers]) == []


def test_a_layer_whose_output_is_read_elsewhere():
    model = model_of(lambda x: layers.BatchNormalization()(layers.Conv2D(4, 1)(x)))
    assert len(fold.foldable_pairs(model.layers)) == 1
    assert fold.foldable_pairs(model.layers, [model.layers[1].output]) == []
