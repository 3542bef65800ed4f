"""Multiply-adds, receptive fields and memory of small graphs, by hand."""

import math

import keras
import pytest
import tensorflow as tf

from gfl_tf.description import graph as graphs
from gfl_tf.description import memory, receptive_field
from gfl_tf.description.graph import Graph
from gfl_tf.layers.deformable import deformable_conv2d
from gfl_tf.necks.fpn import upsample


def graph_of(function, side, channels=2):
    """The `Graph` of a function of images, and the tensors that it returns."""
    traced = tf.function(function, autograph=False).get_concrete_function(tf.TensorSpec((1, side, side, channels)))
    outputs = [output.op.inputs[0] for output in tf.nest.flatten(traced.graph.structured_outputs)]
    return Graph(traced.graph.get_operations(), traced.graph.inputs[0], [], {}), outputs


def kernel(*shape):
    return tf.ones(shape)


@pytest.mark.parametrize(
    "function, multiply_adds",
    [
        (lambda x: tf.nn.conv2d(x, kernel(3, 3, 2, 5), 2, "SAME"), 4 * 4 * 5 * 9 * 2),
        (lambda x: tf.nn.conv2d(x, kernel(3, 3, 1, 6), 1, "SAME"), 8 * 8 * 6 * 9 * 1),  # two groups
        (lambda x: tf.nn.conv2d(x, kernel(3, 1, 2, 5), 1, "VALID"), 6 * 8 * 5 * 3 * 2),
        (lambda x: tf.nn.depthwise_conv2d(x, kernel(3, 3, 2, 3), [1, 1, 1, 1], "SAME"), 8 * 8 * 6 * 9),
        (lambda x: tf.matmul(tf.reshape(x, [64, 2]), kernel(2, 7)), 64 * 2 * 7),
        (lambda x: tf.matmul(tf.reshape(x, [2, 64]), kernel(2, 7), transpose_a=True), 64 * 2 * 7),
        (lambda x: tf.matmul(tf.reshape(x, [4, 16, 2]), kernel(4, 2, 7)), 4 * 16 * 2 * 7),
        (lambda x: tf.einsum("bhwc,cd->bhwd", x, kernel(2, 7)), 64 * 2 * 7),
        (lambda x: deformable_conv2d(x, tf.zeros((1, 8, 8, 18)), kernel(3, 3, 2, 5)), 8 * 8 * 5 * 9 * 2),
    ],
)
def test_multiply_adds(function, multiply_adds):
    graph, _ = graph_of(function, 8)
    assert [product.multiply_adds for product in graphs.products(graph)] == [multiply_adds]


def test_weights_are_found_behind_casts_and_reshapes():
    variables = [tf.Variable(tf.ones((18, 5))), tf.Variable(tf.ones((5, 3)))]

    def function(x):
        x = tf.nn.conv2d(x, tf.cast(tf.reshape(variables[0], [3, 3, 2, 5]), tf.float32), 1, "SAME")
        return tf.matmul(tf.reshape(x, [64, 5]), variables[1])

    traced = tf.function(function, autograph=False).get_concrete_function(tf.TensorSpec((1, 8, 8, 2)))
    names = {inner.name: number for number, (_, inner) in enumerate(traced.graph.captures)}
    graph = Graph(traced.graph.get_operations(), traced.graph.inputs[0], [], names)
    assert [product.variable for product in graphs.products(graph)] == [0, 1]


def test_a_product_of_two_maps_has_no_weights():
    graph, _ = graph_of(lambda x: tf.matmul(tf.reshape(x, [64, 2]), tf.reshape(x, [2, 64])), 8)
    assert [product.variable for product in graphs.products(graph)] == [None]


def test_receptive_fields():
    """A stem as ResNet's, a dilated kernel, then back up: places 1, 2, 4, 4, 4, 2 and 2 pixels apart."""

    def network(x):
        stem = tf.nn.conv2d(tf.pad(x, [[0, 0], [3, 3], [3, 3], [0, 0]]), kernel(7, 7, 2, 4), 2, "VALID")
        pooled = tf.nn.max_pool2d(stem, 3, 2, "SAME")
        deep = tf.nn.conv2d(pooled, kernel(3, 3, 4, 4), 1, "SAME")
        dilated = tf.nn.conv2d(deep, kernel(3, 3, 4, 4), 1, "SAME", dilations=2)
        up = upsample(dilated) + stem
        return stem, pooled, deep, dilated, up, tf.nn.depthwise_conv2d(up, kernel(3, 3, 4, 1), [1] * 4, "SAME")

    graph, outputs = graph_of(network, 256)
    fields = receptive_field.fields(graph)
    # 7; + 2 x 2; + 2 x 4; + 2 x 2 x 4; the larger of 35 and 7; + 2 x 2.
    assert [fields[output.name] for output in outputs] == [7, 11, 19, 35, 35, 39]


def test_statistics_over_a_map_do_not_count():
    """Squeeze and excitation, by a 1x1 convolution of the mean."""

    def network(x):
        x = tf.nn.conv2d(x, kernel(3, 3, 2, 4), 1, "SAME")
        squeezed = tf.nn.conv2d(tf.reduce_mean(x, [1, 2], keepdims=True), kernel(1, 1, 4, 4), 1, "SAME")
        return x * tf.sigmoid(squeezed)

    graph, (output,) = graph_of(network, 64)
    assert receptive_field.fields(graph)[output.name] == 3


def test_a_deformable_convolution_sees_all():
    graph, (output,) = graph_of(lambda x: deformable_conv2d(x, tf.zeros((1, 64, 64, 18)), kernel(3, 3, 2, 5)), 64)
    assert receptive_field.fields(graph)[output.name] == math.inf


def test_memory():
    """Maps of 4 x 4 x 2 float32, 128 bytes: the image goes after the first, a and b stay for the sum."""

    def network(x):
        a = tf.nn.relu(x)
        b = tf.reshape(tf.nn.relu(a), [1, 16, 2])
        return tf.nn.relu(a + tf.reshape(b, [1, 4, 4, 2]))

    graph, _ = graph_of(network, 4)
    assert memory.activations(graph) == memory.Activations(total=5 * 128, peak=3 * 128)


def test_weights_are_no_activations():
    layer = keras.layers.Conv2D(2, 3, padding="same")
    layer.build((None, 4, 4, 2))
    graph, _ = graph_of(layer, 4)
    # The image, the convolution and, where it is an operation of its own, the sum with the bias.
    assert memory.activations(graph).total in (2 * 128, 3 * 128)
