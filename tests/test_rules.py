"""What a rule takes and what it refuses."""

import numpy as np
import pytest

from gfl_tf import rules

WRONG = ["abc", None, True, (), {}, [1], float("nan"), float("inf"), 10**400, 1 + 1j]


@pytest.mark.parametrize("rule", [rules.COUNT, rules.COUNT_OR_0, rules.POSITIVE, rules.NUMBER, rules.SHARE])
def test_numbers_are_numbers(rule):
    for value in WRONG[:-2] if rule in (rules.COUNT, rules.COUNT_OR_0) else WRONG:
        assert not rule.holds(value), value
    assert all(map(rule.holds, (1, np.int64(1))))


@pytest.mark.parametrize(
    "rule, right, wrong",
    [
        (rules.COUNT, (1, 10**9), (0, -1, 2.5, 1.0)),
        (rules.POSITIVE, (1e-9, 3, np.float32(0.5)), (0, -1.0)),
        (rules.NOT_NEGATIVE, (0, 0.5), (-1e-9,)),
        (rules.SHARE, (0, 1, 0.5), (-0.1, 1.1)),
        (rules.BETWEEN_0_AND_1, (0.5,), (0, 1, 2)),
        (rules.BELOW_1, (0, 0.9), (1.0, -0.1)),
        (rules.FLAG, (True, False), (0, 1, "no", None)),
        (rules.one_of("a", "b"), ("a",), ("c", "", None, ["a"], 1)),
        (rules.several(rules.COUNT), ((1,), [1, 2]), ((), (0,), (1, "a"), 3, "12", None)),
        (rules.several(rules.COUNT, 2), ((1, 2),), ((1,), (1, 2, 3), ())),
        (rules.ordered(rules.several(rules.COUNT), "rising"), ((1, 2, 2),), ((2, 1), 3, ("b", "a"))),
        (rules.distinct(rules.several(rules.TEXT)), (("a", "b"),), (("a", "a"), ((),))),
        (rules.either(rules.EMPTY, rules.COUNT), ((), [], 1), (0, (1,), None)),
        (rules.exactly(0), (0,), (False, 0.0, None)),
    ],
)
def test_values(rule, right, wrong):
    assert all(map(rule.holds, right)) and not any(map(rule.holds, wrong))


def test_what_is_said():
    of_fields = {"epochs": rules.COUNT, "shapes": {"size": rules.several(rules.whole(64), 2)}}
    rules.check({"epochs": 3, "shapes": {}}, of_fields, "config")
    for values, message in [
        ({"epochs": 0}, "config.epochs is 0; it must be a whole number of at least 1"),
        ({"epoch": 3}, "config has no field epoch. Did you mean epochs? It has epochs, shapes"),
        ({"x": 3}, "config has no field x; it has epochs, shapes"),
        ({3: 3}, "config has no field 3; it has epochs, shapes"),
        ({"shapes": 3}, "config.shapes is 3; it must be a dict of fields, which are size"),
        (
            {"shapes": {"size": (1, 2)}},
            "config.shapes.size is (1, 2); it must be 2 values in a tuple, each a whole number of at least 64",
        ),
    ]:
        with pytest.raises(ValueError) as error:
            rules.check(values, of_fields, "config")
        assert str(error.value) == message
