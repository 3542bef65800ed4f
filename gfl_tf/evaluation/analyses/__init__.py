"""The analyses of the papers' figures and tables, each a function of plain arrays to numbers for JSON.

`NAMES` lists them; `gfl_tf.training.analyses` has the table of what each needs, and how it is drawn. This module
imports nothing heavy, so that a wrong name is told at once.
"""

import collections.abc

NAMES = (
    "quality_correlation",
    "class_and_quality",
    "top1_iou",
    "top1_quality",
    "oracles",
    "regression_targets",
    "quality_labels",
    "suppression",
    "speed_accuracy",
)


def check_names(names: collections.abc.Iterable[str]) -> None:
    """Raises ValueError for a name that is none of an analysis; says which there are."""
    unknown = [name for name in names if name not in NAMES]
    if unknown:
        raise ValueError(f"there is no analysis {unknown[0]!r}; there are {', '.join(NAMES)}")
