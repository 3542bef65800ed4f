"""Deformable convolution v1 and v2 (Dai et al., ICCV 2017; Zhu et al., CVPR 2019) from stock TensorFlow operations."""

import functools
import typing

import keras
import tensorflow as tf

from gfl_tf.ops.sampling import at_least_float32, bilinear_corners, sample_and_multiply, sampling_gradients, shape_of
from gfl_tf.parts import arguments

# {name in graphs: options} of the convolutions traced here, see `traced_options`.
_TRACED = {}


class Options(typing.NamedTuple):
    """How a deformable convolution is computed; the first three are (vertical, horizontal)."""

    strides: tuple
    padding: tuple
    dilation_rate: tuple
    groups: int
    deformable_groups: int


def deformable_conv2d(
    inputs: tf.Tensor,
    offsets: tf.Tensor,
    kernel: tf.Tensor,
    mask: tf.Tensor | None = None,
    strides: int | tuple[int, int] = 1,
    padding: int | tuple[int, int] = 1,
    dilation_rate: int | tuple[int, int] = 1,
    groups: int = 1,
    deformable_groups: int = 1,
    unroll: bool = False,
) -> tf.Tensor:
    """Convolution whose kernel points move by offsets (DCN, eq. 2) and are scaled by a mask (DCN v2, eq. 1).

    A kernel point between cells reads the bilinear interpolation of the four around it; cells outside the map are
    zero. Positions are float32 (float64 for float64 inputs). Output cells are computed some at a time, in the backward
    pass as well, so that little memory is needed beside inputs, outputs and their gradients. No second derivatives.

    Args:
        inputs: [B, H, W, C].
        offsets: [B, Ho, Wo, deformable_groups * kh * kw * 2], (dy, dx) in cells, kernel points row-major.
        kernel: [kh, kw, C / groups, F].
        mask: [B, Ho, Wo, deformable_groups * kh * kw] for v2, after its sigmoid; None for v1.
        strides, padding, dilation_rate: an int or (vertical, horizontal); `padding` is in cells on each side.
        groups: the convolution's; each sees its own C / groups input channels.
        deformable_groups: parts of the input channels that have their own offsets and mask.
        unroll: for inputs of known size, the graph has the steps one by one instead of a loop, which TensorFlow Lite's
            calibration for int8 cannot take.

    Returns:
        [B, Ho, Wo, F] in the type of `inputs`.

    Raises:
        ValueError: where channels do not divide into groups, or `offsets` or `mask` has another shape than this.
    """
    inputs = tf.convert_to_tensor(inputs)
    kernel = tf.cast(kernel, inputs.dtype)
    offsets = tf.cast(offsets, at_least_float32(inputs.dtype))
    strides, padding, dilation_rate = _pair(strides), _pair(padding), _pair(dilation_rate)
    points = kernel.shape[0] * kernel.shape[1]
    _check_channels(inputs.shape[-1], kernel.shape, groups, deformable_groups)
    output_shape = _output_shape(inputs.shape, kernel.shape, strides, padding, dilation_rate)
    _check_shape("offsets", offsets, (*output_shape, deformable_groups * points * 2))
    tensors = [inputs, offsets, kernel]
    if mask is not None:
        _check_shape("mask", mask, (*output_shape, deformable_groups * points))
        tensors.append(tf.cast(mask, offsets.dtype))
    options = Options(strides, padding, dilation_rate, groups, deformable_groups)
    forward, backward = _traced(_signature(tensors, unroll), options, unroll)
    _TRACED[tf.compat.as_str(forward.get_concrete_function().name)] = options

    @tf.custom_gradient
    def convolve(*tensors):
        def gradient(upstream):
            gradients = backward(*tensors, upstream)
            return [_with_shape(of_tensor, tensor.shape) for of_tensor, tensor in zip(gradients, tensors)]

        return _with_shape(forward(*tensors), (*output_shape, kernel.shape[-1])), gradient

    return convolve(*tensors)


def _signature(tensors, unroll):
    """Of maps of all sizes, so that all levels and canvases share their traces; steps that are unrolled need one."""
    inputs, offsets, kernel, *mask = (tf.TensorSpec(tensor.shape, tensor.dtype) for tensor in tensors)
    if unroll:
        return inputs, offsets, kernel, *mask
    inputs, offsets, *mask = (
        tf.TensorSpec([None, None, None, of.shape[-1]], of.dtype) for of in (inputs, offsets, *mask)
    )
    return inputs, offsets, kernel, *mask


def _with_shape(tensor, shape):
    tensor.set_shape(shape)
    return tensor


def traced_options(function_name: str) -> Options | None:
    """The `Options` of a deformable convolution that this process has traced; None of any other function.

    For exports to formats that have a deformable convolution of their own.

    Args:
        function_name: str, of a function in a graph's library.
    """
    return _TRACED.get(function_name)


@functools.cache
def _traced(signature, options, unroll):
    """(forward, backward) for tensors of a signature, `tf.function`s: networks have dozens of layers of the same.

    The backward pass starts from the inputs anew: where to sample costs little beside the sampling, and more to keep.
    """

    def forward(*tensors):
        samples = _samples(options, *tensors)
        outputs = sample_and_multiply(*samples, unroll)
        return tf.reshape(outputs, _output_sizes(*tensors))

    def backward(*tensors_and_upstream):
        *tensors, upstream = tensors_and_upstream
        with tf.GradientTape() as tape:
            tape.watch(tensors)
            cells, corners, weights, kernel = _samples(options, *tensors)
        gradients = sampling_gradients(cells, corners, weights, kernel, upstream)
        return tape.gradient([cells, weights, kernel], tensors, gradients)

    inputs, offsets, kernel = signature[:3]
    upstream = tf.TensorSpec([*offsets.shape[:3], kernel.shape[-1]], inputs.dtype)
    # A graph holds what is not inlined once for each signature, not once for each layer.
    function = functools.partial(tf.function, autograph=False, experimental_attributes={"_noinline": not unroll})
    return function(forward, input_signature=signature), function(backward, input_signature=(*signature, upstream))


def _output_sizes(inputs, offsets, kernel, *mask):
    return [*shape_of(offsets)[:3], kernel.shape[-1]]


def _samples(options, inputs, offsets, kernel, mask=None):
    """What `sample_and_multiply` takes: cells, corners, weights and kernel."""
    strides, padding, dilation_rate, groups, deformable_groups = options
    channels, filters = inputs.shape[-1], kernel.shape[-1]
    points = kernel.shape[0] * kernel.shape[1]
    batch, out_height, out_width, _ = shape_of(offsets)

    def by_point(tensor):  # [B, Ho, Wo, D * points * n] -> [B, Ho, Wo, points, D, n], D: deformable groups
        tensor = tf.reshape(tensor, [batch, out_height, out_width, deformable_groups, points, -1])
        return tf.transpose(tensor, [0, 1, 2, 4, 3, 5])

    positions = by_point(offsets) + tf.cast(
        _undeformed_positions(out_height, out_width, kernel.shape, strides, padding, dilation_rate), offsets.dtype
    )
    corners, weights = bilinear_corners(positions, *shape_of(inputs)[1:3])  # [B, Ho, Wo, points, D, 4]
    if mask is not None:
        weights *= by_point(mask)

    cells = tf.reshape(tf.pad(inputs, [[0, 0], [1, 1], [1, 1], [0, 0]]), [-1, channels // deformable_groups])
    corners = corners * deformable_groups + tf.range(deformable_groups)[:, tf.newaxis]
    corners = tf.reshape(corners, [-1, points, deformable_groups, 4])
    weights = tf.reshape(tf.cast(weights, inputs.dtype), [-1, points, deformable_groups, 4])
    kernel = tf.reshape(kernel, [points * channels // groups, groups, filters // groups])
    return cells, corners, weights, tf.transpose(kernel, [1, 0, 2])


@keras.saving.register_keras_serializable(package="gfl_tf")
class DeformableConv2D(keras.layers.Layer):
    """Deformable convolution with its own offset convolution, which starts at zero: an ordinary convolution at first
    (times sigmoid(0) = 0.5 if modulated).

    [B, H, W, C] -> [B, Ho, Wo, filters]. Offsets are float32 under any mixed-precision policy.

    Args:
        filters: F.
        kernel_size, strides, dilation_rate: an int or (vertical, horizontal).
        padding: zeros on each side, an int or (vertical, horizontal); None keeps the size at stride 1.
        groups, deformable_groups: as in `deformable_conv2d`.
        modulated: v2: the last third of the offset convolution's channels, through a sigmoid, is the mask.
        use_bias, kernel_initializer: the main kernel's.

    `unroll`, see `deformable_conv2d`, is set by exports that need it.
    """

    unroll = False

    def __init__(
        self,
        filters: int,
        kernel_size: int | tuple[int, int] = 3,
        strides: int | tuple[int, int] = 1,
        padding: int | tuple[int, int] | None = None,
        dilation_rate: int | tuple[int, int] = 1,
        groups: int = 1,
        deformable_groups: int = 1,
        modulated: bool = True,
        use_bias: bool = False,
        kernel_initializer: keras.initializers.Initializer | str | dict = "glorot_uniform",
        **kwargs: typing.Any,
    ):
        super().__init__(**kwargs)
        self.filters = filters
        self.kernel_size = _pair(kernel_size)
        self.strides = _pair(strides)
        self.dilation_rate = _pair(dilation_rate)
        same = tuple(rate * (size - 1) // 2 for rate, size in zip(self.dilation_rate, self.kernel_size))
        self.padding = same if padding is None else _pair(padding)
        self.groups = groups
        self.deformable_groups = deformable_groups
        self.modulated = modulated
        self.use_bias = use_bias
        self.kernel_initializer = keras.initializers.get(kernel_initializer)
        self.offset_conv = keras.layers.Conv2D(
            deformable_groups * self.kernel_size[0] * self.kernel_size[1] * (3 if modulated else 2),
            self.kernel_size,
            self.strides,
            dilation_rate=self.dilation_rate,
            kernel_initializer="zeros",
            dtype=at_least_float32(self.compute_dtype),
            name="offset_conv",
        )

    def build(self, input_shape) -> None:
        channels = input_shape[-1]
        kernel_shape = (*self.kernel_size, channels // self.groups, self.filters)
        _check_channels(channels, kernel_shape, self.groups, self.deformable_groups)
        self.offset_conv.build((None, None, None, channels))  # of the padded input
        self.kernel = self.add_weight(name="kernel", shape=kernel_shape, initializer=self.kernel_initializer)
        if self.use_bias:
            self.bias = self.add_weight(name="bias", shape=(self.filters,), initializer="zeros")
        self.built = True

    def call(self, inputs) -> tf.Tensor:
        vertical, horizontal = self.padding
        padded = tf.pad(inputs, [[0, 0], [vertical, vertical], [horizontal, horizontal], [0, 0]])
        offsets, mask = self.offset_conv(padded), None
        if self.modulated:
            points = self.offset_conv.filters // 3
            offsets, mask = offsets[..., : 2 * points], tf.sigmoid(offsets[..., 2 * points :])
        outputs = deformable_conv2d(
            inputs,
            offsets,
            self.kernel,
            mask,
            self.strides,
            self.padding,
            self.dilation_rate,
            self.groups,
            self.deformable_groups,
            self.unroll,
        )
        return outputs + self.bias if self.use_bias else outputs

    def compute_output_shape(self, input_shape) -> tuple[int | None, ...]:
        shape = _output_shape(tuple(input_shape), self.kernel_size, self.strides, self.padding, self.dilation_rate)
        return (*shape, self.filters)

    def get_config(self) -> dict[str, typing.Any]:
        initializer = keras.initializers.serialize(self.kernel_initializer)
        return {**super().get_config(), **arguments(self), "kernel_initializer": initializer}


def _undeformed_positions(out_height, out_width, kernel_size, strides, padding, dilation_rate):
    """(y, x) of the kernel points of an ordinary convolution, int32 [Ho, Wo, points, 1, 2]."""
    y, x = (
        tf.range(outputs)[:, tf.newaxis] * stride - pad + tf.range(window) * dilation
        for outputs, stride, pad, window, dilation in zip(
            (out_height, out_width), strides, padding, kernel_size, dilation_rate
        )
    )  # [Ho, kh], [Wo, kw]
    y, x = y[:, tf.newaxis, :, tf.newaxis], x[:, tf.newaxis, :]
    grid = tf.stack([y + tf.zeros_like(x), x + tf.zeros_like(y)], axis=-1)  # [Ho, Wo, kh, kw, 2]
    return tf.reshape(grid, [out_height, out_width, -1, 1, 2])


def _pair(value):
    return (value, value) if isinstance(value, int) else tuple(value)


def _output_shape(input_shape, kernel_size, strides, padding, dilation_rate):
    """(B, Ho, Wo), None where unknown."""
    sizes = [
        size if size is None else (size + 2 * pad - dilation * (window - 1) - 1) // stride + 1
        for size, pad, dilation, window, stride in zip(input_shape[1:], padding, dilation_rate, kernel_size, strides)
    ]
    return (input_shape[0], *sizes)


def _check_channels(channels, kernel_shape, groups, deformable_groups):
    for name, count in (("groups", groups), ("deformable_groups", deformable_groups)):
        if channels % count:
            raise ValueError(f"{channels} input channels do not divide into {name}={count}")
    if kernel_shape[3] % groups:
        raise ValueError(f"{kernel_shape[3]} filters do not divide into groups={groups}")
    if kernel_shape[2] != channels // groups:
        raise ValueError(
            f"kernel has {kernel_shape[2]} input channels, but {channels} channels in groups={groups} need "
            f"{channels // groups}"
        )


def _check_shape(name, tensor, expected):
    if not tensor.shape.is_compatible_with(expected):
        raise ValueError(f"{name} has shape {tuple(tensor.shape)}, but inputs, kernel and strides need {expected}")
