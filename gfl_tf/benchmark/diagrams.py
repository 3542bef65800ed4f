"""The diagrams of the benchmark's page: functions that draw into matplotlib's axes."""

import collections.abc

import numpy as np

from gfl_tf.benchmark import machine
from gfl_tf.benchmark.bench import Limits
from gfl_tf.benchmark.rounds import Measured
from gfl_tf.visualization.diagrams import COLOURS, Draw


def rates(bars: dict[str, Measured], limits: dict[str, Measured]) -> Draw:
    """Bars of medians with marks at the best rounds, and the machine's limits as lines, all in GFLOP/s."""

    def draw(axes):
        places = np.arange(len(bars))[::-1]
        axes.barh(places, [bar.median for bar in bars.values()], height=0.5, color=COLOURS[0], label="median")
        axes.plot([bar.best for bar in bars.values()], places, "|", color=COLOURS[1], markersize=10, label="best round")
        for (name, limit), colour in zip(limits.items(), COLOURS[2:]):
            axes.axvline(limit.median, color=colour, linestyle="--", linewidth=1, label=name)
        axes.set_yticks(places, list(bars))
        axes.set_xlim(left=0)
        axes.set_xlabel("GFLOP/s")
        axes.legend(loc="lower center", bbox_to_anchor=(0.4, 1.0), ncols=2)

    return draw


def drift(limits: collections.abc.Sequence[Limits]) -> Draw:
    """The rate of the convolution in every round of the benchmark."""

    def draw(axes):
        for precision in dict.fromkeys(each.precision for each in limits):
            chosen = [each for each in limits if each.precision == precision]
            rates = [1e-9 * each.rates[machine.CONVOLUTION] for each in chosen]
            axes.plot([each.minutes for each in chosen], rates, ".", markersize=4, label=precision)
        axes.set_ylim(bottom=0)
        axes.set_xlabel("minutes")
        axes.set_ylabel("GFLOP/s")
        axes.legend()

    return draw


def growth(curves: dict[str, tuple[collections.abc.Sequence[float], Measured, float]], unit: str) -> Draw:
    """Curves on logarithmic axes.

    Args:
        curves: {name: (sizes, their values as `values`, exponent of the fit)}.
        unit: of the sizes.
    """

    def draw(axes):
        for name, (sizes, values, exponent) in curves.items():
            relative = np.array(values.values) / values.values[0]
            axes.plot(sizes, relative, "o-", markersize=3, label=f"{name}: exponent {exponent:.2f}")
        sizes = np.array([size for size in next(iter(curves.values()))[0] if size > 0], float)  # 0 has no logarithm
        axes.plot(sizes, sizes / sizes[0], color="0.5", linestyle="--", linewidth=1, label="linear")
        axes.set_xscale("log")
        axes.set_yscale("log")
        axes.set_xlabel(unit)
        axes.set_ylabel("times the first")
        axes.legend()

    return draw


def latencies(seconds: dict[str, collections.abc.Sequence[float]]) -> Draw:
    """The share of requests that were answered within a time."""

    def draw(axes):
        for name, values in seconds.items():
            axes.step(1e3 * np.sort(values), np.arange(1, len(values) + 1) / len(values), where="post", label=name)
        axes.set_xlabel("ms")
        axes.set_ylabel("share of requests")
        axes.set_ylim(0, 1.02)
        axes.legend(loc="lower right")

    return draw
