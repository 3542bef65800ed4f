"""The report of an evaluation, or of a training, as one page."""

import dataclasses
import os
import typing

import markupsafe
import numpy as np

from gfl_tf.evaluation import confusion, edges, scores, sizes, sure_detections
from gfl_tf.evaluation.coco import METRICS, CocoResult, percent
from gfl_tf.visualization import diagrams, pages
from gfl_tf.visualization import evaluation_diagrams as drawn

Curves = dict[str, tuple[list[int], list[float]]]
MOST_OPEN = 20  # rows of a table that is not folded away


@dataclasses.dataclass(frozen=True)
class Scored:
    """What was found in a data set.

    Attributes:
        result: `CocoResult`.
        measured: "scores" and "edges" of `trust.evaluate`, as far as they are there.
        images: list of `MatchedImage`, all.
        class_names: C names.
        worst, mistakes: pictures of `page_pictures.make`.
        worst_rule: how the worst images were chosen.
    """

    result: CocoResult
    measured: dict[str, typing.Any]
    images: list
    class_names: tuple
    worst: list
    mistakes: list
    worst_rule: str


def write(
    path: str | os.PathLike,
    title: str,
    facts: list[tuple[str, str]],
    config: str,
    curves: dict[str, Curves],
    scored: Scored | None,
) -> None:
    """Writes the page.

    Args:
        path: of the HTML file; its folder is there.
        title: of the page.
        facts: (what, value), shown as a table at the top.
        config: the run's resolved config, as JSON.
        curves: {what: {name: (steps, values)}} of the training, a diagram each; {}: none are known.
        scored: what was found; None: nothing was evaluated.

    Raises:
        OSError: the file cannot be written.
    """
    training = [_diagram(f"{what} over the steps", drawn.training_curves, of, what) for what, of in curves.items()]
    values = dict(title=title, facts=facts, config=config, training=training)
    pages.write(path, "evaluation.html", **values, scored=_values(scored) if scored else None)


def _values(scored):
    counts = confusion.matrix(scored.images, len(scored.class_names))
    confused = confusion.most_frequent(counts, scored.class_names)
    per_class = _per_class(scored)
    return {
        "metrics": [_row(scored.result, METRICS[:6]), _row(scored.result, METRICS[6:])],
        "per_class": [("class", "objects", "AP", "AP50", "AP75"), *per_class],
        "is_open": len(per_class) <= MOST_OPEN,
        "precision_recall": _precision_recall(scored),
        "confusion": _confusion(counts, scored.class_names),
        "confusion_rule": confusion.RULE,
        "confused": [("object", "found as", "times"), *(map(str, each) for each in confused)],
        "sizes": _diagram("Objects and recall by size", drawn.sizes, sizes.recall(scored.images)),
        "sure_rule": sure_detections.RULE,
        "trust": _trust(scored.measured),
        "is_calibrated": scored.measured.get("edges", {}).get("calibrated", False),
        "has_groups": any(len(image.record.crowd_boxes) for image in scored.images),
        "worst": scored.worst,
        "worst_rule": scored.worst_rule,
        "mistakes": scored.mistakes,
    }


def _row(result, names):
    return [names, [percent(result.metrics[name]) for name in names]]


def _per_class(scored):
    classes = np.concatenate([np.zeros(0, int), *(image.record.classes for image in scored.images)])
    objects = np.bincount(classes, minlength=len(scored.class_names))
    at_50, at_75 = (scored.result.precision[index].mean(axis=0) for index in (0, 5))
    return [
        (name, str(objects[index]), percent(ap), percent(at_50[index]), percent(at_75[index]))
        for index, (name, ap) in enumerate(scored.result.per_class.items())
    ]


def _precision_recall(scored):
    precision = scored.result.precision
    return [
        _diagram(f"Precision and recall, {what}", drawn.precision_recall, dict(zip(scored.class_names, values.T)))
        for what, values in (("at IoU 0.5", precision[0]), ("mean over IoUs 0.5 to 0.95", precision.mean(axis=0)))
    ]


def _confusion(counts, class_names):
    side = min(4 + 0.12 * len(counts), 8)
    return _diagram("Confusion matrix", drawn.confusion, counts, class_names, width=side + 0.8, height=side)


def _trust(measured):
    """[(diagram, the same in words)]."""
    found = []
    if "scores" in measured:
        of_scores = measured["scores"]
        found.append((_diagram("Reliability of scores", drawn.reliability, of_scores), scores.text(of_scores)))
    if measured.get("edges", {}).get("matched"):
        of_edges = measured["edges"]
        found.append((_diagram("Coverage of edges", drawn.coverage, of_edges), edges.sentence(of_edges)))
    return found


def _diagram(title: str, draw: typing.Callable, *values: typing.Any, **size: float) -> tuple[str, markupsafe.Markup]:
    """(title, drawing) by a function of `evaluation_diagrams` of axes and `values`."""
    return title, diagrams.svg(lambda axes: draw(axes, *values), title, **size)
