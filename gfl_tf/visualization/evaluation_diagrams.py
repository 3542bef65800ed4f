"""What an evaluation and a training found, drawn into matplotlib's axes from plain values.

`diagrams.svg` puts such a drawing on a page: `diagrams.svg(lambda axes: coverage(axes, summary), "Coverage of edges")`.
Runs that are compared are drawn into the same axes one after the other, each with a label.
"""

import collections.abc
import typing

import numpy as np

from gfl_tf.visualization import diagrams

if typing.TYPE_CHECKING:
    from matplotlib.axes import Axes

RECALLS = np.linspace(0, 1, 101)  # pycocotools' own
MOST_NAMED = 2 * len(diagrams.COLOURS)  # curves with a colour and a name of their own: solid ones, then dashed ones
MOST_NUMBERED, MOST_LISTED = 12, 40  # rows of a matrix whose cells have numbers, and whose rows have names
_CLAIMED = {"color": "0.5", "linestyle": ":", "linewidth": 1}


def precision_recall(axes: "Axes", curves: collections.abc.Mapping[str, np.ndarray], with_mean: bool = True) -> None:
    """Precision over recall, a curve for each class; with many classes faint ones, and their mean.

    Args:
        axes: to draw into.
        curves: {name: float [101]}, the precision at `RECALLS`; -1: there is no object of the class, and no curve.
        with_mean: of several; not where they are of runs in place of classes.
    """
    known = {name: curve for name, curve in curves.items() if np.min(curve) >= 0}
    for index, (name, curve) in enumerate(known.items()):
        if len(known) > MOST_NAMED:
            axes.plot(RECALLS, curve, color="0.5", linewidth=0.6, alpha=0.4)
        else:
            colour = diagrams.COLOURS[(index + with_mean) % len(diagrams.COLOURS)]  # the first is the mean's
            axes.plot(RECALLS, curve, color=colour, label=name, linestyle=_linestyle(index))
    if len(known) > 1 and with_mean:
        mean = np.mean(list(known.values()), axis=0)
        axes.plot(RECALLS, mean, color=diagrams.COLOURS[0], linewidth=2.5, label="mean of the classes", zorder=1)
    _label(axes, "recall", "precision")
    axes.set_xlim(0, 1)
    axes.set_ylim(0, 1.02)


def reliability(axes: "Axes", summary: dict[str, typing.Any], label: str = "", with_precision: bool = True) -> None:
    """What is found at a score: mean IoU and precision of each bin of scores, over its mean score.

    Args:
        axes: to draw into.
        summary: `evaluation.scores.summary`; bins without detections are left out.
        label: what the curves' names begin with, such as that of a run.
        with_precision: besides the mean IoU.
    """
    bins = [each for each in summary["bins"] if each["count"]]
    scores = [each["score"] for each in bins]
    curves = (("mean IoU", "iou", "o"), ("precision", "precision", "s"))
    for name, key, marker in curves if with_precision else curves[:1]:
        axes.plot(scores, [each[key] for each in bins], marker=marker, markersize=4, label=f"{label} {name}".strip())
    _claim(axes, "score")


def coverage(axes: "Axes", summary: dict[str, typing.Any], label: str = "found") -> None:
    """Share of the true edges inside the stated intervals, over the share that is claimed; bars of a standard error.

    Args:
        axes: to draw into.
        summary: `evaluation.edges.summary`.
        label: of the curve.
    """
    intervals = summary.get("intervals", ())
    levels, shares, errors = ([each[key] for each in intervals] for key in ("level", "coverage", "error"))
    axes.errorbar(levels, shares, errors, marker="o", markersize=4, capsize=2, label=label)
    _claim(axes, "claimed share of edges", "share of edges within")


def training_curves(
    axes: "Axes",
    curves: collections.abc.Mapping[str, tuple[collections.abc.Sequence[int], collections.abc.Sequence[float]]],
    y_label: str,
) -> None:
    """Values over the steps of a training.

    Args:
        axes: to draw into.
        curves: {name: (steps, values)}; a single one needs no legend.
        y_label: what the values are.
    """
    for index, (name, (steps, values)) in enumerate(curves.items()):
        marker = "." if len(steps) < 20 else ""
        axes.plot(steps, values, label=name, linestyle=_linestyle(index), marker=marker, linewidth=1.2)
    axes.locator_params(axis="x", integer=True, nbins=6)
    _label(axes, "step", y_label, legend=len(curves) > 1)


def confusion(axes: "Axes", matrix: np.ndarray, class_names: collections.abc.Sequence[str]) -> None:
    """`evaluation.confusion.matrix`: a row for each class of objects, a column for each class found.

    A cell is the darker, the larger a share of its row it is.

    Args:
        axes: to draw into.
        matrix: int [C + 1, C + 1].
        class_names: C names.
    """
    from matplotlib.colors import LinearSegmentedColormap, to_rgb

    # Transparent to half transparent: numbers in the page's own colour can be read on every cell.
    colour = to_rgb(diagrams.COLOURS[0])
    shades = LinearSegmentedColormap.from_list("shares", [(*colour, 0.0), (*colour, 0.6)])
    shares = matrix / np.maximum(matrix.sum(axis=1, keepdims=True), 1)
    axes.imshow(shares, cmap=shades, vmin=0, vmax=1, interpolation="nearest", aspect="auto")
    count = len(matrix)
    for ticks, name in ((axes.set_xticks, "missed"), (axes.set_yticks, "background")):
        ticks(range(count), [*class_names, name]) if count <= MOST_LISTED else ticks([count - 1], [name])
    axes.tick_params(axis="x", rotation=45 if count <= 5 else 90, length=0)
    axes.tick_params(axis="y", length=0)
    for row, column in zip(*np.nonzero(matrix)) if count <= MOST_NUMBERED else ():
        axes.text(column, row, str(matrix[row, column]), ha="center", va="center")
    axes.set_xlabel("found as")
    axes.set_ylabel("object")


def sizes(axes: "Axes", rows: collections.abc.Sequence[dict[str, typing.Any]]) -> None:
    """How many objects of each size there are, how many of them are found, and which share that is.

    Args:
        axes: to draw into.
        rows: `evaluation.sizes.recall`.
    """
    places = range(len(rows))
    objects, found = ([row[key] for row in rows] for key in ("objects", "found"))
    axes.bar(places, objects, color="0.5", alpha=0.35, label="objects")
    axes.bar(places, found, label="found")
    for place, row in enumerate(rows):
        if row["objects"]:
            share = f"{row['found'] / row['objects']:.0%}"
            axes.annotate(share, (place, row["objects"]), (0, 2), textcoords="offset points", ha="center", fontsize=8)
    axes.set_xticks(places, [row["size"] for row in rows])
    _label(axes, "size in pixels of the image file", "objects")


def by_class(
    axes: "Axes",
    values: collections.abc.Mapping[str, collections.abc.Sequence[float]],
    class_names: collections.abc.Sequence[str],
) -> None:
    """The AP of each class in percent, a bar for each run; the first class on top.

    Args:
        axes: to draw into.
        values: {run: AP of each class, 0 to 1}; NaN: there is no object of the class, and no bar.
        class_names: of them.
    """
    thickness = 0.8 / len(values)
    for index, (name, of_classes) in enumerate(values.items()):
        places = np.arange(len(class_names)) + (index - (len(values) - 1) / 2) * thickness
        axes.barh(places, 100 * np.nan_to_num(of_classes), thickness, label=name)
    axes.set_yticks(range(len(class_names)), class_names)
    axes.invert_yaxis()
    _label(axes, "AP in percent", "")


def _linestyle(index):
    return "-" if index % MOST_NAMED < len(diagrams.COLOURS) else "--"


def _claim(axes, x_label, y_label=""):
    """The labels, and the line on which a claim is true, once for all that is drawn into the axes."""
    if not any(line.get_label() == "as claimed" for line in axes.get_lines()):
        axes.plot([0, 1], [0, 1], label="as claimed", zorder=1, **_CLAIMED)
    axes.set_xlim(0, 1)
    axes.set_ylim(0, 1.02)
    _label(axes, x_label, y_label)


def _label(axes, x_label, y_label, legend=True):
    axes.set_xlabel(x_label)
    axes.set_ylabel(y_label)
    if legend:
        axes.legend()
