"""From images to detections, over the forward pass alone."""

from gfl_tf.benchmark.bench import Bench
from gfl_tf.benchmark.results import Goal, Result, Row
from gfl_tf.benchmark.workloads import Case, Workload

# Most that all of it should take of the forward pass's time.
SINGLE, BATCH, FROM_JPEG = Goal(most=1.03), Goal(most=1.05), Goal(most=1.08)


def measure(bench: Bench) -> Result:
    """Each detector on each size and batch, one after the other: models in turn would empty each other's caches."""
    result = Result()
    for precision in bench.settings.precisions:
        for artifact in bench.detectors:
            model = artifact.build(precision)
            for height, width in bench.settings.sizes:
                for batch_size in bench.settings.batch_sizes:
                    case = Case(height, width, batch_size)
                    _measure(
                        bench, result, Workload(model, case).crowd(), f"{artifact.name}, {case}, {precision}", precision
                    )
    return result


def _measure(bench, result, workload, of, precision):
    parts = {"forward": workload.forward(), "detect": workload.detect(), "predict": workload.predict()}
    is_single = workload.case.batch_size == 1
    if is_single:
        parts["from a JPEG"] = workload.from_jpeg()
    rounds = bench.take_turns(parts, precision)
    result.rounds.append(rounds)
    result.rows.append(Row(of, "forward", rounds.time("forward", 1e3), "ms"))
    goal = SINGLE if is_single else BATCH
    for name in parts:
        if name != "forward":
            of_part = FROM_JPEG if name == "from a JPEG" else goal
            result.rows.append(Row(of, f"{name} / forward", rounds.ratio(name, "forward"), goal=of_part))
