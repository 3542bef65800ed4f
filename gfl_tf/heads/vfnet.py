"""The head of VarifocalNet: layers and raw outputs only."""

import collections.abc
import typing

import keras
import tensorflow as tf

from gfl_tf.heads import towers
from gfl_tf.layers.blocks import ConvGN
from gfl_tf.layers.star import StarConv2D, star_offsets
from gfl_tf.ops.grid import GridSpec
from gfl_tf.parts import arguments, check_fields
from gfl_tf.rules import FLAG, SHARE, one_of

# What an initial distance of exp(0) is, in strides. The reference's denominators ("reg_denom") are the upper ends of
# FCOS's regression ranges, 64 to 1024 pixels on P3 to P7: eight strides each.
BOX_UNITS = {"reg_denom": 8.0, "stride": 1.0}
RULES = {
    "star": FLAG,
    "refine": FLAG,
    "deformable": FLAG,
    "box_normalization": one_of(*BOX_UNITS),
    "star_gradient": SHARE,
}


@keras.saving.register_keras_serializable(package="gfl_tf")
class VFNetHead(keras.layers.Layer):
    """The VarifocalNet head (VarifocalNet, figure 3): two towers shared by all levels, and an initial box at each point
    whose star-shaped features predict the IoU-aware class scores and the refined box.

    Input: list of feature maps P3 to P7, [B, H_l, W_l, channels].
    Output: dict of float32 raw outputs over all points, levels in order, row-major:
        "classification": [B, P, C] logits of the IoU-aware scores; "box": [B, P, 4] initial distances to left, top,
        right and bottom side in pixels; "refined_box": [B, P, 4] the refined ones, unless `refine` is False.

    Args:
        num_classes: C.
        levels: of the pyramid, such as (3, 4, 5, 6, 7).
        channels: width of the towers.
        num_convs: convolutions of each tower.
        groups: of the group normalization.
        prior: class score of every point at the start of training (Lin et al., ICCV 2017, section 4.1).
        star: False has an ordinary convolution with group normalization in place of each star-shaped one (table 3).
        refine: False leaves out the refinement of the box (table 3).
        deformable: deformable convolution v2 at the end of both towers, as with a deformable backbone (section 5).
        box_normalization: unit of the initial distances, one of `BOX_UNITS`.
        star_gradient: factor of the gradient that reaches the initial box through the star's points.

    `recompute`: as `TowerHead`'s.
    """

    recompute = False

    def __init__(
        self,
        num_classes: int,
        levels: collections.abc.Sequence[int] = (3, 4, 5, 6, 7),
        channels: int = 256,
        num_convs: int = 3,
        groups: int = 32,
        prior: float = 0.01,
        star: bool = True,
        refine: bool = True,
        deformable: bool = False,
        box_normalization: str = "reg_denom",
        star_gradient: float = 0.1,
        **kwargs: typing.Any,
    ):
        super().__init__(**kwargs)
        self.num_classes = num_classes
        self.levels = tuple(levels)
        self.channels = channels
        self.num_convs = num_convs
        self.groups = groups
        self.prior = prior
        self.star = star
        self.refine = refine
        self.deformable = deformable
        self.box_normalization = box_normalization
        self.star_gradient = star_gradient
        check_fields(self, {**towers.RULES, **RULES})
        self.class_tower = towers.tower("class_tower", num_convs, channels, groups, deformable)
        self.box_tower = towers.tower("box_tower", num_convs, channels, groups, deformable)
        self.box_feature = ConvGN(channels, groups, name="box_feature")
        self.box = towers.output_conv(4, "box")
        self.scales = towers.level_scales(self.levels)
        self.class_star = self._star_conv("class_star")
        self.classification = towers.output_conv(num_classes, "classification", prior)
        if refine:
            self.refine_star = self._star_conv("refine_star")
            self.refinement = towers.output_conv(4, "refinement")
            self.refinement_scales = towers.level_scales(self.levels, "refinement_scale")

    @classmethod
    def fitting(cls, grid: GridSpec, boxes: typing.Any, score: typing.Any) -> dict[str, typing.Any]:
        """The arguments that the detector's other parts decide.

        Raises:
            ValueError: parts that want other outputs than distances in pixels and class scores.
        """
        if (
            (boxes.num_outputs, getattr(boxes, "unit", ""), grid.anchors_per_point) != (4, "pixel", 1)
            or score.quality
            or score.head_layer()
        ):
            raise ValueError("VarifocalNet's head puts out four distances in pixels a point and joint class scores")
        return {"levels": grid.levels}

    def _star_conv(self, name):
        return StarConv2D(self.channels, name=name) if self.star else ConvGN(self.channels, self.groups, name=name)

    def build(self, input_shape) -> None:
        class_shape = towers.build_tower(self.class_tower, input_shape[0])
        box_shape = towers.build_tower(self.box_tower, input_shape[0])
        self.box.build(towers.build_tower([self.box_feature], box_shape))
        self.classification.build(towers.build_tower([self.class_star], class_shape))
        scales = list(self.scales)
        if self.refine:
            self.refinement.build(towers.build_tower([self.refine_star], box_shape))
            scales += self.refinement_scales
        for scale in scales:
            scale.build(())
        self.built = True

    def call(self, features, training=None) -> dict[str, tf.Tensor]:
        towers.check_levels(features, self.levels)
        recompute = bool(self.recompute and training)
        return towers.concat_levels([self._level(index, feature, recompute) for index, feature in enumerate(features)])

    def _level(self, index, feature, recompute):
        stride = 2.0 ** self.levels[index]
        class_feature = towers.run_tower(self.class_tower, feature, recompute)
        box_feature = towers.run_tower(self.box_tower, feature, recompute)
        box = tf.exp(self.scales[index](self.box(self.box_feature(box_feature))))
        box *= BOX_UNITS[self.box_normalization] * stride  # [B, H, W, 4], pixels
        outputs = {"box": box}
        star = (star_offsets(self._with_less_gradient(box) / stride),) if self.star else ()
        if self.refine:
            factors = tf.exp(self.refinement_scales[index](self.refinement(self.refine_star(box_feature, *star))))
            outputs["refined_box"] = factors * tf.stop_gradient(box)
        return {"classification": self.classification(self.class_star(class_feature, *star)), **outputs}

    def _with_less_gradient(self, box):
        return self.star_gradient * box + (1.0 - self.star_gradient) * tf.stop_gradient(box)

    def stations(self) -> dict[str, list[keras.layers.Layer]]:
        """As `TowerHead`'s."""
        found = {
            "class tower": self.class_tower,
            "box tower": [*self.box_tower, self.box_feature],
            "box output": [self.box, *self.scales],
            "class star": [self.class_star],
            "class output": [self.classification],
        }
        if self.refine:
            found["refinement star"] = [self.refine_star]
            found["refined box output"] = [self.refinement, *self.refinement_scales]
        return found

    def get_config(self) -> dict[str, typing.Any]:
        return {**super().get_config(), **arguments(self)}
