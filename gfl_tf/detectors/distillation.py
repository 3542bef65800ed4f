"""A teacher for a detector in training: localization distillation (Zheng et al., CVPR 2022, arXiv 2102.12252)."""

import dataclasses
import typing

import tensorflow as tf

from gfl_tf import field_rules
from gfl_tf.boxes.distributions import GeneralDistribution
from gfl_tf.losses.distribution import distillation_loss
from gfl_tf.ops.distributions import by_side
from gfl_tf.parts import check_fields


@dataclasses.dataclass(frozen=True, eq=False)
class Distillation:
    """A trained detector whose box distributions another one is to come close to, beside its own losses.

    ```
    student.compile(optimizer=..., distillation=gfl_tf.Distillation(teacher))
    ```

    The teacher gets the same images as the student and is not changed. It is no part of the student: not of its
    weights, its saved files or its exports. Under a `tf.distribute` strategy make both in its scope.

    Args:
        teacher: a `Detector` with `GeneralDistribution`, with the student's bins, levels and classes.
        temperature: T of the softmax over the bins.
        weight: of the loss at the positives; 0 leaves it out.
        vlr_weight: of the loss in the valuable localization region; 0 leaves it out.
        vlr_gamma: what share of the assigner's threshold begins that region.
        class_weight: of the loss of a softmax over the class scores at the positives; 0 leaves it out.
        class_temperature: T of that softmax.

    Raises:
        ValueError: a wrong value, or all weights are 0.
    """

    TAUGHT: typing.ClassVar = ("box", "classification")  # raw outputs

    teacher: typing.Any
    _: dataclasses.KW_ONLY
    temperature: float = 10.0
    weight: float = 0.25
    vlr_weight: float = 0.25
    vlr_gamma: float = 0.25
    class_weight: float = 0.0
    class_temperature: float = 2.0

    def __post_init__(self):
        check_fields(self, field_rules.DISTILLATION)
        if not any(self.loss_weights.values()):
            raise ValueError("weight, vlr_weight and class_weight are all 0: the teacher would teach nothing")

    @property
    def loss_weights(self) -> dict[str, float]:
        """{term of the loss: its weight}."""
        return {
            "localization_distillation_loss": self.weight,
            "region_distillation_loss": self.vlr_weight,
            "class_distillation_loss": self.class_weight,
        }

    def check(self, student: typing.Any) -> None:
        """Raises ValueError where the teacher cannot teach this `Detector`."""
        models = {"teacher": self.teacher, "student": student}
        for who, model in models.items():
            boxes = getattr(model, "boxes", model)
            if not isinstance(boxes, GeneralDistribution):
                raise ValueError(
                    f"the {who} has {type(boxes).__name__}, which is no distribution over bins; teacher and student "
                    "need GeneralDistribution (in a config: model.boxes.name='general')"
                )
        for what in ("boxes.num_bins", "boxes.bin_width", "grid.levels", "grid.offset", "num_classes"):
            part, _, name = what.rpartition(".")
            theirs, own = (getattr(getattr(model, part) if part else model, name) for model in models.values())
            if theirs != own:
                raise ValueError(f"{what} is {theirs} of the teacher and {own} of the student; both need the same")
        theirs, own = (model.grid.anchors_per_point for model in models.values())
        if theirs != own:
            raise ValueError(f"the teacher has {theirs} anchors a point and the student {own}; both need the same")
        assigner = student.assigner
        if self.vlr_weight and not hasattr(assigner, "positive_thresholds"):
            raise ValueError(
                f"vlr_weight is {self.vlr_weight}, but {type(assigner).__name__} has no threshold of overlaps, from "
                "which the valuable localization region follows: set it to 0"
            )
        if self.class_weight and student.num_classes == 1:
            raise ValueError(f"class_weight is {self.class_weight}, but a softmax over one class is 1: set it to 0")

    def with_teacher(self, outputs: dict[str, tf.Tensor], images: tf.Tensor) -> dict[str, tf.Tensor]:
        """The student's raw outputs, and beside them "teacher_box" and "teacher_classification", of the same images."""
        of_teacher = self.teacher(images, training=False)
        return {**outputs, **{f"teacher_{name}": tf.stop_gradient(of_teacher[name]) for name in self.TAUGHT}}

    @staticmethod
    def is_in(outputs: dict[str, tf.Tensor]) -> bool:
        """Whether raw outputs are those of `with_teacher`."""
        return "teacher_box" in outputs

    def side_losses(self, outputs: dict[str, tf.Tensor]) -> tf.Tensor:
        """[...], the mean over the four sides of `distillation_loss`, of outputs [..., 4 * (n + 1)]."""
        teacher, student = (by_side(outputs[name]) for name in ("teacher_box", "box"))
        return tf.reduce_mean(distillation_loss(teacher, student, self.temperature), axis=-1)

    def class_losses(self, outputs: dict[str, tf.Tensor]) -> tf.Tensor:
        """[...], `distillation_loss` over the classes, of outputs [..., C]."""
        return distillation_loss(outputs["teacher_classification"], outputs["classification"], self.class_temperature)
