"""The config of a table's row on a base: a config that takes a detector behind its colon."""

import collections.abc
import re

import ml_collections

from gfl_tf import config_files
from gfl_tf.ablation.tables import Row
from gfl_tf.build import check_detector
from gfl_tf.training import config as configs

PLACE = "DETECTOR"  # of the detector in the name of a base
OWN_FIELDS = {"seed": "--seeds", "name": "the rows"}  # of a config: {field: what decides it}


def check(base: str, overrides: collections.abc.Iterable[str]) -> None:
    """Raises ValueError for a base that names a detector itself, and for fields that the ablation decides."""
    if ":" in base and PLACE not in base:
        name = base.partition(":")[0]
        raise ValueError(
            f"--config={base}: the rows say which detector. Leave it out, as --config={name}, or put the word {PLACE} "
            f"in its place, as --config=small:{PLACE}/resnet18"
        )
    for argument in overrides:
        field = re.sub(r"^--?(no)?config\.|=.*", "", argument)
        if field in OWN_FIELDS:
            raise ValueError(f"--config.{field} is decided by {OWN_FIELDS[field]}: leave it out")


def row_config(base: str, name: str, row: Row, overrides: collections.abc.Sequence[str]) -> ml_collections.ConfigDict:
    """The config of a row: the base's of its detector, with the fields of the command line, then the row's changes.

    Args:
        base: such as "small" or "small:DETECTOR/resnet18".
        name: of the row, with its table.
        overrides: such as "--config.train.epochs=3".

    Raises:
        ValueError: the base has no such detector or field, or cannot take the changes; says which row.
    """
    config_name = base.replace(PLACE, row.detector) if PLACE in base else f"{base}:{row.detector}"
    try:
        config = config_files.overridden(config_files.load_config(config_name), overrides)
        row.apply(config.model)
        config = configs.complete(config)
        check_detector(config)
    except (KeyError, ValueError) as error:
        raise ValueError(f"--config={base} cannot take {name}: {error}") from error
    config.name = name.replace("/", "_")
    return config
