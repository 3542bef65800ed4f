"""What messages have in common."""

import collections.abc


def first_ones(names: collections.abc.Sequence[str], most: int = 10) -> list[str]:
    """The first `most` of them and, if there are more, how many."""
    rest = len(names) - most
    return [*names[:most], *([f"and {rest} more"] if rest > 0 else [])]


def columns(rows: collections.abc.Sequence[collections.abc.Sequence[str]], left: tuple[int, ...] = (0,)) -> list[str]:
    """Rows of text with their columns one below the other; those of `left` begin together, the others end together."""
    widths = [max(map(len, column)) for column in zip(*rows)]
    return [
        "  " + "  ".join(
            cell.ljust(width) if index in left else cell.rjust(width)
            for index, (cell, width) in enumerate(zip(row, widths))
        ).rstrip()
        for row in rows
    ]  # fmt: skip
