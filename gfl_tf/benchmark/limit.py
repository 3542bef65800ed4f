"""The machine's own limit."""

from gfl_tf.benchmark import machine
from gfl_tf.benchmark.bench import Bench
from gfl_tf.benchmark.results import Result, Row
from gfl_tf.benchmark.rounds import scaled


def measure(bench: Bench) -> Result:
    """The rates of `machine.limits` alone."""
    result = Result()
    units = {name: limit.unit for name, limit in machine.limits().items()}
    for precision in bench.settings.precisions:
        rounds = bench.take_turns({}, precision)
        result.rounds.append(rounds)
        result.rows += [
            Row(precision, name, scaled(rate, 1e-9), units[name]) for name, rate in machine.rates(rounds).items()
        ]
    return result
