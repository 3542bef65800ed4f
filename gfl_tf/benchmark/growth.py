"""How time and memory grow: with the image's area, the batch, the classes, the boxes of an image, the candidates."""

import dataclasses
import typing

import numpy as np

from gfl_tf.benchmark import diagrams, peak
from gfl_tf.benchmark.bench import Bench
from gfl_tf.benchmark.results import Goal, Result, Row
from gfl_tf.benchmark.rounds import Measured, once
from gfl_tf.benchmark.workloads import Case, Workload

LINEAR = Goal(most=1.05)  # an exponent; a twentieth more is within what single measurements differ by


class Point(typing.NamedTuple):
    """One size of an axis.

    Attributes:
        size: the number that grows.
        case: what is computed.
        num_classes: of the detector; None: its own.
        candidates: of each level; None: the detector's.
    """

    size: float
    case: Case
    num_classes: int | None = None
    candidates: int | None = None


class Axis(typing.NamedTuple):
    """What grows.

    Attributes:
        unit: of the points' sizes.
        works: methods of `Workload` that are timed.
        remembered: the one of them whose memory is measured; None: of none.
        points: of growing size.
    """

    unit: str
    works: tuple[str, ...]
    remembered: str | None
    points: list[Point]


def axes(case: Case) -> dict[str, Axis]:
    """{name: `Axis`} around a case of one image."""
    sides = [(_on_grid(case.height * factor), _on_grid(case.width * factor)) for factor in (0.5, 0.71, 1, 1.41, 2)]
    areas = [dataclasses.replace(case, height=height, width=width) for height, width in dict.fromkeys(sides)]
    with_ = dataclasses.replace
    return {
        "area": Axis("pixels", ("forward", "train_step"), "train_step", [Point(c.height * c.width, c) for c in areas]),
        "batch": Axis(
            "images",
            ("forward", "train_step"),
            "train_step",
            [Point(size, with_(case, batch_size=size)) for size in (1, 2, 4, 8)],
        ),
        "classes": Axis(
            "classes",
            ("forward", "losses", "decode"),
            "losses",
            [Point(classes, case, num_classes=classes) for classes in (1, 10, 80, 400, 1200)],
        ),
        "boxes": Axis(
            "boxes an image",
            ("losses",),
            "losses",
            [Point(boxes, with_(case, boxes=boxes)) for boxes in (0, 1, 10, 50, 100, 200, 500)],
        ),
        "candidates": Axis(
            "candidates of a level",
            ("decode",),
            None,
            [Point(candidates, case, candidates=candidates) for candidates in (100, 300, 1000, 3000)],
        ),
    }


def measure(bench: Bench) -> Result:
    """The first detector in float32, around the last size."""
    result = Result()
    artifact = bench.detectors[0]
    for name, axis in axes(Case(*bench.settings.sizes[-1])).items():
        sizes = [point.size for point in axis.points]
        curves = {work: _time(bench, result, artifact, axis, work) for work in axis.works}
        if axis.remembered:
            curves[f"memory of {axis.remembered}"] = _memory(artifact, axis)
        curves = {work: (sizes, values, exponent(sizes, values.values)) for work, values in curves.items()}
        for work, (_, values, power) in curves.items():
            of, unit = f"{artifact.name}, {name}", "MiB" if work.startswith("memory") else "ms"
            for size, value in zip(sizes, values.values):
                result.rows.append(Row(of, f"{work} at {size:g} {axis.unit}", once(value), unit))
            result.rows.append(Row(of, f"{work}, exponent", once(power), goal=LINEAR))
        result.diagrams.append((f"Growth with {axis.unit}", diagrams.growth(curves, axis.unit)))
    return result


def exponent(sizes: typing.Sequence[float], values: typing.Sequence[float]) -> float:
    """The slope of the least squares line through the logarithms of the larger half of the sizes.

    The smaller ones cost what is there anyway, which hides how the rest grows. 1: linear.
    """
    half = len(sizes) // 2
    return float(np.polyfit(np.log(sizes[half:]), np.log(np.maximum(values[half:], 1e-9)), 1)[0])


def _time(bench, result, artifact, axis, work):
    """`Measured` whose values are those of the points: the least milliseconds of all rounds."""
    models, parts = {}, {}
    for point in axis.points:
        if point.num_classes not in models:
            models[point.num_classes] = artifact.build(num_classes=point.num_classes)
        model = models[point.num_classes]
        workload = Workload(model, point.case)
        if work == "decode":
            workload.crowd()
        if point.candidates:
            model.prediction_decoder = model.prediction_decoder.changed(candidates_per_level=point.candidates)
        parts[f"{point.size:g}"] = getattr(workload, work)()
    rounds = bench.take_turns(parts)
    result.rounds.append(rounds)
    least = tuple(1e3 * float(rounds.seconds[name].min()) for name in parts)
    return Measured(least, least[0])


def _memory(artifact, axis):
    measured = peak.measure(
        artifact,
        "float32",
        axis.remembered,
        [point.case for point in axis.points],
        [point.num_classes for point in axis.points],
    )
    above = tuple(most - measured.rest for most in measured.peaks)
    return Measured(above, above[0])


def _on_grid(side):
    """A multiple of 32 pixels."""
    return max(round(side / 32), 1) * 32
