"""What the heads are made of: towers of convolutions and output convolutions, shared by all levels."""

import collections.abc
import itertools
import math
import typing

import keras
import tensorflow as tf

from gfl_tf.layers.blocks import ConvGN, Scale, conv3x3, head_initializer
from gfl_tf.layers.recompute import recomputed
from gfl_tf.rules import BETWEEN_0_AND_1, COUNT, COUNT_OR_0

RULES = {  # of the arguments that heads have in common
    "num_classes": COUNT,
    "channels": COUNT,
    "num_convs": COUNT_OR_0,
    "groups": COUNT_OR_0,
    "prior": BETWEEN_0_AND_1,
}


def tower(
    name: str, num_convs: int, channels: int, groups: int, deformable: bool = False, **options: typing.Any
) -> list[keras.layers.Layer]:
    """List of `num_convs` ConvGN with its `options`, by choice the last one deformable."""
    last = num_convs - 1
    return [
        ConvGN(channels, groups, deformable=deformable and i == last, name=f"{name}_{i}", **options)
        for i in range(num_convs)
    ]


def build_tower(
    blocks: collections.abc.Iterable[keras.layers.Layer], input_shape: collections.abc.Sequence[int | None]
) -> tuple[int | None, ...]:
    """Builds a tower for features of `input_shape` and returns the shape of what it puts out."""
    shape = tuple(input_shape)
    for block in blocks:
        block.build(shape)
        shape = (*shape[:-1], block.filters)
    return shape


def build_once(layer: keras.layers.Layer, input_shape: tuple[int | None, ...]) -> None:
    """For a layer that was handed in: Keras 3 revives such layers built."""
    if not layer.built:
        layer.build(input_shape)


def run_tower(
    blocks: collections.abc.Sequence[keras.layers.Layer], feature: tf.Tensor, recompute: bool = False
) -> tf.Tensor:
    """What a tower puts out.

    With `recompute`, of each block the output of its convolution alone is kept for the backward pass. Normalization and
    ReLU are made again in it, which costs little beside the convolution.
    """
    if not (recompute and blocks):
        for block in blocks:
            feature = block(feature)
        return feature
    outputs = blocks[0].convolve(feature)
    for before, block in itertools.pairwise(blocks):
        outputs = recomputed(lambda x, before=before, block=block: block.convolve(before.activate(x)))(outputs)
    return blocks[-1].activate(outputs)


def output_conv(
    filters: int, name: str, prior: float | None = None, depthwise: bool = False
) -> keras.layers.Conv2D | keras.layers.SeparableConv2D:
    """`conv3x3` to float32 raw outputs; `prior`: the sigmoid of its outputs at the start of training."""
    bias = "zeros" if prior is None else keras.initializers.Constant(-math.log((1 - prior) / prior))
    options = dict(kernel_initializer=head_initializer(depthwise), bias_initializer=bias, dtype="float32", name=name)
    return conv3x3(filters, depthwise=depthwise, **options)


def level_scales(levels: collections.abc.Sequence[int], name: str = "scale") -> list[Scale]:
    """A Scale for each level."""
    return [Scale(dtype="float32", name=f"{name}_p{level}") for level in levels]


def concat_levels(maps: list[dict[str, tf.Tensor]], anchors_per_point: int = 1) -> dict[str, tf.Tensor]:
    """{name: [B, P, C]} from each level's {name: [B, H, W, anchors_per_point * C]}."""
    return {name: tf.concat([_flatten(level[name], anchors_per_point) for level in maps], axis=1) for name in maps[0]}


def _flatten(level, anchors_per_point):
    """[B, H, W, A * C] -> [B, H * W * A, C]."""
    return tf.reshape(level, [tf.shape(level)[0], -1, level.shape[-1] // anchors_per_point])


def check_levels(features: collections.abc.Sequence[tf.Tensor], levels: collections.abc.Sequence[int]) -> None:
    if len(features) != len(levels):
        raise ValueError(f"the head has levels {levels}, the neck puts out {len(features)}")
