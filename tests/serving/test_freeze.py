"""A function with constants for variables."""

import numpy as np
import pytest
import tensorflow as tf

from gfl_tf.layers.deformable import DeformableConv2D
from gfl_tf.serving.freeze import frozen

WIDTH = 300
SPEC = tf.TensorSpec([None, WIDTH], tf.float32, name="x")
X = tf.random.stateless_uniform([2, WIDTH], seed=(1, 2))


@pytest.fixture
def layer():
    module = tf.Module()
    module.kernel = tf.Variable(tf.random.stateless_normal([WIDTH, WIDTH], seed=(3, 4)))
    module.shift = tf.random.stateless_normal([WIDTH, WIDTH], seed=(5, 6))  # captured, but no variable

    @tf.function
    def step(x, kernel):
        return tf.map_fn(lambda row: tf.linalg.matvec(kernel, row), x)

    @tf.function
    def call(x, *, scales):
        outputs = (
            step(x, tf.convert_to_tensor(module.kernel)) * scales["last"]
            + tf.matmul(x, module.kernel) * scales["first"]
        )
        return {"outputs": (outputs, outputs + tf.reduce_sum(module.shift)), "kernel": module.kernel.read_value()}

    scalar = tf.TensorSpec([], tf.float32)
    module.function = call.get_concrete_function(SPEC, scales={"last": scalar, "first": scalar})
    return module


SCALES = {"last": tf.constant(2.0), "first": tf.constant(-3.0)}


def assert_same(actual, expected):
    tf.nest.map_structure(lambda a, b: np.testing.assert_allclose(a, b, rtol=0, atol=1e-4), actual, expected)


def reads_variables(function):
    return any(tensor.dtype == tf.resource for tensor in function.captured_inputs)


def test_answers_as_before(layer):
    constant = frozen(layer.function)
    assert constant.variables == () and not reads_variables(constant)
    assert constant.structured_input_signature == layer.function.structured_input_signature
    before = layer.function(X, scales=SCALES)
    assert_same(constant(X, scales=SCALES), before)
    layer.kernel.assign(tf.zeros_like(layer.kernel))
    assert_same(constant(X, scales=SCALES), before)


def test_stored_once_for_all_signatures(layer, tmp_path):
    constant = frozen(layer.function)

    @tf.function(input_signature=[SPEC])
    def one(x):
        return constant(x, scales=SCALES)["outputs"][0]

    @tf.function(input_signature=[tf.TensorSpec([None, WIDTH], tf.int32, name="x")])
    def other(x):
        return constant(tf.cast(x, tf.float32), scales=SCALES)["outputs"][1]

    module = tf.Module()
    module.constant = constant
    tf.saved_model.save(module, str(tmp_path), signatures={"one": one, "other": other})
    assert not [path for path in tmp_path.rglob("variables.data*") if path.stat().st_size > 1000]
    size = (tmp_path / "saved_model.pb").stat().st_size
    weights = 4 * (layer.kernel.shape.num_elements() + layer.shift.shape.num_elements())
    assert weights < size < 1.1 * weights
    expected = layer.function(X, scales=SCALES)["outputs"][0]
    loaded = tf.saved_model.load(str(tmp_path))
    assert_same(loaded.signatures["one"](X)["output_0"], expected)
    assert_same(loaded.constant(X, scales=SCALES)["outputs"][0], expected)


def test_tables_stay_tables():
    table = tf.lookup.StaticHashTable(tf.lookup.KeyValueTensorInitializer(["a"], [1]), default_value=-1)
    function = tf.function(table.lookup).get_concrete_function(tf.TensorSpec([None], tf.string))
    np.testing.assert_array_equal(frozen(function)(tf.constant(["b", "a"])), [-1, 1])


def test_other_uses_are_refused():
    variable = tf.Variable(1.0)
    count = tf.function(lambda: variable.assign_add(1.0)).get_concrete_function()
    with pytest.raises(ValueError, match="AssignAddVariableOp.*other than by reading it"):
        frozen(count)
    inner = tf.function(lambda: variable * 2.0)
    with pytest.raises(ValueError, match="PartitionedCall.*other than by reading it"):
        frozen(tf.function(lambda: inner() + 1.0).get_concrete_function())


def test_deformable_convolution(tmp_path):
    """Functions with loops and gradients of their own inside."""
    x = tf.random.stateless_normal([1, 6, 7, 4], seed=(7, 8))
    module = tf.Module()
    module.layer = DeformableConv2D(5)
    module.layer.build(x.shape)
    module.layer.offset_conv.set_weights([0.1 + weight for weight in module.layer.offset_conv.get_weights()])
    function = tf.function(module.layer.__call__).get_concrete_function(tf.TensorSpec([None, None, None, 4]))
    module.constant = frozen(function)
    assert not reads_variables(module.constant)
    tf.saved_model.save(module, str(tmp_path))
    loaded = tf.saved_model.load(str(tmp_path))
    np.testing.assert_allclose(loaded.constant(x), function(x), rtol=1e-5, atol=1e-5)
