"""What the finished trainings of an ablation say: means, spreads, and whether the paper's order is seen."""

import collections.abc
import dataclasses
import itertools
import math
import statistics
import typing

from gfl_tf.ablation.tables import METRICS, Group, Table

# 97.5% quantiles of Student's t, of 1 to 10 degrees of freedom (any table of it). More count as 10: the interval is
# then a little too wide.
T_QUANTILES = (12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228)
SAME, MAYBE_SAME, MAYBE_OPPOSITE, OPPOSITE, NO_ORDER, UNKNOWN = (
    "as in the paper",
    "as in the paper, maybe by chance",
    "not as in the paper, maybe by chance",
    "against the paper",
    "equal in the paper",
    "no seed in common yet",
)

Results = collections.abc.Mapping[str, collections.abc.Mapping[int, collections.abc.Mapping[str, float]]]


@dataclasses.dataclass(frozen=True)
class Spread:
    """Of some values: how many, their mean, and their standard deviation (None: of fewer than two)."""

    count: int
    mean: float
    stddev: float | None

    def interval(self) -> tuple[float, float] | None:
        """Of 95%, for the mean of values of a normal distribution; None: of fewer than two."""
        if self.stddev is None:
            return None
        half = T_QUANTILES[min(self.count - 1, len(T_QUANTILES)) - 1] * self.stddev / math.sqrt(self.count)
        return self.mean - half, self.mean + half


@dataclasses.dataclass(frozen=True)
class Difference:
    """Of the AP of `row` from that of `reference`, in points.

    Attributes:
        paper: the paper's.
        spread: of the differences at the same seed; None: there is no such seed yet.
        verdict: one of those above.
    """

    row: str
    reference: str
    paper: float
    spread: Spread | None
    verdict: str


def spread(values: collections.abc.Sequence[float]) -> Spread | None:
    """None: of no values."""
    if not values:
        return None
    return Spread(len(values), statistics.mean(values), statistics.stdev(values) if len(values) > 1 else None)


def of_row(results: Results, row: str) -> dict[str, Spread]:
    """{metric: `Spread` over the seeds} of a row's finished trainings.

    Args:
        results: {row: {seed: {metric: percent}}}.
    """
    of_seeds = results.get(row, {}).values()
    return {name: spread([each[name] for each in of_seeds]) for name in METRICS} if of_seeds else {}


def difference(results: Results, table: Table, row: str, reference: str) -> Difference:
    """The `Difference`, at the seeds that both rows have."""
    one, other = results.get(reference, {}), results.get(row, {})
    found = spread([other[seed]["AP"] - one[seed]["AP"] for seed in one if seed in other])
    paper = round(table.rows[row].figures["AP"] - table.rows[reference].figures["AP"], 1)
    return Difference(row, reference, paper, found, _verdict(paper, found))


def _verdict(paper, found):
    if found is None:
        return UNKNOWN
    if paper == 0.0:
        return NO_ORDER
    interval = found.interval()
    is_sure = interval is not None and not interval[0] <= 0.0 <= interval[1]
    if found.mean * paper > 0.0:
        return SAME if is_sure else MAYBE_SAME
    return OPPOSITE if is_sure else MAYBE_OPPOSITE


def of_group(results: Results, table: Table, group: Group) -> list[Difference]:
    """The differences of a group's rows from its reference."""
    return [difference(results, table, row, group.reference) for row in group.rows if row != group.reference]


def pairs(results: Results, table: Table, group: Group) -> dict[str, int]:
    """{verdict: number} of all pairs of rows of a group that the paper orders and that have a seed in common."""
    found = [difference(results, table, row, other).verdict for other, row in itertools.combinations(group.rows, 2)]
    return {verdict: found.count(verdict) for verdict in (SAME, MAYBE_SAME, MAYBE_OPPOSITE, OPPOSITE)}


def among(groups: collections.abc.Iterable[Group], rows: collections.abc.Container[str]) -> list[Group]:
    """The groups with these rows alone, without groups of fewer than two; the first row stands in for a reference that
    is missing."""
    found = []
    for group in groups:
        kept = tuple(row for row in group.rows if row in rows)
        if len(kept) > 1:
            found.append(Group(kept, group.reference if group.reference in kept else kept[0]))
    return found


def plain(value: typing.Any) -> typing.Any:
    """A `Spread` or `Difference` as a dict for JSON, with its interval."""
    if value is None:
        return None
    if isinstance(value, Spread):
        return {**dataclasses.asdict(value), "interval": value.interval()}
    return {**dataclasses.asdict(value), "spread": plain(value.spread)}
