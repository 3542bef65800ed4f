"""Parts that take turns, so that a machine whose speed drifts slows them alike."""

import collections.abc
import os
import time
import typing

import numpy as np
import tensorflow as tf

SHORTEST = 1e-9  # seconds
WAITING = 0.01  # of its time takes a part of the processor that only waits, as for another process
Parts = dict[str, collections.abc.Callable[[], typing.Any]]


class Measured(typing.NamedTuple):
    """A number of each round, and what does not depend on single rounds.

    What else the machine does makes rounds longer: the best is what it can do, the median what one sees.

    Attributes:
        values: of the rounds.
        best: of a time the least, of a ratio that of the least times, of a rate the highest.
        busy: as `best`, of processor time, to which all cores add; None: of what is no time and no ratio of times.
    """

    values: tuple[float, ...]
    best: float
    busy: float | None = None

    @property
    def median(self) -> float:
        return float(np.median(self.values))


def once(value: float) -> Measured:
    """A number that is counted or measured a single time."""
    return Measured((float(value),), float(value))


def scaled(measured: Measured, factor: float) -> Measured:
    """The same in another unit."""
    values, best, busy = measured
    return Measured(tuple(factor * value for value in values), factor * best, busy and factor * busy)


class Rounds(typing.NamedTuple):
    """What the parts took.

    Attributes:
        started: [R], when each round began, in seconds of a clock that never goes back.
        seconds: {part: [R]}.
        processor_seconds: {part: [R]}, of all cores together, child processes included.
    """

    started: np.ndarray
    seconds: dict[str, np.ndarray]
    processor_seconds: dict[str, np.ndarray]

    def time(self, part: str, factor: float = 1.0) -> Measured:
        """Seconds of a part, times `factor`."""
        values, busy = (factor * of[part] for of in self[1:])
        return Measured(tuple(values.tolist()), float(values.min()), float(busy.min()))

    def rate(self, part: str, amount: float) -> Measured:
        """`amount` a second of a part that does so much."""
        values = amount / self.seconds[part]
        return Measured(tuple(values.tolist()), float(values.max()))

    def ratio(self, part: str, other: str, factor: float = 1.0) -> Measured:
        """The seconds of a part over `factor` times those of the other one in the same round."""
        values = self.seconds[part] / (factor * self.seconds[other])
        best, busy = (float(of[part].min() / max(factor * of[other].min(), SHORTEST)) for of in self[1:])
        is_known = self.processor_seconds[other].min() > WAITING * self.seconds[other].min()
        return Measured(tuple(values.tolist()), best, busy if is_known else None)

    def added(self, name: str, parts: collections.abc.Sequence[str]) -> "Rounds":
        """The same with one more part: the sum of others."""
        sums = ({**of, name: np.sum([of[part] for part in parts], axis=0)} for of in self[1:])
        return Rounds(self.started, *sums)

    def content(self) -> dict[str, typing.Any]:
        """As plain values for JSON."""
        return {
            "seconds": {name: values.tolist() for name, values in self.seconds.items()},
            "processor_seconds": {name: values.tolist() for name, values in self.processor_seconds.items()},
        }


def take_turns(
    parts: Parts,
    repeats: int,
    prepare: Parts | None = None,
    clock: collections.abc.Callable[[], float] = time.perf_counter,
) -> Rounds:
    """Times each part once in every round.

    Args:
        parts: {name: function}.
        repeats: R, rounds, after one that is not timed: it traces graphs and fills caches.
        prepare: {name: what is done each time before a part, untimed}; of some parts.
        clock: seconds of a clock that never goes back.
    """
    prepare = {name: (prepare or {}).get(name, lambda: None) for name in parts}
    for name, part in parts.items():
        prepare[name]()
        _finished(part)
    started, seconds, processor_seconds = [], {name: [] for name in parts}, {name: [] for name in parts}
    for _ in range(repeats):
        started.append(clock())
        for name, part in parts.items():
            prepare[name]()
            start, processor_start = clock(), _processor_seconds()
            _finished(part)
            seconds[name].append(clock() - start)
            processor_seconds[name].append(_processor_seconds() - processor_start)
    return Rounds(
        np.array(started), *({key: np.array(x) for key, x in of.items()} for of in (seconds, processor_seconds))
    )


def _finished(part):
    result = part()
    tf.test.experimental.sync_devices()  # a GPU still computes when the function returns
    return result


def _processor_seconds():
    times = os.times()  # of children in hundredths of a second only
    return time.process_time() + times.children_user + times.children_system
