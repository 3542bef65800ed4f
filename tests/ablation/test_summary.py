"""Means, spreads and the paper's order, of results made by hand."""

import math

import pytest

from gfl_tf.ablation import summary
from gfl_tf.ablation.tables import Group, Row, Table

pytestmark = pytest.mark.one_stack

FIGURES = {"low": 30.0, "middle": 31.0, "equal": 31.0, "high": 33.0}
TABLE = Table("paper, table 1", "a test", {row: Row("gfl", {}, {"AP": ap}) for row, ap in FIGURES.items()}, ())


def results(**rows):
    """low=(50, 51): seeds 0 and 1; AP50 and AP75 are 20 more and 10 less."""
    return {
        row: {seed: {"AP": ap, "AP50": ap + 20, "AP75": ap - 10} for seed, ap in enumerate(aps) if ap is not None}
        for row, aps in rows.items()
    }


def test_mean_and_standard_deviation():
    """Of 50, 52 and 57: mean 53, squares 9 + 1 + 16 = 26, over 2."""
    found = summary.of_row(results(low=(50, 52, 57)), "low")
    assert found["AP"] == summary.Spread(3, 53, math.sqrt(13))
    assert found["AP50"].mean == 73 and found["AP75"].mean == 43
    low, high = found["AP"].interval()
    assert (low + high) / 2 == pytest.approx(53) and (high - low) / 2 == pytest.approx(4.303 * math.sqrt(13 / 3))


def test_one_seed_has_no_spread():
    assert summary.of_row(results(low=(50,)), "low")["AP"] == summary.Spread(1, 50, None)
    assert summary.of_row(results(low=(50,)), "high") == {}
    assert summary.Spread(1, 50, None).interval() is None


def test_differences_are_those_at_the_same_seed():
    """Seeds differ much, pairs little: +1, +2, +3; the last seed of one row has no partner."""
    found = summary.difference(results(low=(10, 30, 50), high=(11, 32, 53, 70)), TABLE, "high", "low")
    assert (found.paper, found.spread) == (3.0, summary.Spread(3, 2, 1))
    # 4.303 / sqrt(3) = 2.48 to either side of 2.
    assert found.verdict == summary.MAYBE_SAME


@pytest.mark.parametrize(
    "row, aps, verdict",
    [
        ("high", (12, 12.1, 11.9), summary.SAME),
        ("high", (8, 8.1, 7.9), summary.OPPOSITE),
        ("high", (12, 8, 11), summary.MAYBE_SAME),
        ("high", (12, 7, 10), summary.MAYBE_OPPOSITE),
        ("high", (10, 10, 10), summary.MAYBE_OPPOSITE),
        ("high", (12,), summary.MAYBE_SAME),
        ("high", (8,), summary.MAYBE_OPPOSITE),
        ("high", (None, None), summary.UNKNOWN),
    ],
)
def test_verdicts(row, aps, verdict):
    found = results(low=(10, 10, 10), **{row: aps})
    assert summary.difference(found, TABLE, row, "low").verdict == verdict


def test_a_difference_below_0_in_the_paper():
    found = summary.difference(results(low=(10, 10), high=(13, 13.1)), TABLE, "low", "high")
    assert (found.paper, found.verdict) == (-3.0, summary.SAME) and found.spread.mean == pytest.approx(-3.05)


def test_rows_that_are_equal_in_the_paper():
    found = results(middle=(10, 10), equal=(12, 12.1))
    assert summary.difference(found, TABLE, "equal", "middle").verdict == summary.NO_ORDER


def test_pairs_of_a_group():
    """low < middle < high here, by more than chance but for low and middle; equal has no result."""
    found = results(low=(10, 10), middle=(10, 10.5), high=(20, 20))
    group = Group(tuple(FIGURES), "low")
    expected = {summary.SAME: 2, summary.MAYBE_SAME: 1, summary.MAYBE_OPPOSITE: 0, summary.OPPOSITE: 0}
    assert summary.pairs(found, TABLE, group) == expected
    assert [each.row for each in summary.of_group(found, TABLE, group)] == ["middle", "equal", "high"]


def test_some_rows_of_a_group():
    groups = (Group(("a", "b", "c"), "a"), Group(("c", "d"), "d"))
    assert summary.among(groups, "bcd") == [Group(("b", "c"), "b"), Group(("c", "d"), "d")]
    assert summary.among(groups, "ac") == [Group(("a", "c"), "a")]


def test_json():
    plain = summary.plain(summary.difference(results(low=(10,), high=(13,)), TABLE, "high", "low"))
    spread = {"count": 1, "mean": 3, "stddev": None, "interval": None}
    assert plain == {"row": "high", "reference": "low", "paper": 3.0, "spread": spread, "verdict": summary.MAYBE_SAME}
