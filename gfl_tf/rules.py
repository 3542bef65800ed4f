"""What a value may be: rules that hold or not, and that say in words what is allowed."""

import collections.abc
import dataclasses
import difflib
import numbers
import typing

LARGEST = 3.4e38  # of float32, which all numbers become


@dataclasses.dataclass(frozen=True)
class Rule:
    """What a value may be.

    Attributes:
        text: the allowed values in words, which complete "it must be".
        holds: whether a value is one of them; takes any value.
    """

    text: str
    holds: collections.abc.Callable[[typing.Any], bool]


# {name of a field: its rule, or the rules of its own fields}
Rules = collections.abc.Mapping[str, typing.Union[Rule, "Rules"]]


def number(text: str, holds: collections.abc.Callable[[float], bool]) -> Rule:
    """A finite number of which `holds` is true."""
    return Rule(f"a number {text}", lambda value: _is_real(value) and abs(value) <= LARGEST and bool(holds(value)))


def whole(low: int) -> Rule:
    """A whole number of at least `low`."""
    return Rule(
        f"a whole number of at least {low}",
        lambda value: _is_real(value) and isinstance(value, numbers.Integral) and value >= low,
    )


def one_of(*choices: str) -> Rule:
    return Rule(f"one of {', '.join(map(repr, choices))}", lambda value: isinstance(value, str) and value in choices)


def exactly(value: typing.Any) -> Rule:
    return Rule(repr(value), lambda given: type(given) is type(value) and given == value)


def either(*rules: Rule) -> Rule:
    return Rule(" or ".join(rule.text for rule in rules), lambda value: any(rule.holds(value) for rule in rules))


def several(rule: Rule, count: int | None = None) -> Rule:
    """A tuple or list of one or more values, or of `count`, for each of which `rule` holds."""
    return Rule(
        f"{'one or more' if count is None else count} values in a tuple, each {rule.text}",
        lambda value: (
            isinstance(value, (tuple, list))
            and len(value) == (count or max(len(value), 1))
            and all(map(rule.holds, value))
        ),
    )


def ordered(rule: Rule, text: str) -> Rule:
    """The values of `several`, none above the one behind it; `text` says so."""
    return Rule(f"{rule.text}, {text}", lambda value: rule.holds(value) and list(value) == sorted(value))


def distinct(rule: Rule) -> Rule:
    """The values of `several`, none of them twice."""
    return Rule(f"{rule.text}, none twice", lambda value: rule.holds(value) and len(set(value)) == len(value))


NUMBER = Rule("a number", lambda value: _is_real(value) and abs(value) <= LARGEST)
POSITIVE = number("above 0", lambda value: value > 0)
NOT_NEGATIVE = number("of at least 0", lambda value: value >= 0)
SHARE = number("from 0 to 1", lambda value: 0 <= value <= 1)
BETWEEN_0_AND_1 = number("between 0 and 1", lambda value: 0 < value < 1)
BELOW_1 = number("of at least 0 and below 1", lambda value: 0 <= value < 1)
COUNT = whole(1)
COUNT_OR_0 = whole(0)
FLAG = Rule("True or False", lambda value: isinstance(value, bool))
TEXT = Rule("a text", lambda value: isinstance(value, str))
EMPTY = Rule("()", lambda value: isinstance(value, (tuple, list)) and not value)


def check(values: typing.Any, rules: Rules, where: str = "") -> None:
    """Checks the values of some fields.

    Args:
        values: {field: value}, of some of the fields in `rules`.
        rules: of all fields that there are.
        where: the dotted name of what the fields belong to, such as "config.train"; "": nothing that has a name.

    Raises:
        ValueError: no mapping, a field without a rule, or a value of which its rule does not hold.
    """
    if not isinstance(values, collections.abc.Mapping):
        raise ValueError(f"{where} is {values!r}; it must be a dict of fields, which are {', '.join(sorted(rules))}")
    check_known(values, rules, where)
    for name, value in values.items():
        field = f"{where}.{name}" if where else name
        if isinstance(rules[name], Rule):
            check_value(field, value, rules[name])
        else:
            check(value, rules[name], field)


def check_value(field: str, value: typing.Any, rule: Rule) -> None:
    if not rule.holds(value):
        raise ValueError(f"{field} is {value!r}; it must be {rule.text}")


def check_known(names: collections.abc.Iterable[str], known: collections.abc.Iterable[str], where: str) -> None:
    """Raises ValueError for a name that is none of the known ones, with the nearest of these."""
    known = sorted(known)
    for name in names:
        if name not in known:
            near = difflib.get_close_matches(str(name), known, n=1)
            meant = f". Did you mean {near[0]}? It has" if near else "; it has"
            raise ValueError(f"{where} has no field {name}{meant} {', '.join(known)}")


def _is_real(value):
    return isinstance(value, numbers.Real) and not isinstance(value, bool)
