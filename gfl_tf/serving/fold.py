"""Batch normalization folded into the convolution before it: gamma (W x - mean) / stddev + beta = W' x + b'."""

import functools

import keras
import numpy as np
import tensorflow as tf

from gfl_tf import compat
from gfl_tf.compat import keras_cv
from gfl_tf.layers.deformable import DeformableConv2D
from gfl_tf.layers.grouped import GroupedConv2D

CONVOLUTIONS = (keras.layers.Conv2D, keras.layers.DepthwiseConv2D, GroupedConv2D, DeformableConv2D)
# KerasCV's and KerasHub's blocks call their layers one after the other, and Keras's graph does not know in which order.
BLOCK_PAIRS = {
    keras_cv.layers.MBConvBlock: (("conv1", "bn1"), ("depthwise", "bn2"), ("output_conv", "bn3")),
    keras_cv.layers.FusedMBConvBlock: (("conv1", "bn1"), ("output_conv", "bn3")),
}
# By their names, as KerasHub does not export them and may not be there.
KERAS_HUB_PAIRS = {
    "efficientnet.mbconv.MBConvBlock": (("conv1", "bn1"), ("depthwise", "bn2"), ("output_conv", "bn3")),
    "efficientnet.fusedmbconv.FusedMBConvBlock": (("conv1", "bn1"), ("output_conv", "bn2")),
    "efficientnet.cba.CBABlock": (("conv1", "bn1"),),
    "mobilenet.mobilenet_backbone.DepthwiseConvBlock": (
        ("conv1", "batch_normalization1"),
        ("conv2", "batch_normalization2"),
    ),
    "mobilenet.mobilenet_backbone.InvertedResidualBlock": (
        ("conv1", "batch_normalization1"),
        ("conv2", "batch_normalization2"),
        ("conv3", "batch_normalization3"),
    ),
    "mobilenet.mobilenet_backbone.ConvBnActBlock": (("conv", "batch_normalization"),),
}


def foldable_pairs(layers, outputs=()):
    """(convolution, batch normalization) of all that can be folded exactly at inference.

    That is where the convolution has no activation, its output goes to the normalization alone and both are used
    once.

    Args:
        layers: list of layers, models among them.
        outputs: what is read beside the outputs of these models, Keras tensors.
    """
    read = {id(tensor) for layer in layers for tensor in getattr(layer, "outputs", None) or ()}
    read |= {id(tensor) for tensor in outputs}
    pairs = []
    for layer in layers:
        names = _block_pairs(type(layer))
        if names:
            pairs += [(getattr(layer, conv), getattr(layer, norm)) for conv, norm in names]
        elif type(layer) in CONVOLUTIONS:
            uses = compat.consumers(layer)
            if len(uses) == 1 and _is_only_use(layer, *uses[0], read):
                pairs.append((layer, uses[0][0]))
    return [pair for pair in pairs if _fits(*pair)]


def _block_pairs(cls):
    name = f"{cls.__module__}.{cls.__qualname__}"
    return BLOCK_PAIRS.get(cls) or KERAS_HUB_PAIRS.get(name.removeprefix("keras_hub.src.models."))


def _is_only_use(conv, norm, other_arguments, training, read):
    return (
        isinstance(norm, keras.layers.BatchNormalization)
        and compat.is_called_once(conv)
        and compat.is_called_once(norm)
        and id(conv.output) not in read
        and not training  # a batch's own statistics, at inference too
        and not other_arguments
    )


def _fits(conv, norm):
    is_linear = getattr(conv, "activation", None) in (None, keras.activations.linear)
    return conv.built and norm.built and is_linear and norm.axis in (3, -1, [3])


def fold(conv, norm, folded_conv, folded_norm):
    """Gives `folded_conv` the weights of `conv` and `norm` together, and lets `folded_norm` do nothing.

    Args:
        conv, norm: one of `foldable_pairs`; they stay as they are.
        folded_conv, folded_norm: layers like these in another model, of any type of weights.
    """
    scale = 1.0 / np.sqrt(_float64(norm.moving_variance) + norm.epsilon)
    if norm.scale:
        scale *= _float64(norm.gamma)
    bias = (_float64(conv.bias) if conv.use_bias else 0.0) - _float64(norm.moving_mean)
    bias *= scale
    if norm.center:
        bias += _float64(norm.beta)
    kernel = _float64(_kernel(conv))
    # The last two dimensions of a depthwise kernel are the output channels.
    kernel *= scale.reshape(kernel.shape[2:]) if _is_depthwise(conv) else scale

    if not folded_conv.use_bias:
        compat.add_bias(folded_conv, bias.shape)
    _kernel(folded_conv).assign(kernel)
    folded_conv.bias.assign(bias)
    # Keras cannot take a layer out of a graph or block that is built.
    folded_norm.call = lambda inputs, training=None, mask=None: inputs


def keep_slopes(layers: list[keras.layers.Layer]) -> None:
    """Lets the leaky ReLUs among these layers be computed of single operations.

    TensorFlow's optimizer makes one operation of a convolution, its bias, a sum and a leaky ReLU, and on CPUs with
    oneDNN that one takes another slope (TensorFlow 2.21). Only folding puts a bias where it does so.
    """
    for layer in layers:
        if isinstance(layer, keras.layers.LeakyReLU):
            layer.call = functools.partial(_leaky_relu, slope=compat.slope(layer))


def _leaky_relu(inputs, slope):
    return tf.where(inputs >= 0.0, inputs, inputs * tf.cast(slope, inputs.dtype))


def _is_depthwise(conv):
    return isinstance(conv, keras.layers.DepthwiseConv2D)


def _kernel(conv):
    return dict(compat.own_variables(conv))["kernel"]


def _float64(variable):
    return variable.numpy().astype(np.float64)
