"""The small layers that necks and heads are built of."""

import collections.abc
import typing

import keras
import tensorflow as tf

from gfl_tf.layers.deformable import DeformableConv2D
from gfl_tf.ops.grid import SIZE_DIVISOR
from gfl_tf.ops.group_norm import group_normalization
from gfl_tf.parts import arguments

_register = keras.saving.register_keras_serializable(package="gfl_tf")


@_register
class GroupNormalization(keras.layers.Layer):
    """Group normalization of [B, H, W, C] (Wu and He, ECCV 2018) with the reference's epsilon, in float32 moments.

    It takes less than half the time of Keras's own layer on a CPU.
    """

    def __init__(self, groups: int = 32, epsilon: float = 1e-5, **kwargs: typing.Any):
        super().__init__(**kwargs)
        self.groups = groups
        self.epsilon = epsilon

    def build(self, input_shape) -> None:
        channels = input_shape[-1]
        _check_groups(channels, self.groups)
        self.gamma = self.add_weight(name="gamma", shape=(channels,), initializer="ones")
        self.beta = self.add_weight(name="beta", shape=(channels,), initializer="zeros")
        self.built = True

    def call(self, inputs) -> tf.Tensor:
        gamma, beta = (tf.cast(weight, tf.float32) for weight in (self.gamma, self.beta))
        return group_normalization(inputs, gamma, beta, self.groups, self.epsilon)

    def get_config(self) -> dict[str, typing.Any]:
        return {**super().get_config(), "groups": self.groups, "epsilon": self.epsilon}


def _check_groups(channels, groups):
    if groups and channels % groups:
        raise ValueError(f"{channels} channels do not divide into {groups} groups")


def conv3x3(
    filters: int,
    strides: int = 1,
    depthwise: bool = False,
    kernel_initializer: keras.initializers.Initializer | str = "glorot_uniform",
    **options: typing.Any,
) -> keras.layers.Conv2D | keras.layers.SeparableConv2D:
    """A 3x3 convolution, or a depthwise one and a 1x1 one (Howard et al., MobileNets, 2017), of about a ninth the cost.

    Nothing stands between the two, as in EfficientDet's head: together they are one linear convolution, whose scale the
    towers' normalization sees to as it does to a full one's. Another normalization would take about as long as the
    depthwise convolution, and stay in float32 where the rest is int8.

    Args:
        filters: channels.
        strides: 1: padded to the size of the input; 2: not padded.
        depthwise: the light form.
        kernel_initializer: of the convolution that sums over channels. A depthwise kernel sums 9 values alone: with
            standard deviation 1/3 it keeps theirs.
        **options: of the Keras layer.
    """
    options = {"filters": filters, "kernel_size": 3, "strides": strides, **options}
    options["padding"] = "same" if strides == 1 else "valid"
    if depthwise:
        return keras.layers.SeparableConv2D(
            depthwise_initializer=keras.initializers.RandomNormal(stddev=1 / 3),
            pointwise_initializer=kernel_initializer,
            **options,
        )
    return keras.layers.Conv2D(kernel_initializer=kernel_initializer, **options)


def head_initializer(depthwise: bool = False) -> keras.initializers.Initializer:
    """Of a head's `conv3x3`: normal, of standard deviation 0.01 as in RetinaNet.

    It is 0.03 for the depthwise form, which sums up a ninth of the values, so that outputs start as large. Each layer
    needs one of its own: Keras's unseeded ones repeat their values when used twice.
    """
    return keras.initializers.RandomNormal(stddev=0.03 if depthwise else 0.01)


@_register
class ConvGN(keras.layers.Layer):
    """3x3 convolution, group normalization, ReLU: the block of the heads' towers and of PAFPN.

    Args:
        filters: channels.
        groups: of the normalization; 0: none, and the convolution has a bias, as in RetinaNet.
        strides: 1 or 2; padded on both sides as in the reference.
        deformable: the convolution is a deformable one, v2.
        depthwise: the convolution is a depthwise one and a 1x1 one, see `conv3x3`.
        relu: False leaves the ReLU out.
        use_bias: of the convolution; None: where there is no normalization.
        kernel_initializer: default: `head_initializer`.

    Raises:
        ValueError: `filters` that do not divide into `groups`; both deformable and depthwise.
    """

    def __init__(
        self,
        filters: int,
        groups: int = 32,
        strides: int = 1,
        deformable: bool = False,
        depthwise: bool = False,
        relu: bool = True,
        use_bias: bool | None = None,
        kernel_initializer: keras.initializers.Initializer | str | dict | None = None,
        **kwargs: typing.Any,
    ):
        super().__init__(**kwargs)
        _check_groups(filters, groups)
        if deformable and depthwise:
            raise ValueError("a convolution is deformable or depthwise, not both")
        self.filters = filters
        self.groups = groups
        self.strides = strides
        self.deformable = deformable
        self.depthwise = depthwise
        self.relu = relu
        self.use_bias = not groups if use_bias is None else use_bias
        self.kernel_initializer = keras.initializers.get(kernel_initializer or head_initializer(depthwise))
        options = dict(
            filters=filters,
            strides=strides,
            use_bias=self.use_bias,
            kernel_initializer=self.kernel_initializer,
            name="conv",
        )
        self.conv = DeformableConv2D(**options) if deformable else conv3x3(depthwise=depthwise, **options)
        self.norm = GroupNormalization(groups, name="norm") if groups else None

    def build(self, input_shape) -> None:
        self.conv.build((None, None, None, input_shape[-1]))  # of the padded input
        if self.norm is not None:
            self.norm.build((*input_shape[:-1], self.filters))
        self.built = True

    def call(self, inputs) -> tf.Tensor:
        return self.activate(self.convolve(inputs))

    def convolve(self, inputs: tf.Tensor) -> tf.Tensor:
        """The first half of the block."""
        if self.strides > 1 and not self.deformable:
            inputs = tf.pad(inputs, [[0, 0], [1, 1], [1, 1], [0, 0]])
        return self.conv(inputs)

    def activate(self, outputs: tf.Tensor) -> tf.Tensor:
        """The second half, of the first one's outputs."""
        if self.norm is not None:
            outputs = self.norm(outputs)
        return tf.nn.relu(outputs) if self.relu else outputs

    def get_config(self) -> dict[str, typing.Any]:
        initializer = keras.initializers.serialize(self.kernel_initializer)
        return {**super().get_config(), **arguments(self), "kernel_initializer": initializer}


@_register
class Scale(keras.layers.Layer):
    """Multiplies by one learned number: how a level of the pyramid tunes the shared box branch."""

    def build(self, input_shape) -> None:
        self.scale = self.add_weight(name="scale", shape=(), initializer="ones")
        self.built = True

    def call(self, inputs) -> tf.Tensor:
        return inputs * self.scale


@_register
class Preprocess(keras.layers.Layer):
    """Normalizes RGB images in 0..255 and pads them with zeros at the bottom and right to a multiple of `divisor`.

    Input [B, H, W, 3] of any number type, output float32 [B, H', W', 3]. Without `mean` and `std` the pixels stay as
    they are, for a backbone that rescales them itself.
    """

    def __init__(
        self,
        mean: collections.abc.Sequence[float] | None = None,
        std: collections.abc.Sequence[float] | None = None,
        divisor: int = SIZE_DIVISOR,
        **kwargs: typing.Any,
    ):
        kwargs["dtype"] = "float32"  # pixels lose their last bits in bfloat16's 8
        super().__init__(**kwargs)
        self.mean = mean
        self.std = std
        self.divisor = divisor

    def call(self, images) -> tf.Tensor:
        images = tf.cast(images, tf.float32)
        if self.mean is not None:
            images = (images - tf.constant(self.mean, tf.float32)) / tf.constant(self.std, tf.float32)
        height, width = tf.shape(images)[1], tf.shape(images)[2]
        images = tf.pad(images, [[0, 0], [0, -height % self.divisor], [0, -width % self.divisor], [0, 0]])
        return images

    def get_config(self) -> dict[str, typing.Any]:
        return {**super().get_config(), "mean": self.mean, "std": self.std, "divisor": self.divisor}
