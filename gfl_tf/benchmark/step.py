"""A training step: over its forward pass, the share of the losses, and memory."""

from gfl_tf.benchmark import peak, work_on_paper
from gfl_tf.benchmark.bench import Bench
from gfl_tf.benchmark.results import Goal, Result, Row
from gfl_tf.benchmark.rounds import once
from gfl_tf.benchmark.workloads import Case, Workload

# Backward passes cost two forward passes; frozen stages none.
STEP, LOSSES, MEMORY = Goal(most=0.97), Goal(most=0.02), Goal(most=1.1)


def measure(bench: Bench) -> Result:
    """Each detector on each size, in each precision."""
    result = Result()
    settings = bench.settings
    for precision in settings.precisions:
        for artifact in bench.detectors:
            model = artifact.build(precision)
            for height, width in settings.sizes:
                case = Case(height, width, settings.train_batch_size, settings.boxes)
                of = f"{artifact.name}, {case}, {precision}"
                workload = Workload(model, case)
                parts = {
                    "forward": workload.train_forward(),
                    "losses": workload.losses(),
                    "step": workload.train_step(),
                }
                rounds = bench.take_turns(parts, precision)
                result.rounds.append(rounds)
                losses = f"losses, {case.boxes} boxes an image / step"
                result.rows += [
                    Row(of, "step", rounds.time("step", 1e3), "ms"),
                    Row(of, "step / (3 x forward)", rounds.ratio("step", "forward", 3.0), goal=STEP),
                    Row(of, losses, rounds.ratio("losses", "step"), goal=LOSSES),
                ]
                result.rows += _memory(of, artifact, precision, case, work_on_paper.of_step(model, case))
    return result


def _memory(of, artifact, precision, case, paper):
    measured = peak.measure(artifact, precision, "train_step", [case])
    found = measured.peaks[0] - measured.rest
    return [
        Row(of, "memory of a step, on paper", once(paper.passing_bytes / 2**20), "MiB"),
        Row(of, "memory of a step, above rest", once(found), "MiB"),
        Row(of, "memory / on paper", once(found * 2**20 / paper.passing_bytes), goal=MEMORY),
    ]
