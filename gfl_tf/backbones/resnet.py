"""ResNet (He et al., CVPR 2016) and ResNeXt (Xie et al., CVPR 2017) as the reference detectors have them."""

import collections.abc
import functools
import typing

import keras

from gfl_tf import compat
from gfl_tf.backbones import blocks
from gfl_tf.compat import keras_cv
from gfl_tf.parts import arguments

DEPTHS = {18: (2, 2, 2, 2), 34: (3, 4, 6, 3), 50: (3, 4, 6, 3), 101: (3, 4, 23, 3), 152: (3, 8, 36, 3)}


@keras.saving.register_keras_serializable(package="gfl_tf")
class ResNet(keras_cv.models.Backbone):
    """ResNet with its levels P2 to P5; no classification top.

    Args:
        depth: 18, 34, 50, 101 or 152 (He et al., table 1).
        groups: of the 3x3 convolutions; 32 in ResNeXt "32x4d". From depth 50 on.
        base_width: channels of each of these groups in C2, which double from stage to stage; 4 in ResNeXt "32x4d". From
            depth 50 on.
        deformable_stages: those of "C2" to "C5" whose blocks have a deformable convolution in the place of `conv2`.
        deformable_version: 1, or 2 with modulation.
        frozen_stages: how many stages are not trained: 0 is none, 1 the stem and C2, 2 C3 as well, and so on.
        norm_eval: batch normalization runs on its moving statistics in training, too; its scale and shift are trained.
        stride_in_1x1: bottlenecks stride in their first 1x1 convolution, as He et al.'s own networks and Detectron's;
            False: in the 3x3 one, as torchvision's.
        bgr: the first convolution's weights are for blue, green, red, as Detectron's are. The images stay RGB.
        include_rescaling: images are RGB in 0..255 and the model normalizes them with ImageNet's mean and standard
            deviation; otherwise they are normalized already.
        input_shape: (height, width, 3), None where it varies.

    Raises:
        ValueError: an argument is none of these.
    """

    def __init__(
        self,
        depth: int = 50,
        groups: int = 1,
        base_width: int = 64,
        deformable_stages: collections.abc.Sequence[str] = (),
        deformable_version: int = 2,
        frozen_stages: int = 0,
        norm_eval: bool = False,
        stride_in_1x1: bool = False,
        bgr: bool = False,
        include_rescaling: bool = False,
        input_shape: tuple[int | None, ...] = (None, None, 3),
        **kwargs: typing.Any,
    ):
        compat.check_arguments(type(self), kwargs)
        blocks.check(depth, DEPTHS, deformable_stages, deformable_version, frozen_stages)
        if depth < 50 and (groups, base_width) != (1, 64):
            raise ValueError(f"depth {depth} has no bottlenecks: groups and base_width stay 1 and 64")
        if depth < 50 and stride_in_1x1:
            raise ValueError(f"depth {depth} has no bottlenecks: stride_in_1x1 stays False")
        conv_bn = functools.partial(blocks.conv_bn, norm_eval=norm_eval)

        def block(x, planes, strides, stage, name):
            version = deformable_version if stage in deformable_stages else 0
            if depth < 50:
                return basic_block(x, planes, strides, name, version, conv_bn)
            width = planes * base_width // 64 * groups
            return bottleneck(x, planes, width, groups, strides, name, version, conv_bn, stride_in_1x1)

        inputs, x = blocks.image_input(input_shape, include_rescaling)
        x = blocks.ReversedChannels(name="bgr")(x) if bgr else x
        x = blocks.relu(conv_bn(x, 64, 7, ("conv1", "bn1"), strides=2))
        x, levels = blocks.stages(blocks.stem_pool(x), DEPTHS[depth], block)
        super().__init__(inputs=inputs, outputs=x, **kwargs)

        self.pyramid_level_inputs = levels
        self.depth = depth
        self.groups = groups
        self.base_width = base_width
        self.deformable_stages = tuple(deformable_stages)
        self.deformable_version = deformable_version
        self.frozen_stages = frozen_stages
        self.norm_eval = norm_eval
        self.stride_in_1x1 = stride_in_1x1
        self.bgr = bgr
        self.include_rescaling = include_rescaling
        blocks.freeze(self.layers, frozen_stages)

    def get_config(self) -> dict[str, typing.Any]:
        return {**super().get_config(), **arguments(self), "input_shape": self.input_shape[1:]}


def bottleneck(
    x: typing.Any,
    planes: int,
    width: int,
    groups: int,
    strides: int,
    name: str,
    deformable_version: int,
    conv_bn: collections.abc.Callable,
    stride_in_1x1: bool = False,
) -> typing.Any:
    """1x1 to `width`, 3x3, 1x1 to 4 * planes (He et al., figure 5 right; Xie et al., figure 3c)."""
    shortcut = project(x, 4 * planes, strides, name, conv_bn)
    first, second = (strides, 1) if stride_in_1x1 else (1, strides)
    y = blocks.relu(conv_bn(x, width, 1, (f"{name}_conv1", f"{name}_bn1"), first))
    names = (f"{name}_conv2", f"{name}_bn2")
    y = blocks.relu(conv_bn(y, width, 3, names, second, groups, deformable_version))
    y = conv_bn(y, 4 * planes, 1, (f"{name}_conv3", f"{name}_bn3"))
    return blocks.relu(blocks.add(y, shortcut), f"{name}_out")


def basic_block(
    x: typing.Any, planes: int, strides: int, name: str, deformable_version: int, conv_bn: collections.abc.Callable
) -> typing.Any:
    """Two 3x3 convolutions (He et al., figure 5 left)."""
    shortcut = project(x, planes, strides, name, conv_bn)
    y = blocks.relu(conv_bn(x, planes, 3, (f"{name}_conv1", f"{name}_bn1"), strides))
    y = conv_bn(y, planes, 3, (f"{name}_conv2", f"{name}_bn2"), deformable_version=deformable_version)
    return blocks.relu(blocks.add(y, shortcut), f"{name}_out")


def project(x: typing.Any, filters: int, strides: int, name: str, conv_bn: collections.abc.Callable) -> typing.Any:
    """`x` itself where it has the shape of the block's output, otherwise its projection."""
    if strides == 1 and x.shape[-1] == filters:
        return x
    return conv_bn(x, filters, 1, (f"{name}_downsample_0", f"{name}_downsample_1"), strides)
