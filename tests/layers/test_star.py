"""Star-shaped features: where the nine points lie, the reference's numbers, XLA, mixed precision, export."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from gfl_tf.layers.star import StarConv2D, star_offsets

LEFT, TOP, RIGHT, BOTTOM = 1.5, 2.0, 3.0, 0.5
# (y, x) around the cell of the nine points, in the order of the kernel's.
POINTS = [
    (-TOP, -LEFT), (-TOP, 0), (-TOP, RIGHT),
    (0, -LEFT), (0, 0), (0, RIGHT),
    (BOTTOM, -LEFT), (BOTTOM, 0), (BOTTOM, RIGHT),
]  # fmt: skip
KERNEL_POINTS = [(y, x) for y in (-1, 0, 1) for x in (-1, 0, 1)]
HEIGHT, WIDTH, CHANNELS = 6, 7, 3


def random(shape, seed):
    return tf.random.stateless_normal(shape, (seed, 4))


def distances(seed=0):
    return tf.random.stateless_uniform((2, HEIGHT, WIDTH, 4), (seed, 5), 0.2, 3.0)


def test_points_by_hand():
    offsets = star_offsets(tf.constant([LEFT, TOP, RIGHT, BOTTOM], shape=(1, 1, 1, 4)))
    found = np.reshape(offsets, (9, 2)) + KERNEL_POINTS
    np.testing.assert_allclose(found, POINTS)


def test_a_box_of_one_cell_to_each_side_is_the_ordinary_convolution():
    inputs = random((2, HEIGHT, WIDTH, CHANNELS), 0)
    layer = StarConv2D(5)
    outputs = layer(inputs, star_offsets(tf.ones((2, HEIGHT, WIDTH, 4))))
    expected = tf.nn.relu(tf.nn.conv2d(inputs, layer.kernel, 1, "SAME"))
    assert outputs.shape == (2, HEIGHT, WIDTH, 5) and float(tf.reduce_max(expected)) > 0
    np.testing.assert_allclose(outputs, expected, atol=1e-6)


def test_each_point_reads_its_place():
    """A kernel that is 1 at one point reads the map there; of a map that is linear, exactly."""
    y, x = np.meshgrid(np.arange(8.0), np.arange(9.0), indexing="ij")
    inputs = tf.constant(10 + 3 * y + 0.7 * x, tf.float32)[tf.newaxis, ..., tf.newaxis]
    layer = StarConv2D(9)
    offsets = star_offsets(tf.tile(tf.constant([LEFT, TOP, RIGHT, BOTTOM], shape=(1, 1, 1, 4)), [1, 8, 9, 1]))
    layer.build(inputs.shape)
    layer.kernel.assign(tf.reshape(tf.eye(9), layer.kernel.shape))
    read = layer(inputs, offsets)[0, 4, 4]  # far enough from the border
    np.testing.assert_allclose(read, [10 + 3 * (4 + dy) + 0.7 * (4 + dx) for dy, dx in POINTS], rtol=1e-5)


def test_reference(shared):
    """Offsets of the reference, and their gradient, to which its factor of 0.1 is applied already."""
    values = {key: value for key, value in np.load(shared / "reference" / "ops.npz").items() if key.startswith("star")}
    last = {key: np.moveaxis(value, 1, -1) for key, value in values.items() if value.ndim == 4}
    boxes = tf.constant(last["star/bbox_pred_ltrb_px"])
    with tf.GradientTape() as tape:
        tape.watch(boxes)
        offsets = star_offsets(boxes / float(values["star/stride"]))
    np.testing.assert_allclose(offsets, last["star/offset"], atol=1e-6)
    gradient = tape.gradient(offsets, boxes, output_gradients=tf.constant(last["star/cotangent"]))
    np.testing.assert_allclose(0.1 * gradient, last["star/grad"], atol=1e-7)


def value_and_gradients(layer, inputs, boxes):
    with tf.GradientTape() as tape:
        tape.watch([inputs, boxes])
        total = tf.reduce_sum(tf.square(tf.cast(layer(inputs, star_offsets(boxes)), tf.float32)))
    return total, *tape.gradient(total, [inputs, boxes, layer.kernel])


def test_xla_gives_the_same():
    layer = StarConv2D(4)
    layer.build((None, HEIGHT, WIDTH, CHANNELS))
    layer.kernel.assign(random(layer.kernel.shape, 1))
    arguments = random((2, HEIGHT, WIDTH, CHANNELS), 2), distances()
    compiled = tf.function(lambda *inputs: value_and_gradients(layer, *inputs), jit_compile=True)
    for actual, expected in zip(compiled(*arguments), value_and_gradients(layer, *arguments)):
        np.testing.assert_allclose(actual, expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("policy, tolerance", [("mixed_float16", 5e-3), ("mixed_bfloat16", 4e-2)])
def test_mixed_precision(policy, tolerance):
    """Positions stay float32: only values are rounded. Half of bfloat16's 8 bits are an error of 0.4 % a product."""
    inputs = random((2, HEIGHT, WIDTH, CHANNELS), 3)
    layers = [StarConv2D(4, dtype=dtype) for dtype in ("float32", policy)]
    for layer in layers:
        layer.build(inputs.shape)
        layer.kernel.assign(random(layer.kernel.shape, 4))
    expected, actual = (layer(inputs, star_offsets(distances())) for layer in layers)
    assert actual.dtype == policy.removeprefix("mixed_")
    np.testing.assert_allclose(tf.cast(actual, tf.float32), expected, atol=tolerance * float(tf.reduce_max(expected)))
    assert all(np.isfinite(value).all() for value in value_and_gradients(layers[1], inputs, distances()))


def test_export(tmp_path):
    layer = StarConv2D(4)
    inputs = random((1, HEIGHT, WIDTH, CHANNELS), 5)
    expected = layer(inputs, star_offsets(distances()[:1]))
    module = tf.Module()
    module.kernel = layer.kernel
    shapes = [(None, None, None, channels) for channels in (CHANNELS, 4)]
    module.call = tf.function(
        lambda features, boxes: layer(features, star_offsets(boxes)),
        input_signature=[tf.TensorSpec(shape, tf.float32) for shape in shapes],
    )
    tf.saved_model.save(module, str(tmp_path))
    restored = tf.saved_model.load(str(tmp_path))
    np.testing.assert_allclose(restored.call(inputs, distances()[:1]), expected, atol=1e-6)


def test_config_round_trip():
    layer = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(StarConv2D(7, name="star")))
    assert type(layer) is StarConv2D and layer.filters == 7 and layer.name == "star"
