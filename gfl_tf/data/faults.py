"""All faults of annotations in one error."""

import collections.abc
import typing

from gfl_tf.texts import first_ones

MOST_NAMED = 5


class Faults(ValueError):
    """Several faults; its text has the first of them, a line each, and their number.

    Attributes:
        faults: a text each, all of them.
    """

    def __init__(self, faults: collections.abc.Sequence[str]):
        self.faults = list(faults)
        lines = [f"{len(self.faults)} faults in the annotations:", *first_ones(self.faults, MOST_NAMED)]
        super().__init__("\n  ".join(lines))


def faults_of(error: Exception) -> list[str]:
    """The texts of the faults that an error names."""
    return error.faults if isinstance(error, Faults) else [str(error)]


def each(read: collections.abc.Callable, items: collections.abc.Iterable) -> list[typing.Any]:
    """[read(item) of each item].

    Raises:
        ValueError: what `read` raised, if of one item alone; of several items, `Faults` with those of all.
    """
    values, errors = [], []
    for item in items:
        try:
            values.append(read(item))
        except ValueError as error:
            errors.append(error)
    if len(errors) > 1:
        raise Faults([fault for error in errors for fault in faults_of(error)])
    if errors:
        raise errors[0]
    return values
