"""Rounds of a clock that is turned by hand, and what is read off them."""

import numpy as np
import pytest

from gfl_tf.benchmark import machine
from gfl_tf.benchmark.rounds import Measured, Rounds, once, scaled, take_turns

pytestmark = pytest.mark.one_stack

ROUNDS = Rounds(
    np.array([0.0, 10.0, 20.0]),
    {"one": np.array([2.0, 3.0, 6.0]), "other": np.array([1.0, 2.0, 2.0])},
    {"one": np.array([4.0, 5.0, 5.0]), "other": np.array([2.0, 2.5, 2.0])},
)


def test_parts_take_turns():
    now, called = [100.0], []

    def part(name, seconds):
        def run():
            called.append(name)
            now[0] += seconds

        return run

    parts = {"a": part("a", 1.0), "b": part("b", 3.0)}
    found = take_turns(parts, 2, prepare={"b": part("before b", 50.0)}, clock=lambda: now[0])
    assert called == ["a", "before b", "b"] * 3, "once to warm up"
    np.testing.assert_array_equal(found.seconds["a"], [1, 1])
    np.testing.assert_array_equal(found.seconds["b"], [3, 3])
    np.testing.assert_array_equal(found.started, [154, 208])


def test_times_rates_and_ratios_are_of_the_same_round():
    assert ROUNDS.time("one", 1e3) == Measured((2000.0, 3000.0, 6000.0), 2000.0, 4000.0)
    assert ROUNDS.time("one").median == 3
    assert ROUNDS.rate("one", 12.0) == Measured((6.0, 4.0, 2.0), 6.0)
    assert ROUNDS.ratio("one", "other") == Measured((2.0, 1.5, 3.0), 2.0, 2.0)
    assert ROUNDS.ratio("one", "other", 2.0) == Measured((1.0, 0.75, 1.5), 1.0, 1.0)


def test_sums_of_parts():
    both = ROUNDS.added("both", ("one", "other"))
    assert both.time("both") == Measured((3.0, 5.0, 8.0), 3.0, 6.0)
    assert both.time("one") == ROUNDS.time("one")


def test_other_units():
    assert scaled(Measured((1.0, 2.0), 1.0, 3.0), 10.0) == Measured((10.0, 20.0), 10.0, 30.0)
    assert scaled(once(2), 10.0) == Measured((20.0,), 20.0)


def test_share_of_the_limit():
    """A part that does half of the convolution's work in the time of the convolution has half of its rate."""
    amount = machine.limits()[machine.CONVOLUTION].amount
    assert amount == 2 * 9 * 256 * 256 * 100 * 168
    seconds = {machine.CONVOLUTION: np.array([1.0, 2.0]), "part": np.array([1.0, 1.0])}
    share = machine.share(Rounds(np.zeros(2), seconds, seconds), "part", amount / 2)
    assert share.values == (0.5, 1.0) and share.best == 0.5
