"""Grouped convolution (ResNeXt: Xie et al., CVPR 2017, section 3.3): fast and trainable wherever TensorFlow runs.

TensorFlow's own op is the one to use where it has gradients: on GPU, under XLA, and on x86 CPUs, where oneDNN brings
them in float32 and bfloat16. On a CPU otherwise (other processors, `TF_ENABLE_ONEDNN_OPTS=0`, float64) it has none;
there the groups are gathered into dense convolutions of a few channels. Keras's `Conv2D(groups=...)` compiles the op
with XLA instead, which takes four times as long on a CPU.
"""

import collections.abc
import functools

import keras
import numpy as np
import tensorflow as tf

BLOCK_CHANNELS = 16  # of the dense convolutions; of 16 to 256 the fastest, forward and backward, on ResNeXt's shapes


def grouped_conv2d(
    inputs: tf.Tensor,
    kernel: tf.Tensor,
    groups: int,
    strides: int | tuple[int, int] = 1,
    padding: str = "valid",
    dilation_rate: int | tuple[int, int] = 1,
) -> tf.Tensor:
    """Convolution in which each of `groups` equal parts of the filters sees its own part of the input channels.

    Args:
        inputs: [B, H, W, C]
        kernel: [kh, kw, C / groups, F], the filters of the first group first.
        strides, dilation_rate: an int or (vertical, horizontal).
        padding: "valid" or "same".

    Returns:
        [B, H', W', F]

    Raises:
        ValueError: channels and groups do not fit.
    """
    channels, (group_channels, filters) = inputs.shape[-1], kernel.shape[-2:]
    if channels != groups * group_channels or filters % groups:
        raise ValueError(
            f"{channels} channels and {filters} filters in {groups} groups need a kernel of [kh, kw, {channels} / "
            f"{groups}, {filters}] with filters a multiple of the groups, not one of {tuple(kernel.shape)}"
        )
    strides, dilation_rate = _pair(strides), _pair(dilation_rate)
    if group_channels == 1 and groups > 1 and len({*strides}) == 1 and 1 in (strides[0], max(dilation_rate)):
        kernel = tf.reshape(kernel, [*kernel.shape[:2], channels, filters // channels])
        return tf.nn.depthwise_conv2d(inputs, kernel, [1, *strides, 1], padding.upper(), dilations=dilation_rate)
    convolve = functools.partial(tf.nn.conv2d, strides=strides, padding=padding.upper(), dilations=dilation_rate)
    if groups == 1 or _has_native_gradient(inputs.dtype):
        return convolve(inputs, kernel)
    return _convolve_blocks(convolve, inputs, kernel, groups)


def _pair(value):
    return (value, value) if isinstance(value, int) else tuple(value)


@functools.cache
def _has_native_gradient(dtype):
    """Whether the device that runs eager ops, the first GPU or else the CPU, has the gradients of a grouped conv."""
    with tf.init_scope():  # eager also while a graph is traced
        image, kernel = tf.zeros((1, 3, 3, 4), dtype), tf.zeros((3, 3, 2, 4), dtype)
        options = dict(out_backprop=image, strides=[1, 1, 1, 1], padding="SAME")
        try:
            tf.raw_ops.Conv2DBackpropInput(input_sizes=image.shape, filter=kernel, **options)
            tf.raw_ops.Conv2DBackpropFilter(input=image, filter_sizes=kernel.shape, **options)
        except (tf.errors.InvalidArgumentError, tf.errors.UnimplementedError):
            return False
    return True


def _convolve_blocks(convolve, inputs, kernel, groups):
    """The same from dense convolutions, each over a few neighbouring groups, with zeros between groups."""
    group_channels, group_filters = kernel.shape[-2], kernel.shape[-1] // groups
    most = max(1, BLOCK_CHANNELS // group_channels)
    merged = max(number for number in range(1, most + 1) if groups % number == 0)
    blocks = groups // merged
    block = np.kron(np.eye(merged), np.ones((group_channels, group_filters)))
    same_group = tf.constant(np.tile(block, (1, blocks)), kernel.dtype)  # [merged * group_channels, F]
    kernel = tf.tile(kernel, [1, 1, merged, 1]) * same_group
    parts = zip(tf.split(inputs, blocks, axis=-1), tf.split(kernel, blocks, axis=-1))
    return tf.concat([convolve(part, block_kernel) for part, block_kernel in parts], axis=-1)


@keras.saving.register_keras_serializable(package="gfl_tf")
class GroupedConv2D(keras.layers.Conv2D):
    """Keras's `Conv2D` on [B, H, W, C] with `grouped_conv2d` for its op."""

    def call(self, inputs) -> tf.Tensor:
        return _call(self, inputs)


def use_grouped_conv(layers: collections.abc.Iterable[keras.layers.Layer]) -> None:
    """Lets the grouped convolutions of Keras among these layers be computed by `grouped_conv2d`."""
    for layer in layers:
        if type(layer) is keras.layers.Conv2D and layer.groups > 1 and layer.data_format == "channels_last":
            layer.call = functools.partial(_call, layer)


def _call(layer, inputs):
    outputs = grouped_conv2d(
        inputs, tf.convert_to_tensor(layer.kernel), layer.groups, layer.strides, layer.padding, layer.dilation_rate
    )
    if layer.use_bias:
        outputs = tf.nn.bias_add(outputs, layer.bias)
    return layer.activation(outputs)
