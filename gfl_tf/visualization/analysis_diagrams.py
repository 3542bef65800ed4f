"""The diagrams of the analyses: each draws the numbers of one into matplotlib's axes."""

import typing

import matplotlib.patheffects
import numpy as np
from matplotlib.patches import Rectangle

if typing.TYPE_CHECKING:
    from matplotlib.axes import Axes

Numbers = dict[str, typing.Any]

_DOTS = {"s": 5, "alpha": 0.35, "linewidths": 0}
_OUTLINED = [matplotlib.patheffects.withStroke(linewidth=3, foreground="#000a")]


def quality_correlation(axes: "Axes", numbers: Numbers) -> None:
    """Predicted against real IoU, with the mean of each tenth."""
    points, bins = numbers["points"], numbers["bins"]
    axes.plot([0, 1], [0, 1], color="C5", linewidth=1, label="equal")
    axes.scatter(points["predicted"], points["iou"], color="C0", **_DOTS)
    means = [[row[name] for row in bins] for name in ("predicted", "iou")]
    axes.plot(*means, "o-", color="C1", markersize=4, label="mean of a tenth")
    _square(axes, "predicted IoU", "real IoU", numbers["correlation"])


def class_and_quality(axes: "Axes", numbers: Numbers) -> None:
    """Class score against predicted quality of positives and of negatives."""
    for name, colour in (("negatives", "C1"), ("positives", "C0")):
        points = numbers["points"][name]
        axes.scatter(points["class_score"], points["quality"], color=colour, label=name, **_DOTS)
    _square(axes, "class score", "predicted quality", numbers["correlation_of_positives"])


def top1_iou(axes: "Axes", numbers: Numbers) -> None:
    """The largest probability, the mean of four sides, against the real IoU."""
    _top1(axes, numbers, "real IoU")


def top1_quality(axes: "Axes", numbers: Numbers) -> None:
    """The same against the predicted quality."""
    _top1(axes, numbers, "predicted quality")


def _top1(axes, numbers, label):
    points = numbers["points"]
    axes.scatter(points["top1"], points["quality"], color="C0", **_DOTS)
    _square(axes, "largest probability, mean of the sides", label, numbers["correlation_of_top1"])


def _square(axes, x_label, y_label, correlation):
    axes.set(xlim=(0, 1.01), ylim=(0, 1.01), xlabel=x_label, ylabel=y_label, aspect="equal")
    axes.set_title("" if correlation is None else f"correlation {correlation:.3f}", fontsize="medium", loc="left")
    if axes.get_legend_handles_labels()[0]:
        for handle in axes.legend(loc="lower right").legend_handles:
            handle.set_alpha(1)


def oracles(axes: "Axes", numbers: Numbers) -> None:
    """AP with each replacement; those that rank by the class score alone are paler."""
    rows = numbers["rows"]
    has_quality = any(row["quality"] == "used" for row in rows)
    names = list(dict.fromkeys(row["replaced"] for row in rows))
    kinds = (("used", "C0", -0.2), ("left out", "C5", 0.2)) if has_quality else (("none", "C0", 0.0),)
    for quality, colour, shift in kinds:
        of_kind = [row for row in rows if row["quality"] == quality]
        height = 0.38 if has_quality else 0.7
        places = [names.index(row["replaced"]) + shift for row in of_kind]
        values = [100 * row["AP"] for row in of_kind]
        bars = axes.barh(places, values, height, color=colour, label=f"quality {quality}")
        axes.bar_label(bars, fmt="%.1f", padding=2, fontsize="small")
    axes.set_yticks(range(len(names)), names)
    axes.invert_yaxis()
    axes.set(xlim=(0, 109), xlabel="AP, %", ylabel="replaced at the positives")
    if has_quality:
        axes.legend(loc="upper left", bbox_to_anchor=(1, 1))


def regression_targets(axes: "Axes", numbers: Numbers) -> None:
    """Histogram of the distances in strides, level upon level, and how far the distributions reach."""
    bins = numbers["bins"]
    levels = [name for name in bins[0] if name not in ("from", "to")]
    total = sum(row[name] for row in bins for name in levels)
    left, below = [row["from"] for row in bins], np.zeros(len(bins))
    for name in levels:
        share = np.array([100 * row[name] / total for row in bins])
        axes.bar(left, share, 0.9, below, align="edge", label=f"stride {name}")
        below += share
    if "reach" in numbers:
        axes.axvline(numbers["reach"], color="C3", linestyle="--", label="reach")
    axes.set(xlabel="distance from a positive to a side, strides", ylabel="share of the distances, %")
    axes.legend(loc="upper right", bbox_to_anchor=(0.93, 1))


def quality_labels(axes: "Axes", numbers: Numbers) -> None:
    """Histograms of both labels."""
    bins = numbers["bins"]
    left = np.array([row["from"] for row in bins])
    for name, colour in (("iou", "C0"), ("centerness", "C1")):
        share = [100 * row[name] / numbers["positives"] for row in bins]
        label = {"iou": "IoU"}.get(name, name)
        axes.stairs(share, [*left, 1.0], fill=True, alpha=0.35, color=colour)
        axes.stairs(share, [*left, 1.0], color=colour, label=label)
    axes.set(xlim=(0, 1), xlabel="label", ylabel="share of the positives, %")
    axes.legend(loc="upper left")


def suppression(axes: "Axes", numbers: Numbers) -> None:
    """Objects in rows: the surest boxes before the suppression, and what is left after."""
    axes.set_axis_off()
    examples = numbers["examples"]
    for row, example in enumerate(examples):
        height = 1 / len(examples)
        for column, part in enumerate(("before", "after")):
            # The rest of its half is for the scores.
            panel = axes.inset_axes([column / 2, 1 - (row + 1) * height, 0.33, height * 0.84], anchor="NW")
            _boxes(panel, example, part)


def _boxes(panel, example, part):
    panel.imshow(example["pixels"], interpolation="bilinear")
    panel.set(xticks=[], yticks=[])
    panel.spines[:].set_visible(False)
    _box(panel, example["object"], "white", "-")
    # Those of lower scores first: the surest on top.
    rows = list(enumerate(example[part]))
    for number, row in reversed(rows):
        _box(panel, row["box"], f"C{number % 6}", "-")
    if part == "before" and example["best"] not in example["before"]:
        rows.append((5, example["best"]))
        _box(panel, example["best"]["box"], "C5", ":")
    lines = [f"{row['score']:.2f} ({row['iou']:.2f})" for _, row in rows]
    panel.set_title(f"{part}, score (IoU)", fontsize="small", loc="left")
    for place, (line, (number, _)) in enumerate(zip(lines, rows)):
        style = {"color": f"C{number % 6}", "fontsize": "small", "va": "top"}
        panel.annotate(line, (1, 1), (4, -13 * place), "axes fraction", "offset points", **style)


def _box(panel, box, colour, style):
    x1, y1, x2, y2 = box
    panel.add_patch(
        Rectangle((x1, y1), x2 - x1, y2 - y1, fill=False, edgecolor=colour, linestyle=style, linewidth=1.5,
                  path_effects=_OUTLINED if colour == "white" else None)
    )  # fmt: skip


def speed_accuracy(axes: "Axes", numbers: Numbers) -> None:
    """AP over the time of an image, of each export."""
    rows = numbers["rows"]
    for row in rows:
        axes.scatter(row["ms"], 100 * row["AP"], s=30)
        axes.annotate(
            row["name"], (row["ms"], 100 * row["AP"]), xytext=(6, 4), textcoords="offset points", fontsize="small"
        )
    axes.set(xlabel="ms per image (median)", ylabel="AP, %")
    axes.set_xlim(0, 1.35 * max(row["ms"] for row in rows))
    axes.margins(y=0.3)
