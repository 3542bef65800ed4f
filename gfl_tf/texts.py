"""What messages have in common."""

import collections.abc


def first_ones(names: collections.abc.Sequence[str], most: int = 10) -> list[str]:
    """The first `most` of them and, if there are more, how many."""
    rest = len(names) - most
    return [*names[:most], *([f"and {rest} more"] if rest > 0 else [])]
