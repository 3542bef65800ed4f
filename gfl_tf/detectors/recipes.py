"""The family: each detector is a choice of parts."""

import dataclasses
import functools
import typing

import keras

from gfl_tf import losses
from gfl_tf.assigners.atss import ATSSAssigner
from gfl_tf.assigners.fcos import FCOSAssigner
from gfl_tf.assigners.max_iou import MaxIoUAssigner
from gfl_tf.boxes.distributions import GeneralDistribution
from gfl_tf.boxes.points import AnchorDeltas, DiracDistances
from gfl_tf.detectors.checks import LOSS_RULES
from gfl_tf.detectors.detector import Detector
from gfl_tf.heads.tower_head import TowerHead
from gfl_tf.heads.vfnet import VFNetHead
from gfl_tf.layers.dgqp import check_bins
from gfl_tf.necks.fpn import FPN
from gfl_tf.ops.grid import GridSpec
from gfl_tf.parts import check_fields
from gfl_tf.scores.branch import QualityBranch
from gfl_tf.scores.dgqp import DGQPScore
from gfl_tf.scores.joint import JointScore


@dataclasses.dataclass(frozen=True)
class Recipe:
    """The parts of a detector but for its backbone; see `Detector` for each.

    `neck` and `head` are `functools.partial`s of their classes, which take what the other parts decide when they are
    made, or finished layers.

    Raises:
        ValueError: a weight below 0 or of another type.
    """

    assigner: typing.Any
    boxes: typing.Any
    score: typing.Any
    classification_loss: keras.losses.Loss
    box_loss: keras.losses.Loss = losses.GIoULoss()
    grid: GridSpec = GridSpec()
    neck: typing.Any = functools.partial(FPN)
    head: typing.Any = functools.partial(TowerHead)
    classification_weight: float = 1.0
    box_weight: float = 2.0
    refined_box_weight: float | None = None
    count_empty_images: bool = True

    def __post_init__(self):
        check_fields(self, LOSS_RULES)

    def __call__(
        self,
        backbone: keras.Model,
        num_classes: int,
        bounding_box_format: str,
        head: keras.layers.Layer | functools.partial | None = None,
        **options: typing.Any,
    ) -> Detector:
        """The `Detector`: `gfl_tf.GFL(backbone, num_classes, bounding_box_format, ...)`.

        Args:
            backbone, num_classes, bounding_box_format: see `Detector`.
            head: a layer, or a `functools.partial` of a head's class; default: the recipe's.
            **options: `neck`, `prediction_decoder`, `mean`, `std`, `name`, and whatever is to differ from the recipe:
                its own fields (`assigner`, `boxes`, `box_weight`, ...) and those of its parts by their names alone
                (`bin_width`, `k`, `quality_targets`, ...).

        Raises:
            TypeError: an option that neither the detector, the recipe nor one of its parts has.
            ValueError: see `Detector`.
        """
        kept = {name: options.pop(name) for name in ("prediction_decoder", "mean", "std", "name") if name in options}
        recipe = self.changed(**options, **({"head": head} if head is not None else {})).with_layers(num_classes)
        fields = {field.name: getattr(recipe, field.name) for field in dataclasses.fields(recipe)}
        return Detector(backbone, num_classes, bounding_box_format, **fields, **kept)

    def with_layers(self, num_classes: int) -> "Recipe":
        """The recipe with its neck and head made.

        Raises:
            ValueError: one of them was given what the other parts decide, or does not fit them.
        """
        _check_fit(self)
        neck, head = self.neck, self.head
        if isinstance(neck, functools.partial):
            neck = _fitted(neck, "neck", levels=self.grid.levels)
        if isinstance(head, functools.partial):
            fitting = head.func.fitting(self.grid, self.boxes, self.score)
            head = _fitted(head, "head", num_classes=num_classes, **fitting)
        return dataclasses.replace(self, neck=neck, head=head)

    def changed(self, **changes: typing.Any) -> "Recipe":
        """The recipe with other parts, or other values of its parts' fields, which no two parts have in common."""
        own = {field.name for field in dataclasses.fields(self)}
        recipe = dataclasses.replace(self, **{name: changes.pop(name) for name in own & set(changes)})
        for name, value in changes.items():
            owners = [part for part in PARTS if name in getattr(recipe, part).get_config()]
            if not owners:
                of_parts = [field for part in PARTS for field in getattr(recipe, part).get_config()]
                raise TypeError(f"there is no argument {name!r}; there are {', '.join(sorted([*own, *of_parts]))}")
            part = getattr(recipe, owners[0])
            recipe = dataclasses.replace(recipe, **{owners[0]: dataclasses.replace(part, **{name: value})})
        return recipe


def _check_fit(recipe):
    """Raises ValueError for parts that make no sense together."""
    if isinstance(recipe.score, DGQPScore):
        if not isinstance(recipe.boxes, GeneralDistribution):
            raise ValueError(
                f"DGQPScore reads distributions, which {type(recipe.boxes).__name__} does not predict: choose "
                "GeneralDistribution (in a config: boxes.name='general')"
            )
        check_bins(recipe.score.k, recipe.boxes.num_bins + 1)
    if isinstance(recipe.assigner, ATSSAssigner) and recipe.grid.anchors_per_point != 1:
        raise ValueError(f"ATSS has one anchor a point; this grid has {recipe.grid.anchors_per_point}")


def _fitted(layer, name, **fitting):
    """The layer of a `functools.partial`, with the arguments that the other parts decide."""
    given = sorted(set(layer.keywords) & set(fitting))
    if given:
        raise ValueError(
            f"the {name} takes {', '.join(given)} from num_classes, grid, boxes and score: set them there alone"
        )
    try:
        return layer(**fitting, name=name)
    except ValueError as error:
        raise ValueError(f"the {name}: {error}") from error


PARTS = ("grid", "assigner", "boxes", "score")

# Li et al., "Generalized Focal Loss", section 3 and eq. 11.
GFL = Recipe(
    assigner=ATSSAssigner(),
    boxes=GeneralDistribution(),
    score=JointScore(),
    classification_loss=losses.QualityFocalLoss(),
)

# Li et al., "Generalized Focal Loss V2", sections 3.2 and 4: the score is J = C x I.
GFLV2 = dataclasses.replace(GFL, score=DGQPScore())

# Zhang et al., "Bridging the Gap Between Anchor-based and Anchor-free Detection", CVPR 2020, sections 3 and 4:
# RetinaNet with one anchor a point, FCOS's centerness and Adaptive Training Sample Selection.
ATSS = Recipe(
    assigner=ATSSAssigner(),
    boxes=AnchorDeltas(),
    score=QualityBranch(),
    classification_loss=losses.FocalLoss(),
)

# Zhang et al., "VarifocalNet", section 4 and eq. 3: IoU-aware scores, boxes refined by star-shaped features. Points
# outside an image are negatives.
VFNet = Recipe(
    neck=functools.partial(FPN, extra_relu=True),
    head=functools.partial(VFNetHead),
    assigner=ATSSAssigner(ignore_outside=False),
    boxes=DiracDistances(activation="none", unit="pixel"),
    score=JointScore(weight_boxes_by="iou"),
    classification_loss=losses.VarifocalLoss(),
    box_weight=1.5,
    refined_box_weight=2.0,
    count_empty_images=False,
)

# Tian et al., "FCOS", ICCV 2019, sections 3.1 to 3.3, with its later improvements: centre sampling, GIoU, distances in
# strides, and the centerness branch on the box tower.
FCOS = Recipe(
    neck=functools.partial(FPN, extra_relu=True),
    grid=GridSpec(offset=0.5),
    assigner=FCOSAssigner(centre_radius=1.5),
    boxes=DiracDistances(activation="relu"),
    score=QualityBranch(),
    classification_loss=losses.FocalLoss(),
    box_weight=1.0,
    count_empty_images=False,
)

# Lin et al., "Focal Loss for Dense Object Detection", ICCV 2017, section 4: nine anchors a point, absolute errors of
# their deltas.
RetinaNet = Recipe(
    neck=functools.partial(FPN, extra_from_backbone=True),
    head=functools.partial(TowerHead, groups=0, scale_levels=False),
    grid=GridSpec(anchor_scales=(4.0, 4.0 * 2 ** (1 / 3), 4.0 * 2 ** (2 / 3)), anchor_ratios=(0.5, 1.0, 2.0)),
    assigner=MaxIoUAssigner(),
    boxes=AnchorDeltas(stddevs=(1.0, 1.0, 1.0, 1.0), delta_weight=1.0),
    score=JointScore(quality_targets=False, weight_boxes_by="none"),
    classification_loss=losses.FocalLoss(),
    box_weight=0.0,
)
