"""How much two detectors' difference owes to the images that they were scored on: the paired bootstrap.

As many images as there are, are drawn from them with replacement, and both detectors are scored on what was drawn, the
same images for both; many times. The interval that holds the middle 95% of the differences is that of the percentile
method (Efron and Tibshirani, "An Introduction to the Bootstrap", 1993, chapter 13).

It says what difference these two sets of weights would have on other images like these. Images are resampled, not
trainings: it says nothing of the chance of the seed. The same config trained again has other weights and another
difference, which the interval need not hold. It takes images to be independent: those of one film, or of one
place, are not, and then it is too narrow. And of twenty differences of which none is true, one has an interval without
0 on average. docs/compare.md has how often intervals were found to hold the true difference.
"""

import typing

import numpy as np

LEVEL = 0.95  # of the interval


class Difference(typing.NamedTuple):
    """Of one number between two detectors: the other's less the first's, with an interval."""

    difference: float
    low: float
    high: float

    @property
    def is_more_than_chance(self) -> bool:
        """Whether the interval leaves out 0."""
        return self.low > 0 or self.high < 0


def draws(num_images: int, count: int, seed: int) -> np.ndarray:
    """uint16 [count, num_images], how often each image was drawn, as weights of `weighted_numbers.of_class`."""
    rng = np.random.default_rng(seed)
    made = np.zeros([count, num_images], np.uint16)
    for row in made:
        row[:] = np.bincount(rng.integers(0, num_images, num_images), minlength=num_images)
    return made


def difference(first: float, other: float, of_first: np.ndarray, of_other: np.ndarray) -> Difference | None:
    """The difference of a number between two detectors.

    Args:
        first, other: the number over all images; NaN: there are no such objects.
        of_first, of_other: [S], in the same resamples; NaN in those that have no such objects, which are left out.

    Returns:
        `Difference`; None where there are no such objects.
    """
    differences = of_other - of_first
    differences = differences[~np.isnan(differences)]
    if np.isnan(other - first) or not len(differences):
        return None
    low, high = np.quantile(differences, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return Difference(float(other - first), float(low), float(high))
