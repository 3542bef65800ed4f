"""The operations of graphs that can be counted by hand, and of a detector."""

import pytest
import tensorflow as tf

from gfl_tf.benchmark import work_on_paper
from gfl_tf.benchmark.work_on_paper import Operation
from gfl_tf.benchmark.workloads import Case
from gfl_tf.description import describe
from gfl_tf.description.graph import Graph

pytestmark = pytest.mark.one_stack

FREE = tf.Variable(tf.ones([3, 3, 2, 5]))
FROZEN = tf.Variable(tf.ones([3, 3, 2, 2]))


def operations(function):
    """Of a function of an image of 8 x 8 with two channels, that learns `FREE`."""
    traced = tf.function(function, autograph=False).get_concrete_function(tf.TensorSpec((1, 8, 8, 2)))
    graph = traced.graph
    variables = {inner.name: id(v) for v in (FREE, FROZEN) for outer, inner in graph.captures if outer is v.handle}
    return work_on_paper.operations(Graph(graph.get_operations(), graph.inputs[0], [], variables), {id(FREE)})


def conv(images, kernel):
    return tf.nn.conv2d(images, kernel, 1, "SAME")


IMAGE = 4 * 64 * 2
FIRST = Operation(2 * 64 * 5 * 9 * 2, IMAGE + 4 * 9 * 2 * 5 + 4 * 64 * 5, 1)


def test_the_first_product_needs_no_gradient_of_the_image():
    assert operations(lambda x: conv(x, FREE)) == [FIRST]


def test_what_is_behind_frozen_weights_alone_has_no_backward_pass():
    of_frozen = Operation(2 * 64 * 2 * 9 * 2, 2 * IMAGE + 4 * 9 * 2 * 2, 0)
    found = operations(lambda x: conv(tf.nn.relu(conv(x, FROZEN)), FREE))
    assert found == [of_frozen, Operation(0, 2 * IMAGE, 0), FIRST]


def test_what_is_behind_learnt_weights_has_one():
    first, relu = operations(lambda x: tf.nn.relu(conv(x, FREE)))
    assert first == FIRST and relu == Operation(0, 2 * 4 * 64 * 5, 2)


def test_a_detectors_step(tiny_gfl):
    step = work_on_paper.of_step(tiny_gfl, Case(64, 96, 3))
    described = describe.describe(tiny_gfl, 64, 96)
    assert sum(operation.flops for operation in step.operations) == described.total.flops
    assert work_on_paper.flops(tiny_gfl, 64, 96) == described.total.flops
    assert step.activation_bytes == described.activations.total and step.batch_size == 3
    assert step.trained == described.total.parameters
    products = [operation for operation in step.operations if operation.flops]
    assert [each.backward for each in products] == [1] + [2] * (len(products) - 1)
