"""Which training of an ablation comes next, and whether there is time for it."""

import collections.abc
import time
import typing

MISSING, CUT, FINISHED = "missing", "cut", "finished"  # states of a training


class Training(typing.NamedTuple):
    """A row of a table, trained with a seed."""

    row: str
    seed: int

    def __str__(self) -> str:
        return f"{self.row}, seed {self.seed}"


def order(
    rows: collections.abc.Sequence[str],
    seeds: collections.abc.Sequence[int],
    states: collections.abc.Mapping[Training, str],
) -> list[Training]:
    """The trainings that are not finished: those that were cut, then the first seed of all rows, then the second..."""
    trainings = [Training(row, seed) for seed in seeds for row in rows]
    return [training for wanted in (CUT, MISSING) for training in trainings if states[training] == wanted]


class Budget:
    """Time for trainings.

    Args:
        minutes: None: as much as it takes.
        clock: gives seconds.
    """

    def __init__(self, minutes: float | None, clock: collections.abc.Callable[[], float] = time.monotonic):
        self._clock = clock
        self._end = None if minutes is None else clock() + 60 * minutes

    def left(self) -> float:
        """Seconds."""
        return float("inf") if self._end is None else max(self._end - self._clock(), 0.0)

    def fits(self, estimate: float | None) -> bool:
        """Whether a training of `estimate` seconds ends in time; None: it is not known, and any time will do."""
        return self.left() > 0.0 and (estimate is None or estimate <= self.left())


def estimate(training: Training, seconds: collections.abc.Mapping[Training, float]) -> float | None:
    """Seconds that a training takes: the longest of its row, or else of all, that are finished; None: of none.

    Args:
        seconds: of the finished trainings.
    """
    own = [value for other, value in seconds.items() if other.row == training.row]
    return max(own or seconds.values(), default=None)
