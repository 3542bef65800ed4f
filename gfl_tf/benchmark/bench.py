"""What every item is given: the detectors, the sizes, and rounds in which the machine's limit takes part."""

import collections.abc
import dataclasses
import time
import typing

from gfl_tf.benchmark import machine, rounds
from gfl_tf.benchmark.artifacts import Artifact
from gfl_tf.benchmark.rounds import Parts, Rounds
from gfl_tf.benchmark.suites import Size


@dataclasses.dataclass(frozen=True)
class Settings:
    """How much is measured.

    Attributes:
        sizes: (height, width) of images in pixels.
        precisions: of `machine.DTYPES`.
        batch_sizes: of prediction.
        train_batch_size: of a training step.
        boxes: of an image in training.
        repeats: rounds.
        requests: to each served model.
        images: of the synthetic data set that is evaluated.
    """

    sizes: tuple[Size, ...]
    precisions: tuple[str, ...] = ("float32",)
    batch_sizes: tuple[int, ...] = (1, 8)
    train_batch_size: int = 2
    boxes: int = 50
    repeats: int = 10
    requests: int = 100
    images: int = 500


class Limits(typing.NamedTuple):
    """The machine's limits in one round.

    Attributes:
        item: that was measured.
        precision: of `machine.DTYPES`.
        minutes: from the start of the benchmark.
        rates: {name of `machine.limits`: FLOPs or bytes a second}.
    """

    item: str
    precision: str
    minutes: float
    rates: dict[str, float]


@dataclasses.dataclass
class Bench:
    """What an item's `measure` is given.

    Attributes:
        settings: `Settings`.
        detectors: `Artifact`s; the first is that of the items which measure one alone.
        pairs: (one, another, most that the first should take of the time of the second, or None).
        deformable: a detector with deformable convolutions, whose tracing is timed; None: none is.
        say: takes lines of progress.
        item: that is measured now.
        drift: the `Limits` of all rounds so far.
    """

    settings: Settings
    detectors: list[Artifact]
    pairs: list[tuple[Artifact, Artifact, float | None]] = dataclasses.field(default_factory=list)
    deformable: Artifact | None = None
    say: collections.abc.Callable[[str], None] = lambda line: None
    item: str = ""
    drift: list[Limits] = dataclasses.field(default_factory=list)
    started: float = dataclasses.field(default_factory=time.perf_counter)

    def take_turns(
        self, parts: Parts, precision: str = "float32", repeats: int | None = None, prepare: Parts | None = None
    ) -> Rounds:
        """`rounds.take_turns`, with the machine's limit between the rounds."""
        found = rounds.take_turns({**machine.parts(precision), **parts}, repeats or self.settings.repeats, prepare)
        amounts = {name: each.amount for name, each in machine.limits().items()}
        for index, start in enumerate(found.started):
            rates = {name: amount / float(found.seconds[name][index]) for name, amount in amounts.items()}
            self.drift.append(Limits(self.item, precision, (float(start) - self.started) / 60, rates))
        return found
