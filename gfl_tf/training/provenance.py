"""What an evaluation was made of, so that it can be told whether it need be made again."""

import typing

import ml_collections

from gfl_tf import files
from gfl_tf.data.coco import CocoDataset
from gfl_tf.training import fields, run_data
from gfl_tf.training.run_dir import RunDirectory


def of_weights(run: RunDirectory, which: str) -> dict[str, typing.Any]:
    """Checksums of a run's "best" or "last" weights and of its calibration, None where there are none."""
    return {
        "weights": which,
        "weights_sha256": _checksum(run.weights_file(which)),
        "calibration_sha256": _checksum(run.calibration_file),
    }


def _checksum(path):
    return files.sha256(path) if path.exists() else None


def of_data(config: ml_collections.ConfigDict, dataset: CocoDataset) -> dict[str, typing.Any]:
    """What the data hold (`run_data.of_data_set`), and "config", from which `config_of` makes them again."""
    return {"data": run_data.of_data_set(dataset), "config": {"seed": config.seed, "data": config.data.to_dict()}}


def config_of(evaluated: dict[str, typing.Any]) -> ml_collections.ConfigDict:
    """The config whose "val" is the data of `of_data`, as `config.load_split` takes it."""
    return fields.filled(ml_collections.ConfigDict(evaluated["config"]))
