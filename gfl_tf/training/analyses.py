"""The table of the analyses: what each is, to which detectors it applies, how it is measured and drawn."""

import collections.abc
import typing

import numpy as np

from gfl_tf.boxes.distributions import GeneralDistribution
from gfl_tf.detectors import training
from gfl_tf.evaluation import observation
from gfl_tf.evaluation.analyses import (
    class_and_quality,
    oracles,
    quality_correlation,
    quality_labels,
    regression_targets,
    suppression,
    top_probabilities,
)
from gfl_tf.evaluation.observation import Observation
from gfl_tf.ops import distances
from gfl_tf.visualization import analysis_diagrams

if typing.TYPE_CHECKING:
    from gfl_tf.detectors.detector import Detector

Numbers = dict[str, typing.Any]


class Analysis(typing.NamedTuple):
    """One of the papers' figures or tables, of one's own model.

    Attributes:
        title: what it shows.
        paper: where it is from, and what was found there.
        measure: of an `Observation`.
        draw: of matplotlib's axes and the numbers.
        part: what has to be observed for it.
        missing: of a detector, why it cannot be had; "" where it can.
        size: of the diagram, in inches.
    """

    title: str
    paper: str
    measure: collections.abc.Callable[[Observation], Numbers]
    draw: collections.abc.Callable[[typing.Any, Numbers], None]
    part: str = observation.POSITIVES
    missing: collections.abc.Callable[["Detector"], str] = lambda model: ""
    size: tuple[float, float] = (4.2, 4.2)


def _without_predicted_iou(model):
    if model.score.quality or model.score.quality_targets:
        return ""
    return "its class scores are trained to be 1, and no output to be a quality: it predicts no IoU"


def _without_quality(model):
    return "" if model.score.has_quality_output else "class and quality are one number in its scores"


def _without_distributions(model):
    if isinstance(model.boxes, GeneralDistribution):
        return ""
    return f"its boxes, {type(model.boxes).__name__}, are no general distributions"


def _correlation(seen):
    found = seen.positives
    if found.quality is None:
        return quality_correlation.measure(found.score, found.iou)
    others = {"class_score": found.class_score, "quality": found.quality}
    return quality_correlation.measure(found.score, found.iou, others)


def _class_and_quality(seen):
    positives = class_and_quality.Instances(seen.positives.class_score, seen.positives.quality)
    return class_and_quality.measure(positives, seen.negatives)


def _oracles(seen):
    learnt = np.unique(np.column_stack([seen.positives.image, seen.positives.box]), axis=0)
    return oracles.measure(seen.oracles, seen.dataset, learnt)


def _targets(seen):
    found = seen.positives
    return regression_targets.measure(found.points_px, found.strides, found.target_boxes, seen.reach)


def _labels(seen):
    found = seen.positives
    sides = distances.boxes_to_distances(found.points_px, found.target_boxes)
    return quality_labels.measure(found.iou, training.centerness(sides).numpy())


# By the names of `gfl_tf.evaluation.analyses`.
TABLE = {
    "quality_correlation": Analysis(
        "Predicted and real IoU",
        "GFLv2, table 6: over the positives of COCO minival (ResNet-50) the correlation is 0.624 (FCOS) and 0.631 "
        "(ATSS), both with joint scores, 0.634 (GFL), 0.660 (GFLv2).",
        _correlation,
        analysis_diagrams.quality_correlation,
        missing=_without_predicted_iou,
    ),
    "class_and_quality": Analysis(
        "Class score and predicted quality",
        "GFL, figure 2b: of an IoU branch the two hardly go together, and negatives have qualities above 0.9.",
        _class_and_quality,
        analysis_diagrams.class_and_quality,
        observation.NEGATIVES,
        _without_quality,
    ),
    "top1_iou": Analysis(
        "Sharpness of the distributions and real IoU",
        "GFLv2, figure 1b: the sharper the distributions, the better the box.",
        lambda seen: top_probabilities.measure(seen.positives.top, seen.positives.iou),
        analysis_diagrams.top1_iou,
        missing=_without_distributions,
    ),
    "top1_quality": Analysis(
        "Sharpness of the distributions and predicted quality",
        "GFLv2, figure 9: what the DGQP puts out goes with what it reads.",
        lambda seen: top_probabilities.measure(seen.positives.top, seen.positives.quality),
        analysis_diagrams.top1_quality,
        missing=lambda model: _without_distributions(model) or _without_quality(model),
    ),
    "oracles": Analysis(
        "AP if a part of the predictions were right",
        "VarifocalNet, table 1, of FCOS+ATSS on COCO val2017: its AP is in the column paper. There the class score set "
        "to the IoU brings most: good boxes are there, and are not chosen.",
        _oracles,
        analysis_diagrams.oracles,
        observation.ORACLES,
        size=(6.6, 3.6),
    ),
    "regression_targets": Analysis(
        "What the box branch learns",
        "GFL, figure 5c; the distributions of its ATSS reach 14 or 16 strides.",
        _targets,
        analysis_diagrams.regression_targets,
        size=(5.2, 3.4),
    ),
    "quality_labels": Analysis(
        "IoU and centerness as labels",
        "GFL, figure 9: most IoU are above 0.4, centerness is often far smaller.",
        _labels,
        analysis_diagrams.quality_labels,
        size=(5.2, 3.4),
    ),
    "suppression": Analysis(
        "Boxes before and after NMS",
        "GFLv2, figure 7. Here with numbers over all objects. The pictures are of the objects that lost most, with the "
        "boxes of the four best scores, the best box (dotted) where it is none of them, and the object in white.",
        lambda seen: {**suppression.measure(seen.best_iou, seen.kept_iou), "examples": seen.examples},
        analysis_diagrams.suppression,
        observation.SUPPRESSION,
        size=(7.2, 6.6),
    ),
    "speed_accuracy": Analysis(
        "Speed and AP of exports",
        "GFL, figure 7, and GFLv2, figure 6, on a GPU. Here on this machine, one image at a time, from the encoded "
        "image to detections.",
        lambda seen: {"rows": seen.exports},
        analysis_diagrams.speed_accuracy,
        observation.EXPORTS,
        size=(5.2, 3.4),
    ),
}
