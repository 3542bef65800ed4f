"""A comparison in words: tables as rows of texts, for the terminal and the page alike."""

import textwrap

from gfl_tf import texts
from gfl_tf.comparison.compare import Comparison
from gfl_tf.evaluation.coco import METRICS, percent

Rows = list[list[str]]
MARK = "*"
LEGEND = (
    f"In points, with the interval of 95%; {MARK}: it leaves out 0, the difference is more than the chance of which "
    "images were at hand. Of twenty differences of which none is true, one has such an interval on average. Images "
    "were resampled, not trainings: the same config trained with another seed may differ by more."
)
_SCORES = {
    "|score - IoU|": "iou_error",
    "D-ECE": "detection_error",
    "LaECE": "localization_error",
    "correlation of score and IoU": "correlation",
}
_EDGES = {"spread error of edges": "spread_error", "rank correlation of spread and error": "rank_correlation"}


def render(comparison: Comparison) -> str:
    """Everything as lines of text."""
    blocks = [source(comparison)]
    for title, rows in (
        ("In percent", metric_rows(comparison)),
        ("AP of each class, in percent", class_rows(comparison)),
        ("Trust in scores and edges", trust_rows(comparison)),
        (f"Differences from {comparison.evaluations[0].name}", difference_rows(comparison, "metrics")),
        ("Differences in AP of each class", difference_rows(comparison, "per_class_AP")),
    ):
        if len(rows) > 1:
            blocks.append("\n".join([title, *texts.columns(rows)]))
    return "\n\n".join([*blocks, textwrap.fill(LEGEND, 100)])


def source(comparison: Comparison) -> str:
    """On which data, with what bootstrap."""
    return (
        f"{len(comparison.dataset.images)} images of {comparison.dataset.report.source}; intervals of "
        f"{comparison.resamples} resamples of them (seed {comparison.seed})"
    )


def metric_rows(comparison: Comparison) -> Rows:
    """COCO's 12 numbers in percent, a column for each run."""
    return _percents(comparison, "metrics", METRICS)


def class_rows(comparison: Comparison) -> Rows:
    """The AP of each class in percent."""
    return _percents(comparison, "per_class_AP", comparison.dataset.class_names)


def trust_rows(comparison: Comparison) -> Rows:
    """What is known of scores and edges of two runs at least; else the header alone."""
    metrics = [each.metrics for each in comparison.evaluations]
    scores, edges = ([each.get(kind, {}) for each in metrics] for kind in ("scores", "edges"))
    rows = [_row(name, ".3f", [each.get(key) for each in scores]) for name, key in _SCORES.items()]
    intervals = [{interval["level"]: interval for interval in each.get("intervals", ())} for each in edges]
    for level in sorted(set().union(*intervals)):
        claim, of_level = f"{100 * level:g}% intervals", [each.get(level, {}) for each in intervals]
        rows.append([f"edges in {claim}, %", *map(_coverage, of_level)])
        rows.append(_row(f"width of {claim}, px", ".1f", [each.get("width") for each in of_level]))
    rows += [_row(name, ".2f", [each.get(key) for each in edges]) for name, key in _EDGES.items()]
    return [_header(comparison), *(row for row in rows if sum(cell != "-" for cell in row[1:]) > 1)]


def difference_rows(comparison: Comparison, kind: str) -> Rows:
    """Of "metrics" or "per_class_AP": each run's differences from the first one, in points."""
    others = range(1, len(comparison.evaluations))
    found = [comparison.differences(index)[kind] for index in others]
    header = ["", *(comparison.evaluations[index].name for index in others)]
    return [header, *([name, *(_difference(each[name]) for each in found)] for name in found[0])]


def _percents(comparison, kind, names):
    cells = ((name, *(percent(each.metrics[kind][name]) for each in comparison.evaluations)) for name in names)
    return [_header(comparison), *map(list, cells)]


def _header(comparison):
    return ["", *(each.name for each in comparison.evaluations)]


def _row(name, form, values):
    return [name, *("-" if value is None else format(value, form) for value in values)]


def _coverage(interval):
    return f"{100 * interval['coverage']:.1f} ± {100 * interval['error']:.1f}" if interval else "-"


def _difference(found):
    if found is None:
        return "-"
    value, low, high = (100 * number for number in found)
    return f"{value:+.1f} [{low:+.1f}, {high:+.1f}]{MARK if found.is_more_than_chance else ' '}"
