"""Detectors that differ in one thing, side by side."""

from gfl_tf.benchmark.bench import Bench
from gfl_tf.benchmark.results import Goal, Result, Row
from gfl_tf.benchmark.workloads import Case, Workload


def measure(bench: Bench) -> Result:
    """The forward passes and training steps of each pair, on the first size."""
    result = Result()
    if not bench.pairs:
        result.missing.append("pairs: a suite has them; --config and --run_dir name one detector")
    settings = bench.settings
    height, width = settings.sizes[0]
    for precision in settings.precisions:
        for *pair, most in bench.pairs:
            parts = {}
            for artifact in pair:
                model = artifact.build(precision)
                parts[f"{artifact.name} forward"] = Workload(model, Case(height, width)).forward()
                case = Case(height, width, settings.train_batch_size, settings.boxes)
                parts[f"{artifact.name} step"] = Workload(model, case).train_step()
            rounds = bench.take_turns(parts, precision)
            result.rounds.append(rounds)
            one, other = (artifact.name for artifact in pair)
            goal = None if most is None else Goal(most=most)
            result.rows += [
                Row(f"{height}x{width}, {precision}, {what}", f"{one} / {other}", ratio, goal=goal)
                for what, ratio in (
                    ("forward", rounds.ratio(f"{one} forward", f"{other} forward")),
                    (f"step, batch {settings.train_batch_size}", rounds.ratio(f"{one} step", f"{other} step")),
                )
            ]
    return result
