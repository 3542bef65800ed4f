"""Results made again in the backward pass: the same gradients, statistics updated once, and in training mode."""

import functools

import keras
import numpy as np
import pytest
import tensorflow as tf

from gfl_tf.backbones.features import pyramid_features
from gfl_tf.layers.recompute import MIN_CONVOLUTIONS, Segments, recomputed

IMAGES = np.random.default_rng(0).uniform(0, 1, (2, 64, 96, 3)).astype(np.float32)


class Wrapped(keras.layers.Layer):
    """A layer inside another one that does not hand on whether it is in training."""

    def __init__(self, inner, **kwargs):
        super().__init__(**kwargs)
        self.inner = inner

    def build(self, input_shape):
        self.inner.build(input_shape)
        self.built = True

    def call(self, inputs):
        return self.inner(inputs)


class Counting(keras.layers.Layer):
    """How often it was called."""

    calls = 0

    def call(self, inputs):
        self.calls += 1
        return inputs


@pytest.fixture
def features():
    """Blocks of two convolutions and a sum, with normalization that learns from its batches."""

    keras.utils.set_random_seed(0)
    inputs = keras.Input((None, None, 3))
    x = inputs
    for index in range(5):
        # No convolutions of 1x1: TensorFlow crashes in their gradients on processors with AVX-512 where they have
        # strides and fewer than 16 channels.
        def conv(x, name, strides, index=index):
            return keras.layers.Conv2D(4, 3, strides, padding="same", use_bias=False, name=f"{index}_{name}")(x)

        x = Counting(name=f"{index}_counting")(x)
        y = keras.layers.BatchNormalization(momentum=0.5, name=f"{index}_norm")(conv(x, "first", 2))
        y = conv(keras.layers.ReLU()(y), "second", 1)
        y = Wrapped(keras.layers.BatchNormalization(momentum=0.5), name=f"{index}_wrapped")(y)
        x = keras.layers.ReLU(name=f"out{index}")(keras.layers.Add()([y, conv(x, "shortcut", 2)]))
    backbone = keras.Model(inputs, x)
    backbone.pyramid_level_inputs = {"P3": "out2", "P4": "out3", "P5": "out4"}
    return pyramid_features(backbone)


def test_gradients_and_statistics_are_those_of_without(features):
    before = features.get_weights()

    def made(recompute):
        features.set_weights(before)
        features.recompute = recompute

        @functools.partial(tf.function, autograph=False)
        def gradients(images):
            with tf.GradientTape() as tape:
                outputs = features(images, training=True)
                loss = tf.add_n([tf.reduce_sum(tf.square(output)) for output in outputs.values()])
            return outputs, tape.gradient(loss, features.trainable_variables)

        outputs, found = gradients(tf.constant(IMAGES))
        statistics = [value.numpy() for value in features.non_trainable_variables]
        return list(outputs.values()), statistics, found

    (outputs, statistics, found), (*as_before, found_again) = made(False), made(True)
    for one, other in zip([*outputs, *statistics], [item for group in as_before for item in group]):
        np.testing.assert_array_equal(one, other)
    assert len(statistics) == 20 and not np.array_equal(statistics[0], before[3])
    for one, other in zip(found, found_again):  # some sums have another order
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-5 * np.abs(one).max())


def test_segments_begin_with_what_is_trained(features):
    """A block has three convolutions. That of a frozen one is computed once, as is all in inference."""
    assert MIN_CONVOLUTIONS == 3 and len(Segments(features)) == 5
    for layer in features.layers:
        layer.trainable = not layer.name.startswith("0")
    features.recompute = True
    counting = [layer for layer in features.layers if isinstance(layer, Counting)]
    # The layer at the start of a block stands at the end of the segment before.
    for training, expected in ((True, [1, 1, 2, 2, 2]), (False, [1] * 5)):
        for layer in counting:
            layer.calls = 0
        with tf.GradientTape() as tape:
            loss = tf.reduce_sum(features(tf.constant(IMAGES), training=training)["P5"])
        tape.gradient(loss, features.trainable_variables)
        assert [layer.calls for layer in counting] == expected


def test_only_inputs_are_kept():
    """What the graph hands from the forward to the backward pass: the function's input, of all that is computed."""

    @functools.partial(tf.function, autograph=False)
    def gradient(x):
        with tf.GradientTape() as tape:
            tape.watch(x)
            y = recomputed(lambda x: tf.exp(tf.exp(x)))(x)
        return tape.gradient(y, x)

    x = tf.constant([0.5, 1.0])
    exponentials = [op for op in gradient.get_concrete_function(x).graph.get_operations() if op.type == "Exp"]
    assert len(exponentials) == 4
    np.testing.assert_allclose(gradient(x), np.exp(x + np.exp(x)), rtol=1e-6)
