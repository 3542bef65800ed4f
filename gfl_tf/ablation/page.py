"""An ablation as one HTML page."""

import os

import numpy as np

from gfl_tf.ablation import summary, text
from gfl_tf.ablation.ablate import Ablation, Found
from gfl_tf.visualization import diagrams, pages

NAME = "index.html"


def write(ablation: Ablation, found: Found) -> None:
    """Writes the page into the ablation's folder; OSError: it cannot be written."""
    groups = summary.among(ablation.table.groups, ablation.rows)
    pages.write(
        os.path.join(ablation.output, NAME),
        "ablation.html",
        title=ablation.name,
        about=text.title(ablation),
        overrides=ablation.overrides,
        scores=text.score_rows(ablation, found),
        groups=[
            (
                group.reference,
                text.difference_rows(ablation, found, group),
                text.order(ablation, found, group),
                _diagram(ablation, found, group),
            )
            for group in groups
        ],
        missing=text.missing(ablation, found),
        legend=text.LEGEND,
    )


def _diagram(ablation, found, group):
    differences = [each for each in summary.of_group(found.results, ablation.table, group) if each.spread]
    caption = f"AP over that of {group.reference}, in points"
    if not differences:
        return None
    return caption, diagrams.svg(lambda axes: _draw(axes, differences), caption, height=1.2 + 0.3 * len(differences))


def _draw(axes, differences):
    places = np.arange(len(differences))[::-1]
    means = [each.spread.mean for each in differences]
    intervals = [each.spread.interval() or (each.spread.mean,) * 2 for each in differences]
    errors = [[mean - low for mean, (low, _) in zip(means, intervals)]]
    errors.append([high - mean for mean, (_, high) in zip(means, intervals)])
    axes.axvline(0.0, color="0.5", linewidth=0.8)
    axes.errorbar(means, places + 0.1, xerr=errors, fmt="o", markersize=4, capsize=2, label="here, with 95%")
    axes.plot([each.paper for each in differences], places - 0.1, "D", markersize=4, fillstyle="none", label="paper")
    axes.set_yticks(places, [each.row for each in differences])
    axes.set_ylim(-0.7, len(differences) - 0.3)
    axes.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=2)
