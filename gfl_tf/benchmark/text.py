"""The benchmark in words: tables as rows of texts, for the terminal and the page alike."""

import collections.abc

from gfl_tf import texts
from gfl_tf.benchmark import machine
from gfl_tf.benchmark.bench import Limits
from gfl_tf.benchmark.items import ITEMS
from gfl_tf.benchmark.results import Result

Rows = list[list[str]]
HEADER = ["of", "what", "median", "best", "busy", "", "goal", ""]
LEGEND = (
    "Parts take turns, and so does the machine's limit: a ratio is that of the same round. median: of all rounds. "
    "best: of the least times. busy: of the least processor times, of all cores together, which other work of the "
    "machine changes little. Where median and best are far apart, the machine had such work."
)
MET = {True: "yes", False: "NO", None: ""}


def render(name: str, result: Result) -> str:
    """An item as lines of text."""
    lines = [ITEMS[name], *texts.columns(rows(result), left=(0, 1, 5, 6, 7))] if result.rows else [ITEMS[name]]
    return "\n".join([*lines, *(f"  not measured: {sentence}" for sentence in result.missing)])


def rows(result: Result) -> Rows:
    """The table of an item; what several rows are of stands in the first of them."""
    found, before = [HEADER], None
    for row in result.rows:
        of = "" if row.of == before else row.of
        numbers = [number(value) for value in (row.measured.median, row.measured.best, row.measured.busy)]
        found.append([of, row.what, *numbers, row.unit, str(row.goal or ""), MET[row.is_met]])
        before = row.of
    return found


def number(value: float | None) -> str:
    """Three digits or more; of None an empty text."""
    if value is None:
        return ""
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}" if abs(value) >= 100 else f"{value:.3g}"


def drift(limits: collections.abc.Sequence[Limits]) -> str:
    """How much the machine's limit changed, in one line for each precision; an empty text where none was measured."""
    lines = []
    for precision in dict.fromkeys(each.precision for each in limits):
        rates = [1e-9 * each.rates[machine.CONVOLUTION] for each in limits if each.precision == precision]
        low, high = min(rates), max(rates)
        lines.append(
            f"The {machine.CONVOLUTION} in {precision}: {low:.0f} to {high:.0f} GFLOP/s over {len(rates)} rounds "
            f"(1 : {high / low:.2f})"
        )
    return "\n".join(lines)


def unmet(results: dict[str, Result]) -> list[str]:
    """The rows that are not as they should be, a sentence each."""
    return [
        f"{name}: {row.of}: {row.what} is {number(row.measured.median)}, goal {row.goal}"
        for name, result in results.items()
        for row in result.rows
        if row.is_met is False
    ]
