"""The forward pass, as FLOPs a second."""

from gfl_tf.benchmark import diagrams, machine, work_on_paper
from gfl_tf.benchmark.bench import Bench
from gfl_tf.benchmark.results import Goal, Result, Row
from gfl_tf.benchmark.rounds import scaled
from gfl_tf.benchmark.workloads import Case, Workload


def measure(bench: Bench) -> Result:
    """Each detector on one image of each size, in each precision."""
    result = Result()
    for precision in bench.settings.precisions:
        parts, flops, goals = {}, {}, {}
        for artifact in bench.detectors:
            model = artifact.build(precision)
            for height, width in bench.settings.sizes:
                case = Case(height, width)
                name = f"{artifact.name}, {case}, {precision}"
                parts[name] = Workload(model, case).forward()
                flops[name] = work_on_paper.flops(model, height, width)
                goals[name] = None if artifact.share is None else Goal(least=artifact.share)
        rounds = bench.take_turns(parts, precision)
        result.rounds.append(rounds)
        rates = {name: scaled(rounds.rate(name, flops[name]), 1e-9) for name in parts}
        for name, rate in rates.items():
            result.rows += [
                Row(name, "forward", rounds.time(name, 1e3), "ms"),
                Row(name, "rate", rate, "GFLOP/s"),
                Row(name, f"of the {machine.CONVOLUTION}", machine.share(rounds, name, flops[name]), goal=goals[name]),
            ]
        limits = {name: scaled(rate, 1e-9) for name, rate in machine.rates(rounds).items() if name != machine.COPY}
        caption = f"Forward pass in {precision}, and what the machine can do"
        result.diagrams.append((caption, diagrams.rates(rates, limits)))
    return result
