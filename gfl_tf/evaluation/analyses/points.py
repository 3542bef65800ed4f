"""Some of very many points, for a scatter diagram."""

import numpy as np

MOST = 1000


def some(most: int = MOST, **values: np.ndarray) -> dict[str, list[float]]:
    """At most `most` of the K values [K] of each name, drawn at random but always the same, as plain numbers."""
    count = len(next(iter(values.values())))
    index = np.arange(count)
    if count > most:
        index = np.sort(np.random.default_rng(0).choice(count, most, replace=False))
    return {name: [round(float(value), 4) for value in array[index]] for name, array in values.items()}
