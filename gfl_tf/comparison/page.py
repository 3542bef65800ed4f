"""A comparison as one HTML page, with the diagrams of all runs over each other."""

import typing

import markupsafe

from gfl_tf.comparison import different_images, text
from gfl_tf.comparison.compare import Comparison
from gfl_tf.training import curves, worst_images
from gfl_tf.visualization import diagrams, page_pictures, pages
from gfl_tf.visualization import evaluation_diagrams as drawn
from gfl_tf.visualization.page_pictures import Wanted

Figure = tuple[str, markupsafe.Markup]  # caption and diagram


def render(comparison: Comparison) -> str:
    """The page.

    Raises:
        ValueError: an image that is shown cannot be read.
    """
    names = [each.name for each in comparison.evaluations]
    return pages.render(
        "compare.html",
        title=", ".join(names),
        source=text.source(comparison),
        first=names[0],
        folders=[(each.name, str(each.folder)) for each in comparison.evaluations],
        metrics=text.metric_rows(comparison),
        differences=text.difference_rows(comparison, "metrics"),
        class_differences=text.difference_rows(comparison, "per_class_AP"),
        classes=text.class_rows(comparison),
        trust=text.trust_rows(comparison),
        legend=text.LEGEND,
        mark=text.MARK,
        figures=[*_of_trainings(comparison), *_of_precision(comparison), *_of_trust(comparison)],
        pictures=[(name, _pictures(comparison, index)) for index, name in enumerate(names) if index],
        picture_rule=different_images.RULE,
    )


def _figure(caption, draw, height=3.2) -> Figure:
    return caption, diagrams.svg(draw, caption, height=height)


def _of_trainings(comparison):
    of_runs = {each.name: curves.read(each.run) for each in comparison.evaluations if each.run}
    for key, caption in (("AP", "AP over the steps of the training"), ("loss", "Loss over the steps of the training")):
        chosen = {name: found[key][key] for name, found in of_runs.items() if key in found.get(key, {})}
        if chosen:
            yield _figure(caption, lambda axes: drawn.training_curves(axes, chosen, key))


def _of_precision(comparison):
    if not comparison.dataset.num_boxes:
        return
    of_runs = {each.name: scored for each, scored in zip(comparison.evaluations, comparison.scored)}
    precision = {name: _mean_precision(scored.precision) for name, scored in of_runs.items()}
    yield _figure(
        "Precision over recall at an IoU of 0.5, mean of the classes",
        lambda axes: drawn.precision_recall(axes, precision, with_mean=False),
    )
    per_class = {name: scored.per_class[0, :, 0] for name, scored in of_runs.items()}
    class_names = comparison.dataset.class_names
    height = max(3.2, 0.3 + 0.12 * len(class_names) * (len(of_runs) + 1))
    yield _figure("AP of each class", lambda axes: drawn.by_class(axes, per_class, class_names), height)


def _mean_precision(precision):
    """[101] of [C, 101], over the classes that have objects."""
    return precision[precision.min(axis=1) >= 0].mean(axis=0)


def _of_trust(comparison):
    def over_each_other(draw, kind, needed, **options: typing.Any):
        of_runs = {each.name: each.metrics.get(kind, {}) for each in comparison.evaluations}
        known = {name: summary for name, summary in of_runs.items() if summary.get(needed)}

        def draw_all(axes):
            for name, summary in known.items():
                draw(axes, summary, label=name, **options)

        return draw_all if known else None

    for caption, draw in (
        ("Mean IoU over the score", over_each_other(drawn.reliability, "scores", "detections", with_precision=False)),
        (
            "Edges within their intervals, with the standard error",
            over_each_other(drawn.coverage, "edges", "intervals"),
        ),
    ):
        if draw:
            yield _figure(caption, draw)


def _pictures(comparison, index):
    """Of the images on which a run and the first one differ most: as the first sees each, and as the other does."""
    names = [comparison.evaluations[which].name for which in (0, index)]
    pairs = different_images.most_different(comparison.scored[0].images, comparison.scored[index].images)
    wanted = [Wanted(image, f"{name}: {_mistakes(image)}") for pair in pairs for name, image in zip(names, pair)]
    return page_pictures.make(wanted, comparison.dataset, None, ())


def _mistakes(image):
    found = worst_images.mistakes(image)
    return f"F1 {found.f1:.2f}, {found.missed} of {found.objects} missed, {found.false} false"
