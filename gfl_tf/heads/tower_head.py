"""The head of GFL, GFLv2, ATSS, FCOS and RetinaNet: layers and raw outputs only."""

import collections.abc
import typing

import keras
import tensorflow as tf

from gfl_tf.heads import towers
from gfl_tf.layers.dgqp import DGQP
from gfl_tf.ops.grid import GridSpec
from gfl_tf.parts import arguments, check_fields
from gfl_tf.rules import COUNT, FLAG, one_of

RULES = {
    "box_outputs": COUNT,
    "quality": one_of("", "box", "class"),
    "anchors_per_point": COUNT,
    "scale_levels": FLAG,
    "depthwise": FLAG,
    "deformable": FLAG,
    "conv_bias": FLAG,
}


@keras.saving.register_keras_serializable(package="gfl_tf")
class TowerHead(keras.layers.Layer):
    """Two towers shared by all levels; class scores from one, boxes from the other, the quality from either or a DGQP.

    GFL, figure 4; GFLv2, figures 3 and 5; the heads of RetinaNet, FCOS and ATSS.

    Input: list of feature maps, one a level, [B, H_l, W_l, channels].
    Output: dict of float32 raw outputs over all places, levels in order, row-major, the anchors of a point together:
        "classification": [B, P, C] logits; "box": [B, P, box_outputs]; with a quality "quality": [B, P, 1] logits.

    Args:
        num_classes: C.
        box_outputs: numbers that describe a box, as its coder needs them.
        quality: tower that the quality branch stands on: "box", "class", or "" for no branch.
        dgqp: a `DGQP` of the box outputs, or None. Of one output, it is the quality (GFLv2, figure 3); of more, it
            widens the class features (its composed form, figure 5, right).
        levels: of the pyramid, such as (3, 4, 5, 6, 7).
        anchors_per_point: A; the outputs of a point are those of its anchors one after the other.
        channels: width of the towers.
        num_convs: convolutions of each tower.
        groups: of the group normalization; 0: none, as RetinaNet.
        prior: class score of every place at the start of training (Lin et al., ICCV 2017, section 4.1).
        scale_levels: whether each level has a learned factor for its box outputs (FCOS, section 3.2).
        depthwise: each 3x3 convolution, of towers and outputs, is a depthwise one and a 1x1 one, for small models.
        deformable: both towers end with a deformable convolution, v2, as ATSS and FCOS have it on deformable backbones.
        conv_bias: the towers' convolutions have a bias before the normalization, too, as in FCOS's improved version.

    Raises:
        ValueError: a DGQP together with a quality branch or with several anchors a point; deformable and depthwise.

    `recompute`, which `Detector.compile` sets, is that of `towers.run_tower`, in training.
    """

    recompute = False

    def __init__(
        self,
        num_classes: int,
        box_outputs: int = 4,
        quality: str = "",
        dgqp: DGQP | dict[str, typing.Any] | None = None,
        levels: collections.abc.Sequence[int] = (3, 4, 5, 6, 7),
        anchors_per_point: int = 1,
        channels: int = 256,
        num_convs: int = 4,
        groups: int = 32,
        prior: float = 0.01,
        scale_levels: bool = True,
        depthwise: bool = False,
        deformable: bool = False,
        conv_bias: bool = False,
        **kwargs: typing.Any,
    ):
        super().__init__(**kwargs)
        self.num_classes = num_classes
        self.box_outputs = box_outputs
        self.quality = quality
        self.dgqp = keras.saving.deserialize_keras_object(dgqp) if isinstance(dgqp, dict) else dgqp
        self.levels = tuple(levels)
        self.anchors_per_point = anchors_per_point
        self.channels = channels
        self.num_convs = num_convs
        self.groups = groups
        self.prior = prior
        self.scale_levels = scale_levels
        self.depthwise = depthwise
        self.deformable = deformable
        self.conv_bias = conv_bias
        check_fields(self, {**towers.RULES, **RULES})
        self._is_composed = self.dgqp is not None and self.dgqp.outputs > 1
        if self.dgqp is not None and quality:
            raise ValueError("the quality comes from a DGQP or from a branch, not from both")
        if self._is_composed and anchors_per_point > 1:
            raise ValueError("GFLv2's composed form has one anchor a point")
        of_blocks = dict(deformable=deformable, depthwise=depthwise, use_bias=conv_bias or None)
        self.class_tower = towers.tower("class_tower", num_convs, channels, groups, **of_blocks)
        self.box_tower = towers.tower("box_tower", num_convs, channels, groups, **of_blocks)
        self.classification = towers.output_conv(anchors_per_point * num_classes, "classification", prior, depthwise)
        self.box = towers.output_conv(anchors_per_point * box_outputs, "box", depthwise=depthwise)
        if quality:
            self.quality_branch = towers.output_conv(anchors_per_point, "quality", depthwise=depthwise)
        self.scales = towers.level_scales(self.levels) if scale_levels else []

    @classmethod
    def fitting(cls, grid: GridSpec, boxes: typing.Any, score: typing.Any) -> dict[str, typing.Any]:
        """The arguments that the detector's other parts decide."""
        return {
            "levels": grid.levels,
            "anchors_per_point": grid.anchors_per_point,
            "box_outputs": boxes.num_outputs,
            "quality": getattr(score, "quality_tower", ""),
            "dgqp": score.head_layer(),
        }

    def build(self, input_shape) -> None:
        class_shape = towers.build_tower(self.class_tower, input_shape[0])
        box_shape = towers.build_tower(self.box_tower, input_shape[0])
        if self.dgqp is not None:
            towers.build_once(self.dgqp, (*box_shape[:-1], self.box_outputs))
        if self.quality:
            self.quality_branch.build(class_shape if self.quality == "class" else box_shape)
        if self._is_composed:
            class_shape = (*class_shape[:-1], class_shape[-1] + self.dgqp.outputs)
        self.classification.build(class_shape)
        self.box.build(box_shape)
        for scale in self.scales:
            scale.build(())
        self.built = True

    def call(self, features, training=None) -> dict[str, tf.Tensor]:
        towers.check_levels(features, self.levels)
        recompute = bool(self.recompute and training)
        maps = [self._level(index, feature, recompute) for index, feature in enumerate(features)]
        outputs = towers.concat_levels(maps, self.anchors_per_point)
        if self.dgqp is not None and not self._is_composed:
            outputs["quality"] = self.dgqp(outputs["box"])
        return outputs

    def _level(self, index, feature, recompute):
        class_feature = towers.run_tower(self.class_tower, feature, recompute)
        box_feature = towers.run_tower(self.box_tower, feature, recompute)
        box = self.box(box_feature)
        if self.scale_levels:
            box = self.scales[index](box)
        outputs = {"box": box}
        if self.quality:
            outputs["quality"] = self.quality_branch(class_feature if self.quality == "class" else box_feature)
        if self._is_composed:
            distribution_feature = tf.cast(self.dgqp(box), class_feature.dtype)
            class_feature = tf.concat([class_feature, distribution_feature], axis=-1)
        return {"classification": self.classification(class_feature), **outputs}

    def stations(self) -> dict[str, list[keras.layers.Layer]]:
        """{name: layers}, all of the head's, by what they do; each is in one of them."""
        found = {
            "class tower": self.class_tower,
            "box tower": self.box_tower,
            "class output": [self.classification],
            "box output": [self.box, *self.scales],
        }
        if self.quality:
            found["quality output"] = [self.quality_branch]
        if self.dgqp is not None:
            found["DGQP"] = [self.dgqp]
        return found

    def get_config(self) -> dict[str, typing.Any]:
        return {**super().get_config(), **arguments(self), "dgqp": keras.saving.serialize_keras_object(self.dgqp)}
