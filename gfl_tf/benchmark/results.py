"""What an item of the benchmark found: rows with numbers of each round, what they should be, and diagrams."""

import dataclasses
import typing

from gfl_tf.benchmark.rounds import Measured, Rounds
from gfl_tf.visualization.diagrams import Draw


@dataclasses.dataclass(frozen=True)
class Goal:
    """What a median should be: at least `least`, or at most `most`."""

    least: float | None = None
    most: float | None = None

    def __str__(self) -> str:
        return f">= {self.least:g}" if self.most is None else f"<= {self.most:g}"

    def is_met(self, value: float) -> bool:
        return value >= self.least if self.most is None else value <= self.most


@dataclasses.dataclass(frozen=True)
class Row:
    """One number.

    Attributes:
        of: which detector, image size, precision, ...
        what: what the number is, such as "predict / forward".
        measured: `Measured`.
        unit: of the number; empty: of a ratio.
        goal: None: there is none.
    """

    of: str
    what: str
    measured: Measured
    unit: str = ""
    goal: Goal | None = None

    @property
    def is_met(self) -> bool | None:
        """Whether the median is as it should be; None: that is open."""
        return self.goal.is_met(self.measured.median) if self.goal else None

    def content(self) -> dict[str, typing.Any]:
        """As plain values for JSON."""
        return {
            "of": self.of,
            "what": self.what,
            "median": self.measured.median,
            "best": self.measured.best,
            "busy": self.measured.busy,
            "values": list(self.measured.values),
            "unit": self.unit,
            "goal": str(self.goal) if self.goal else None,
            "is_met": self.is_met,
        }


@dataclasses.dataclass
class Result:
    """What an item found.

    Attributes:
        rows: `Row`s.
        missing: what was not measured, and why, one sentence each.
        diagrams: (caption, function that draws into matplotlib's axes).
        rounds: all that was timed.
    """

    rows: list[Row] = dataclasses.field(default_factory=list)
    missing: list[str] = dataclasses.field(default_factory=list)
    diagrams: list[tuple[str, Draw]] = dataclasses.field(default_factory=list)
    rounds: list[Rounds] = dataclasses.field(default_factory=list)

    def content(self) -> dict[str, typing.Any]:
        """As plain values for JSON."""
        return {
            "rows": [row.content() for row in self.rows],
            "missing": self.missing,
            "rounds": [rounds.content() for rounds in self.rounds],
        }
