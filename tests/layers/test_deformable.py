"""Deformable convolution: by hand, against the reference, numerically, and in every way it is run."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from gfl_tf.layers import deformable
from gfl_tf.layers.deformable import DeformableConv2D, deformable_conv2d
from gfl_tf.ops import sampling

CASES = ("dcn_s1", "dcn_s2_g4", "dcn_big_offsets", "dcn_tiny_2x3")


@pytest.fixture(params=["one step", "many steps"])
def steps(request, monkeypatch):
    """Small test maps fit in one step; real ones do not, and their last step is not full."""
    if request.param == "many steps":
        monkeypatch.setattr(sampling, "CPU_STEP_BYTES", 20_000)
        monkeypatch.setattr(sampling, "CPU_BACKWARD_STEP_BYTES", 30_000)
    deformable._traced.cache_clear()  # traces hold the number of steps
    yield
    deformable._traced.cache_clear()


def random(*shape, dtype=np.float32, seed=0):
    return tf.constant(np.random.default_rng([seed, *shape]).normal(0, 1, shape).astype(dtype))


def value_and_gradients(inputs, offsets, kernel, mask=None, cotangent=None, **options):
    """The outputs, and the gradients for inputs, offsets, kernel and, where there is one, mask."""
    arguments = [inputs, offsets, kernel] + ([] if mask is None else [mask])
    with tf.GradientTape() as tape:
        tape.watch(arguments)
        outputs = deformable_conv2d(*arguments, **options)
    cotangent = tf.sin(outputs) if cotangent is None else cotangent
    return [outputs, *tape.gradient(outputs, arguments, output_gradients=cotangent)]


@pytest.mark.parametrize("version", [1, 2])
@pytest.mark.parametrize("case", CASES)
def test_values_and_gradients_are_the_references(shared, steps, case, version):
    archive = np.load(shared / "reference" / "ops.npz")
    reference = {
        key[len(case) + 1 :]: value.transpose(2, 3, 1, 0) if "weight" in key else value.transpose(0, 2, 3, 1)
        for key, value in archive.items()
        if key.startswith(f"{case}/") and value.ndim == 4
    }
    stride, groups = archive[f"{case}/stride_groups"].tolist()
    mask_logits = tf.constant(reference["mask_logit"])
    mask = tf.sigmoid(mask_logits) if version == 2 else None
    inputs, offsets, kernel = (tf.constant(reference[key]) for key in ("x", "offset", "weight"))
    results = value_and_gradients(inputs, offsets, kernel, mask, reference["cotangent"], strides=stride, groups=groups)
    if version == 2:
        results[4] *= mask * (1 - mask)  # the reference's is for the logits
    names = ("out", "grad_x", "grad_offset", "grad_weight", "grad_mask_logit")
    for name, ours in zip(names, results):
        expected = reference[f"dcnv{version}_{name}"]
        np.testing.assert_allclose(ours, expected, rtol=0, atol=1e-6 * np.abs(expected).max(), err_msg=name)


def test_by_hand():
    """A 1x1 kernel of weight 1 on the map 1 2 3 / 4 5 6, the middle output's point moved by (dy, dx)."""
    inputs = tf.reshape(tf.range(1.0, 7.0), [1, 2, 3, 1])
    table = {
        (0, 0): 2,
        (1, 1): 6,  # whole cells
        (0, 0.5): 2.5,
        (0.5, 0.5): (2 + 3 + 5 + 6) / 4,
        (0.25, -0.75): 0.75 * (0.75 * 1 + 0.25 * 2) + 0.25 * (0.75 * 4 + 0.25 * 5),
        (-0.25, 0): 0.75 * 2,  # cells outside are zero
        (1.5, 1.5): 0.25 * 6,
        (-1, 0): 0,
        (2, 0): 0,
        (0, -7.5): 0,
        (1e9, 0): 0,
        (0, np.nan): 0,
    }
    for (dy, dx), expected in table.items():
        offsets = np.zeros([1, 2, 3, 2], np.float32)
        offsets[0, 0, 1] = dy, dx
        outputs = deformable_conv2d(inputs, offsets, tf.ones([1, 1, 1, 1]), padding=0)[0, :, :, 0].numpy()
        assert outputs[0, 1] == expected, (dy, dx)
        outputs[0, 1] = 2
        np.testing.assert_array_equal(outputs, inputs[0, :, :, 0])


@pytest.mark.parametrize("row, expected", [(-1.0, 0), (-0.75, 1), (0.0, 3), (0.5, 3), (1.0, -4), (1.5, -4), (2.0, 0)])
def test_gradient_of_an_offset_by_hand(row, expected):
    """A column of cells 1, 4: the slope is 1 above it, 3 inside, -4 below, and nothing from one cell outside on."""
    inputs = tf.constant([1.0, 4.0], shape=[1, 2, 1, 1])
    offsets = tf.constant([row, 0.0, -1.0, 0.0], shape=[1, 2, 1, 2])  # the second output always reads the first cell
    _, _, gradient, _ = value_and_gradients(
        inputs, offsets, tf.ones([1, 1, 1, 1]), padding=0, cotangent=tf.ones([1, 2, 1, 1])
    )
    assert gradient[0, 0, 0, 0] == expected


@pytest.mark.parametrize("stride, dilation, groups", [(1, 1, 1), (2, 1, 2), (1, 2, 4), (1, (1, 3), 1)])
def test_zero_offsets_are_a_plain_convolution(steps, stride, dilation, groups):
    inputs, kernel = random(2, 9, 12, 8), random(3, 3, 8 // groups, 12)
    vertical, horizontal = padding = (dilation, dilation) if isinstance(dilation, int) else dilation
    padded = tf.pad(inputs, [[0, 0], [vertical] * 2, [horizontal] * 2, [0, 0]])
    expected = tf.nn.conv2d(padded, kernel, stride, "VALID", dilations=dilation)
    options = dict(strides=stride, padding=padding, dilation_rate=dilation, groups=groups)
    outputs = deformable_conv2d(inputs, tf.zeros([*expected.shape[:3], 18]), kernel, **options)
    np.testing.assert_allclose(outputs, expected, rtol=1e-5, atol=1e-5)


def test_whole_offsets_are_a_shifted_convolution():
    inputs, kernel = random(1, 7, 8, 3), random(3, 3, 3, 5)
    offsets = tf.tile(tf.constant([2.0, -1.0]), [9]) * tf.ones([1, 7, 8, 1])
    shifted = tf.pad(inputs, [[0, 0], [0, 2], [1, 0], [0, 0]])[:, 2:, :-1]
    inner = (slice(None), slice(2, -2), slice(2, -2))  # beyond, the shifted convolution misses cells of the map
    outputs = deformable_conv2d(inputs, offsets, kernel)
    np.testing.assert_allclose(outputs[inner], tf.nn.conv2d(shifted, kernel, 1, "SAME")[inner], rtol=1e-5, atol=1e-5)


def test_kernels_and_padding_need_not_be_square():
    inputs, kernel = random(1, 6, 7, 4), random(1, 5, 4, 3)
    expected = tf.nn.conv2d(inputs, kernel, (2, 1), [[0, 0], [0, 0], [2, 2], [0, 0]])
    outputs = deformable_conv2d(inputs, tf.zeros([1, 3, 7, 10]), kernel, strides=(2, 1), padding=(0, 2))
    np.testing.assert_allclose(outputs, expected, rtol=1e-5, atol=1e-5)


def test_deformable_groups_move_their_own_channels(steps):
    """Two deformable groups are two deformable convolutions of half the channels each, added."""
    inputs, kernel = random(2, 5, 6, 8), random(3, 3, 8, 4)
    offsets, mask = random(2, 5, 6, 36), random(2, 5, 6, 18)
    halves = [
        deformable_conv2d(x, o, k, m)
        for x, o, k, m in zip(
            *(tf.split(t, 2, axis) for t, axis in [(inputs, -1), (offsets, -1), (kernel, 2), (mask, -1)])
        )
    ]
    outputs = deformable_conv2d(inputs, offsets, kernel, mask, deformable_groups=2)
    np.testing.assert_allclose(outputs, tf.add_n(halves), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("stride, groups, deformable_groups", [(1, 1, 1), (2, 2, 1), (1, 2, 2)])
def test_gradients_numerically(stride, groups, deformable_groups):
    """Float64 through and through; offsets stay clear of whole cells, where the interpolation has a kink."""
    size = 4 // stride
    offsets = random(1, size, size, 18 * deformable_groups, dtype=np.float64)
    offsets = tf.round(offsets) + 0.4 * tf.tanh(offsets - tf.round(offsets)) + 0.5
    arguments = [
        random(1, 4, 4, 4, dtype=np.float64),
        offsets,
        random(3, 3, 4 // groups, 2, dtype=np.float64),
        random(1, size, size, 9 * deformable_groups, dtype=np.float64),
    ]

    def function(*arguments):
        return deformable_conv2d(*arguments, strides=stride, groups=groups, deformable_groups=deformable_groups)

    analytical, numerical = tf.test.compute_gradient(tf.function(function), arguments, delta=1e-5)
    for ours, expected in zip(analytical, numerical):
        assert np.abs(expected).max() > 0.1
        np.testing.assert_allclose(ours, expected, atol=1e-8)


def run_arguments():
    mask = tf.sigmoid(random(2, 7, 9, 18))
    return [random(2, 7, 9, 8), 2 * random(2, 7, 9, 36), random(3, 3, 4, 6), mask]


def run(*arguments):
    return value_and_gradients(*arguments, groups=2, deformable_groups=2)


@pytest.mark.parametrize("compile", [False, True])
def test_in_graphs_and_under_xla(steps, compile):
    results = tf.function(run, jit_compile=compile)(*run_arguments())
    for ours, eager in zip(results, run(*run_arguments())):
        np.testing.assert_allclose(ours, eager, atol=1e-5)


def test_with_unknown_sizes(steps):
    arguments = run_arguments()
    signature = [tf.TensorSpec(t.shape if i == 2 else [None, None, None, t.shape[-1]]) for i, t in enumerate(arguments)]
    function = tf.function(run, input_signature=signature)
    for ours, eager in zip(function(*arguments), run(*arguments)):
        np.testing.assert_allclose(ours, eager, atol=1e-5)
    arguments = [t if i == 2 else t[:0, :5] for i, t in enumerate(arguments)]
    assert function(*arguments)[0].shape == (0, 5, 9, 6)  # the empty share of a replica


def test_half_precision_inputs_keep_their_positions():
    """At column 300, bfloat16 tells apart steps of 2 only."""
    inputs = tf.cast(tf.range(400) % 7, tf.bfloat16)[tf.newaxis, tf.newaxis, :, tf.newaxis]
    offsets = tf.constant([0.0, 0.5]) * tf.ones([1, 1, 400, 1])
    outputs = deformable_conv2d(inputs, offsets, tf.ones([1, 1, 1, 1]), padding=0)
    expected = (inputs[:, :, :-1] + inputs[:, :, 1:]) / 2
    assert outputs.dtype == tf.bfloat16
    np.testing.assert_array_equal(outputs[:, :, :-1], expected)


def test_shapes_that_do_not_fit_are_refused():
    inputs, offsets, kernel = tf.zeros([1, 4, 4, 6]), tf.zeros([1, 4, 4, 18]), tf.zeros([3, 3, 6, 4])
    with pytest.raises(ValueError, match="6 input channels do not divide into groups=4"):
        deformable_conv2d(inputs, offsets, kernel, groups=4)
    with pytest.raises(ValueError, match="6 input channels do not divide into deformable_groups=4"):
        deformable_conv2d(inputs, offsets, kernel, deformable_groups=4)
    with pytest.raises(ValueError, match="4 filters do not divide into groups=3"):
        deformable_conv2d(inputs, offsets, kernel[:, :, :2], groups=3)
    with pytest.raises(ValueError, match="kernel has 6 input channels, but 6 channels in groups=2 need 3"):
        deformable_conv2d(inputs, offsets, kernel, groups=2)
    with pytest.raises(ValueError, match=r"offsets has shape \(1, 4, 4, 18\), but .* need \(1, 2, 2, 18\)"):
        deformable_conv2d(inputs, offsets, kernel, strides=2)
    with pytest.raises(ValueError, match=r"mask has shape \(1, 4, 4, 18\), but .* need \(1, 4, 4, 9\)"):
        deformable_conv2d(inputs, offsets, kernel, mask=offsets)
    with pytest.raises(ValueError, match="6 input channels do not divide into groups=4"):
        DeformableConv2D(8, groups=4)(inputs)


def layer_with_offsets(**options):
    """A layer on 6 channels whose offsets and mask are not those of the start."""
    layer = DeformableConv2D(4, use_bias=True, **options)
    layer.build((None, None, None, 6))
    layer.set_weights([random(*weight.shape, seed=i) for i, weight in enumerate(layer.weights)])
    return layer


@pytest.mark.parametrize("modulated, factor", [(False, 1), (True, 0.5)])
def test_layer_starts_as_a_plain_convolution(modulated, factor):
    """Zero offsets; the mask is sigmoid(0)."""
    inputs = random(2, 6, 5, 3)
    layer = DeformableConv2D(4, strides=2, modulated=modulated)
    outputs = layer(inputs)
    padded = tf.pad(inputs, [[0, 0], [1, 1], [1, 1], [0, 0]])
    np.testing.assert_allclose(outputs, factor * tf.nn.conv2d(padded, layer.kernel, 2, "VALID"), rtol=1e-5, atol=1e-6)
    assert [tuple(weight.shape) for weight in layer.trainable_weights] == [
        (3, 3, 3, 4), (3, 3, 3, 27 if modulated else 18), (27 if modulated else 18,)
    ]  # fmt: skip


@pytest.mark.parametrize(
    "options", [dict(), dict(strides=2, padding=0), dict(kernel_size=(5, 3), dilation_rate=(1, 2))]
)
def test_layer_tells_its_shape(options):
    layer = DeformableConv2D(6, **options)
    outputs = layer(tf.zeros((1, 17, 20, 4)))
    assert tuple(layer.compute_output_shape((1, 17, 20, 4))) == tuple(outputs.shape)
    assert tuple(layer.compute_output_shape((None, None, 20, 4))) == (None, None, *outputs.shape[2:])


def test_layer_takes_its_mask_from_the_last_third_of_the_offset_convolution():
    layer = layer_with_offsets(groups=2, dilation_rate=2, deformable_groups=3)
    inputs = random(1, 5, 6, 6)
    both = layer.offset_conv(tf.pad(inputs, [[0, 0], [2, 2], [2, 2], [0, 0]]))
    offsets, mask = both[..., :54], tf.sigmoid(both[..., 54:])
    options = dict(padding=2, dilation_rate=2, groups=2, deformable_groups=3)
    expected = deformable_conv2d(inputs, offsets, layer.kernel, mask, **options) + layer.bias
    np.testing.assert_allclose(layer(inputs), expected, rtol=1e-6)


def test_every_weight_of_the_layer_learns():
    layer = layer_with_offsets()
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(tf.square(layer(random(1, 5, 6, 6))))
    for weight, gradient in zip(layer.trainable_weights, tape.gradient(loss, layer.trainable_weights)):
        assert np.abs(gradient).max() > 1e-2, weight.name


@pytest.mark.parametrize("format", ["model.keras", "saved_model"])
def test_saved_models(tmp_path, format):
    inputs = keras.Input((None, None, 6))
    model = keras.Model(inputs, layer_with_offsets(strides=2, kernel_initializer="he_normal")(inputs))
    images = random(2, 7, 8, 6)
    if format == "model.keras":
        model.save(tmp_path / format)
        loaded = keras.models.load_model(tmp_path / format)
        assert loaded.layers[1].get_config() == model.layers[1].get_config()
        outputs = loaded(images)
    else:
        model.export(str(tmp_path / format))
        loaded = tf.saved_model.load(str(tmp_path / format))
        outputs = loaded.serve(images)
    np.testing.assert_allclose(outputs, model(images), rtol=1e-6)


@pytest.mark.parametrize("policy, tolerance", [("mixed_float16", 2e-3), ("mixed_bfloat16", 2e-2)])  # their rounding
def test_layer_under_mixed_precision(policy, tolerance):
    layer, mixed = layer_with_offsets(), layer_with_offsets(dtype=policy)
    inputs = random(1, 6, 5, 6)
    with tf.GradientTape() as tape:
        outputs = mixed(inputs)
    expected = layer(tf.cast(tf.cast(inputs, mixed.compute_dtype), tf.float32))  # the offsets see the rounded inputs
    assert outputs.dtype == mixed.compute_dtype and mixed.offset_conv.compute_dtype == "float32"
    np.testing.assert_allclose(tf.cast(outputs, tf.float32), expected, atol=tolerance * np.abs(expected).max())
    gradients = tape.gradient(outputs, mixed.trainable_weights)
    assert all(gradient.dtype == tf.float32 and np.isfinite(gradient).all() for gradient in gradients)


def functions_of(layer, images):
    """Names of the functions in a graph of the layer, and whether there is a loop in it."""
    graph = tf.function(lambda inputs: layer(inputs)).get_concrete_function(images).graph.as_graph_def()
    nodes = [node.op for function in graph.library.function for node in function.node_def]
    return {function.signature.name for function in graph.library.function}, any("While" in op for op in nodes)


def test_options_of_what_was_traced():
    """An export finds the convolution, and how it is computed, by the function's name in the graph."""
    layer = layer_with_offsets(strides=(2, 1), padding=(0, 2), groups=2, deformable_groups=3)
    names, _ = functions_of(layer, random(1, 9, 8, 6))
    options = [deformable.traced_options(name) for name in names if deformable.traced_options(name)]
    assert options == [deformable.Options((2, 1), (0, 2), (1, 1), 2, 3)]
    assert deformable.traced_options("another") is None


def test_unrolled(steps):
    layer, images = layer_with_offsets(), random(1, 9, 8, 6)
    _, has_loop = functions_of(layer, images)
    expected = layer(images)
    layer.unroll = True
    _, still_has_loop = functions_of(layer, images)
    assert has_loop and not still_has_loop
    np.testing.assert_allclose(layer(images), expected, rtol=1e-6)
