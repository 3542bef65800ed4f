"""An ablation in words: tables as rows of texts, for the terminal and the page alike."""

import textwrap

from gfl_tf import texts
from gfl_tf.ablation import plan, summary
from gfl_tf.ablation.ablate import Ablation, Found
from gfl_tf.ablation.tables import METRICS, Group

Rows = list[list[str]]
LEGEND = (
    "Scores are means over the seeds, with their standard deviation. A difference is the mean of those at the same "
    "seed, in points of AP; its spread is their standard deviation, and the interval of 95% is by Student's t, which "
    "takes them as normally distributed. Where the interval holds 0, or is not known, as of one seed, the difference "
    "may be chance. Of twenty differences of which none is true, one leaves out 0 on average. The paper's figures are "
    "of ResNet-50, 12 epochs and COCO, one training each: what can be expected to be the same here is the sign of a "
    "difference, not its size."
)


def render(ablation: Ablation, found: Found) -> str:
    """Everything as lines of text."""
    blocks = ["\n".join([title(ablation), *texts.columns(score_rows(ablation, found))])]
    for group in summary.among(ablation.table.groups, ablation.rows):
        lines = [f"Differences from {group.reference}", *texts.columns(difference_rows(ablation, found, group))]
        blocks.append("\n".join([*lines, textwrap.fill(order(ablation, found, group), 100)]))
    return "\n\n".join([*blocks, *missing(ablation, found), textwrap.fill(LEGEND, 100)])


def title(ablation: Ablation) -> str:
    table = ablation.table
    return f"{ablation.name}: {table.title} ({table.source}), on {ablation.base}; {ablation.checkpoint} weights"


def score_rows(ablation: Ablation, found: Found) -> Rows:
    """The metrics in percent, of here and of the paper."""
    rows = [["", "seeds", *METRICS, *(f"paper's {name}" for name in METRICS)]]
    for row in ablation.rows:
        here, paper = summary.of_row(found.results, row), ablation.table.rows[row].figures
        cells = (_mean(here.get(name)) for name in METRICS)
        seeds = f"{len(found.results.get(row, {}))}/{len(ablation.seeds)}"
        rows.append([row, seeds, *cells, *(f"{paper[name]:.1f}" if name in paper else "-" for name in METRICS)])
    return rows


def difference_rows(ablation: Ablation, found: Found, group: Group) -> Rows:
    """Of the AP of a group's rows from its reference."""
    rows = [["", "seeds", "here", "95%", "spread", "paper", "order"]]
    for each in summary.of_group(found.results, ablation.table, group):
        spread = each.spread
        interval = spread and spread.interval()
        rows.append(
            [
                each.row,
                str(spread.count if spread else 0),
                f"{spread.mean:+.1f}" if spread else "-",
                "[{:+.1f}, {:+.1f}]".format(*interval) if interval else "-",
                f"{spread.stddev:.1f}" if interval else "-",
                f"{each.paper:+.1f}",
                each.verdict,
            ]
        )
    return rows


def order(ablation: Ablation, found: Found, group: Group) -> str:
    """How many pairs of rows are in the paper's order."""
    counts = summary.pairs(found.results, ablation.table, group)
    total = sum(counts.values())
    if not total:
        return "No two rows that the paper orders have a seed in common yet."
    seen = counts[summary.SAME] + counts[summary.MAYBE_SAME]
    return (
        f"Pairs of rows that the paper orders: {total}. In its order here: {seen}, of which {counts[summary.SAME]} by "
        f"more than chance; against it by more than chance: {counts[summary.OPPOSITE]}."
    )


def missing(ablation: Ablation, found: Found) -> list[str]:
    """Lines about trainings that failed, and about those that are missing."""
    lines = [f"{training} failed: {reason}" for training, reason in found.failures.items()]
    count = sum(state != plan.FINISHED for state in found.states.values())
    if count:
        lines.append(f"{count} of {len(found.states)} trainings are missing: the same command goes on with them.")
    return lines


def _mean(spread):
    if spread is None:
        return "-"
    return f"{spread.mean:.1f}" + ("" if spread.stddev is None else f" ± {spread.stddev:.1f}")
