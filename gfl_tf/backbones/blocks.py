"""What ResNet and Res2Net are built of, as the reference builds it: padding is symmetric and named layers stand for
the reference's modules (`layer1.0.conv1` is the layer `layer1_0_conv1`)."""

import collections.abc
import typing

import keras
import tensorflow as tf

from gfl_tf.layers.batch_norm import BatchNormalization
from gfl_tf.layers.blocks import Preprocess
from gfl_tf.layers.deformable import DeformableConv2D
from gfl_tf.layers.grouped import GroupedConv2D

STAGES = ("C2", "C3", "C4", "C5")
IMAGENET_MEAN = (123.675, 116.28, 103.53)  # RGB, of pixels in 0..255
IMAGENET_STD = (58.395, 57.12, 57.375)
# Of Detectron's networks, RGB likewise: pixels are not divided by anything.
DETECTRON_MEAN = (122.7717, 115.9465, 102.9801)
DETECTRON_STD = (1.0, 1.0, 1.0)


def image_input(shape: tuple[int | None, ...], rescale: bool) -> tuple[typing.Any, typing.Any]:
    """(input, its normalized pixels): with `rescale` the input is RGB in 0..255, otherwise normalized already."""
    inputs = keras.Input(shape)
    if not rescale:
        return inputs, inputs
    return inputs, Preprocess(IMAGENET_MEAN, IMAGENET_STD, divisor=1, name="normalize")(inputs)


def conv_bn(
    x: typing.Any,
    filters: int,
    kernel_size: int,
    names: tuple[str, str],
    strides: int = 1,
    groups: int = 1,
    deformable_version: int = 0,
    norm_eval: bool = False,
) -> typing.Any:
    """Convolution without bias and batch normalization, [B, H, W, C] -> [B, ceil(H / strides), ..., filters].

    Args:
        names: of the two layers.
        deformable_version: 1 or 2 for a deformable convolution of that version, 0 for a plain one.
        norm_eval: the normalization uses its moving statistics in training, too, and leaves them as they are.
    """
    conv_name, bn_name = names
    options = dict(
        strides=strides,
        use_bias=False,
        kernel_initializer=keras.initializers.VarianceScaling(2.0, "fan_out", "untruncated_normal"),
        name=conv_name,
    )
    if deformable_version:
        conv = DeformableConv2D(filters, kernel_size, groups=groups, modulated=deformable_version == 2, **options)
    else:
        padding = "valid"
        if kernel_size > 1 and strides == 1:
            padding = "same"
        elif kernel_size > 1:  # "same" would pad less at the top and left
            x = keras.layers.ZeroPadding2D(kernel_size // 2, name=f"{conv_name}_pad")(x)
        plain = keras.layers.Conv2D if groups == 1 else GroupedConv2D
        conv = plain(filters, kernel_size, padding=padding, groups=groups, **options)
    norm = BatchNormalization(norm_eval, momentum=0.9, epsilon=1e-5, name=bn_name)
    return norm(conv(x))


def relu(x: typing.Any, name: str | None = None) -> typing.Any:
    return keras.layers.ReLU(name=name)(x)


def add(x: typing.Any, y: typing.Any) -> typing.Any:
    return keras.layers.Add()([x, y])


def stem_pool(x: typing.Any) -> typing.Any:
    """Maximum of 3x3 at every other pixel; padding with zeros is right because `x` went through a ReLU."""
    x = keras.layers.ZeroPadding2D(1, name="maxpool_pad")(x)
    return keras.layers.MaxPooling2D(3, strides=2, name="maxpool")(x)


def stages(
    x: typing.Any, depths: tuple[int, ...], block: collections.abc.Callable
) -> tuple[typing.Any, dict[str, str]]:
    """The four stages: C2 with 64 planes, then each at half the size with twice the planes.

    Args:
        x: [B, H / 4, W / 4, 64], the stem's output.
        depths: number of blocks of each stage.
        block: function of (x, planes, strides, stage, name) with the block's output, from a layer `name`_out.

    Returns:
        (C5's output, {"P2" to "P5": name of the layer it comes from})
    """
    levels = {}
    for number, (stage, depth) in enumerate(zip(STAGES, depths), start=1):
        for index in range(depth):
            strides = 2 if number > 1 and index == 0 else 1
            name = f"layer{number}_{index}"
            x = block(x, 64 * 2 ** (number - 1), strides, stage, name)
        levels[f"P{number + 1}"] = f"{name}_out"
    return x, levels


def freeze(layers: collections.abc.Iterable[keras.layers.Layer], frozen_stages: int) -> None:
    """Makes the layers of the stem and of the first `frozen_stages` stages non-trainable; none when it is 0."""
    trained = tuple(f"layer{number}_" for number in range(frozen_stages + 1, len(STAGES) + 1))
    for layer in layers:
        if frozen_stages and not layer.name.startswith(trained):
            layer.trainable = False


def check(
    depth: int,
    depths: collections.abc.Collection[int],
    deformable_stages: collections.abc.Sequence[str],
    deformable_version: int,
    frozen_stages: int,
) -> None:
    """Raises ValueError unless the arguments of a backbone make sense; `depths`: those it knows."""
    if depth not in depths:
        raise ValueError(f"depth {depth} is not one of {sorted(depths)}")
    unknown = [stage for stage in deformable_stages if stage not in STAGES]
    if unknown:
        raise ValueError(f"deformable_stages {', '.join(map(str, unknown))}: the stages are {', '.join(STAGES)}")
    if deformable_version not in (1, 2):
        raise ValueError(f"deformable_version {deformable_version} is not 1 or 2")
    if frozen_stages not in range(len(STAGES) + 1):
        raise ValueError(f"frozen_stages {frozen_stages} is not 0 (nothing), 1 (stem and C2), 2 (C3, too), 3 or 4")


@keras.saving.register_keras_serializable(package="gfl_tf")
class ReversedChannels(keras.layers.Layer):
    """[..., C] with the channels in reverse order: RGB to BGR."""

    def call(self, inputs) -> tf.Tensor:
        # `tf.reverse` has no 8-bit form in TensorFlow Lite.
        return tf.gather(inputs, range(inputs.shape[-1])[::-1], axis=-1)


@keras.saving.register_keras_serializable(package="gfl_tf")
class Split(keras.layers.Layer):
    """[B, H, W, C] -> list of `parts` tensors of C / parts channels."""

    def __init__(self, parts: int, **kwargs: typing.Any):
        super().__init__(**kwargs)
        self.parts = parts

    def call(self, inputs) -> list[tf.Tensor]:
        return tf.split(inputs, self.parts, axis=-1)

    def get_config(self) -> dict[str, typing.Any]:
        return {**super().get_config(), "parts": self.parts}
