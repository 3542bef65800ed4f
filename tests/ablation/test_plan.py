"""Which training comes next, and whether there is time for it: by hand."""

import pytest

from gfl_tf.ablation import plan
from gfl_tf.ablation.plan import CUT, FINISHED, MISSING, Budget, Training

pytestmark = pytest.mark.one_stack


def test_the_first_seed_of_all_rows_comes_before_the_second():
    states = {Training(row, seed): MISSING for row in "ab" for seed in (0, 1)}
    assert plan.order("ab", (0, 1), states) == [("a", 0), ("b", 0), ("a", 1), ("b", 1)]


def test_what_was_cut_comes_first_and_what_is_finished_not_at_all():
    states = {Training(row, seed): MISSING for row in "abc" for seed in (5, 3)}
    states.update({("a", 5): FINISHED, ("c", 3): CUT, ("b", 3): CUT})
    assert plan.order("abc", (5, 3), states) == [("b", 3), ("c", 3), ("b", 5), ("c", 5), ("a", 3)]


@pytest.mark.parametrize(
    "row, expected",
    [("a", 30.0), ("b", 90.0), ("c", 90.0)],  # its own; its own; none of its own, so the longest of all
)
def test_how_long_a_training_takes(row, expected):
    seconds = {Training("a", 0): 20.0, Training("a", 1): 30.0, Training("b", 0): 90.0}
    assert plan.estimate(Training(row, 2), seconds) == expected


def test_nobody_knows_how_long_the_first_takes():
    assert plan.estimate(Training("a", 0), {}) is None


def test_budget():
    now = [100.0]
    budget = Budget(2, lambda: now[0])
    assert budget.left() == 120 and budget.fits(None) and budget.fits(120) and not budget.fits(121)
    now[0] += 119
    assert budget.left() == 1 and budget.fits(None) and budget.fits(1) and not budget.fits(2)
    now[0] += 60
    assert budget.left() == 0 and not budget.fits(None) and not budget.fits(0)


def test_without_a_budget_there_is_time_for_all():
    assert Budget(None).left() == float("inf") and Budget(None).fits(1e9)
    assert not Budget(0).fits(None)
