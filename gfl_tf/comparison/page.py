"""A comparison as one HTML page, with the diagrams of all runs over each other."""

import collections.abc
import typing

import markupsafe
import numpy as np

from gfl_tf.comparison import text
from gfl_tf.comparison.compare import Comparison
from gfl_tf.visualization import diagrams, evaluation_diagrams, pages


def render(comparison: Comparison) -> str:
    """The page."""
    return pages.render(
        "compare.html",
        title=f"{', '.join(each.name for each in comparison.evaluations)}",
        source=text.source(comparison),
        first=comparison.evaluations[0].name,
        folders=[(each.name, str(each.folder)) for each in comparison.evaluations],
        metrics=text.metric_rows(comparison),
        differences=text.difference_rows(comparison, "metrics"),
        class_differences=text.difference_rows(comparison, "per_class_AP"),
        classes=text.class_rows(comparison),
        trust=text.trust_rows(comparison),
        legend=text.LEGEND,
        mark=text.MARK,
        figures=list(_figures(comparison)),
    )


def _figures(comparison) -> collections.abc.Iterator[tuple[str, markupsafe.Markup]]:
    """(caption, diagram) of all that some run has."""
    names = [each.name for each in comparison.evaluations]
    metrics = {each.name: each.metrics for each in comparison.evaluations}

    def figure(caption, draw, height=3.2):
        return caption, diagrams.svg(draw, caption, height=height)

    curves = dict(_training_curves(comparison.evaluations))
    if curves:
        caption = "AP over the steps of the training, on the images that it was evaluated on"
        yield figure(caption, lambda axes: evaluation_diagrams.training_curves(axes, curves, "AP in percent"))
    precision = {name: _mean_precision(scored.precision) for name, scored in zip(names, comparison.scored)}
    if comparison.dataset.num_boxes:
        caption = "Precision over recall at an IoU of 0.5, mean of the classes"
        yield figure(caption, lambda axes: evaluation_diagrams.precision_recall(axes, precision, with_mean=False))
        by_class = {name: scored.per_class[0, :, 0] for name, scored in zip(names, comparison.scored)}
        class_names = comparison.dataset.class_names
        height = max(3.2, 0.3 + 0.12 * len(class_names) * (len(names) + 1))
        yield figure("AP of each class", lambda axes: evaluation_diagrams.by_class(axes, by_class, class_names), height)
    scores = {name: each["scores"] for name, each in metrics.items() if each.get("scores", {}).get("detections")}
    if scores:
        caption = "IoU found over the score, and what a perfect score would have"
        yield figure(caption, lambda axes: _each(evaluation_diagrams.reliability, axes, scores, with_precision=False))
    edges = {name: each["edges"] for name, each in metrics.items() if each.get("edges", {}).get("intervals")}
    if edges:
        caption = "Edges within their intervals over what these claim, with the standard error"
        yield figure(caption, lambda axes: _each(evaluation_diagrams.coverage, axes, edges))


def _each(draw, axes, values, **options: typing.Any):
    for name, value in values.items():
        draw(axes, value, label=name, **options)


def _training_curves(evaluations):
    """(name, (steps, AP in percent)) of the runs that were evaluated while they were trained."""
    for each in evaluations:
        made = list(each.run.evaluations().values()) if each.run else []
        if made:
            yield each.name, ([one["step"] for one in made], [100 * one["metrics"]["AP"] for one in made])


def _mean_precision(precision):
    """[101] of [C, 101], over the classes that have objects."""
    known = precision[precision.min(axis=1) >= 0]
    return known.mean(axis=0) if len(known) else np.full(precision.shape[1], -1.0)
