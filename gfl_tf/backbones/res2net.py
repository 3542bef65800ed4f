"""Res2Net (Gao et al., TPAMI 2021) in its version v1d, as the reference detectors have it."""

import collections.abc
import functools
import typing

import keras

from gfl_tf import compat
from gfl_tf.backbones import blocks
from gfl_tf.compat import keras_cv
from gfl_tf.parts import arguments

DEPTHS = {50: (3, 4, 6, 3), 101: (3, 4, 23, 3), 152: (3, 8, 36, 3)}


@keras.saving.register_keras_serializable(package="gfl_tf")
class Res2Net(keras_cv.models.Backbone):
    """ResNet with a stem of three 3x3 convolutions, pooled shortcuts, and bottlenecks whose 3x3 convolution is split.

    "101 v1d 26w 4s" is depth=101, base_width=26, scales=4. No classification top.

    Args:
        depth: 50, 101 or 152.
        scales: number of splits of a block's channels, 2 or more.
        base_width: channels of a split in C2; they double from stage to stage.
        deformable_stages: those of "C2" to "C5" where all 3x3 convolutions of the splits are deformable.
        deformable_version, frozen_stages, norm_eval, include_rescaling, input_shape: as `ResNet`'s.

    Raises:
        ValueError: an argument is none of these.
    """

    def __init__(
        self,
        depth: int = 101,
        scales: int = 4,
        base_width: int = 26,
        deformable_stages: collections.abc.Sequence[str] = (),
        deformable_version: int = 2,
        frozen_stages: int = 0,
        norm_eval: bool = False,
        include_rescaling: bool = False,
        input_shape: tuple[int | None, ...] = (None, None, 3),
        **kwargs: typing.Any,
    ):
        compat.check_arguments(type(self), kwargs)
        blocks.check(depth, DEPTHS, deformable_stages, deformable_version, frozen_stages)
        if scales < 2:
            raise ValueError(f"scales {scales}: a Res2Net splits in 2 or more")
        conv_bn = functools.partial(blocks.conv_bn, norm_eval=norm_eval)

        def block(x, planes, strides, stage, name):
            version = deformable_version if stage in deformable_stages else 0
            width = planes * base_width // 64
            return split_bottleneck(x, planes, width, scales, strides, name, version, conv_bn)

        inputs, x = blocks.image_input(input_shape, include_rescaling)
        for index, (filters, strides) in enumerate([(32, 2), (32, 1), (64, 1)]):
            x = blocks.relu(conv_bn(x, filters, 3, (f"stem_{3 * index}", f"stem_{3 * index + 1}"), strides))
        x, levels = blocks.stages(blocks.stem_pool(x), DEPTHS[depth], block)
        super().__init__(inputs=inputs, outputs=x, **kwargs)

        self.pyramid_level_inputs = levels
        self.depth = depth
        self.scales = scales
        self.base_width = base_width
        self.deformable_stages = tuple(deformable_stages)
        self.deformable_version = deformable_version
        self.frozen_stages = frozen_stages
        self.norm_eval = norm_eval
        self.include_rescaling = include_rescaling
        blocks.freeze(self.layers, frozen_stages)

    def get_config(self) -> dict[str, typing.Any]:
        return {**super().get_config(), **arguments(self), "input_shape": self.input_shape[1:]}


def split_bottleneck(
    x: typing.Any,
    planes: int,
    width: int,
    scales: int,
    strides: int,
    name: str,
    deformable_version: int,
    conv_bn: collections.abc.Callable,
) -> typing.Any:
    """1x1, then a 3x3 convolution for every split but the last, 1x1 to 4 * planes (figure 2b).

    Each 3x3 sees its own split plus the output of the one before, except in the first block of a stage.
    """
    first = name.endswith("_0")
    shortcut = pooled_projection(x, 4 * planes, strides, name, conv_bn) if first else x
    y = blocks.relu(conv_bn(x, scales * width, 1, (f"{name}_conv1", f"{name}_bn1")))
    *convolved, last = blocks.Split(scales, name=f"{name}_split")(y)
    outputs = []
    for index, split in enumerate(convolved):
        if index and not first:
            split = blocks.add(split, outputs[-1])
        names = (f"{name}_convs_{index}", f"{name}_bns_{index}")
        outputs.append(blocks.relu(conv_bn(split, width, 3, names, strides, deformable_version=deformable_version)))
    if strides > 1:  # zeros of the padding count in this mean
        last = keras.layers.ZeroPadding2D(1, name=f"{name}_pool_pad")(last)
        last = keras.layers.AveragePooling2D(3, strides, name=f"{name}_pool")(last)
    y = keras.layers.Concatenate(name=f"{name}_concat")([*outputs, last])
    y = conv_bn(y, 4 * planes, 1, (f"{name}_conv3", f"{name}_bn3"))
    return blocks.relu(blocks.add(y, shortcut), f"{name}_out")


def pooled_projection(
    x: typing.Any, filters: int, strides: int, name: str, conv_bn: collections.abc.Callable
) -> typing.Any:
    """Shortcut of version "d": the mean of strides x strides pixels (fewer at an odd border), then the projection."""
    if strides > 1:
        x = keras.layers.AveragePooling2D(strides, padding="same", name=f"{name}_downsample_0")(x)
    return conv_bn(x, filters, 1, (f"{name}_downsample_1", f"{name}_downsample_2"))
