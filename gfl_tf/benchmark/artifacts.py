"""The detectors that are timed."""

import os
import typing

import keras
import ml_collections

from gfl_tf import config_files
from gfl_tf.build import build_detector
from gfl_tf.checkpoints import weight_file
from gfl_tf.detectors.detector import Detector
from gfl_tf.training.run_dir import RunDirectory

POLICIES = {"float32": "float32", "bfloat16": "mixed_bfloat16"}  # `config.precision`


class Artifact(typing.NamedTuple):
    """A detector that can be built in several precisions.

    Attributes:
        name: of its config.
        config: the ConfigDict.
        weights: path of an .npz file of weights; None: random ones.
        run_dir: path of the run that they are of; None: there is none.
        share: the least share of the machine's limit that its forward pass should reach; None: open.
    """

    name: str
    config: ml_collections.ConfigDict
    weights: str | os.PathLike | None = None
    run_dir: str | os.PathLike | None = None
    share: float | None = None

    def build(self, precision: str = "float32", num_classes: int | None = None) -> Detector:
        """The detector in one of `POLICIES`; with other classes its weights are random."""
        config = ml_collections.ConfigDict(self.config.to_dict())
        config.precision = POLICIES[precision]
        if num_classes:
            config.model.num_classes = num_classes
        keras.utils.set_random_seed(0)
        model = build_detector(config, load_weights=False)
        if self.weights and not num_classes:
            weight_file.load(weight_file.named_variables(model), self.weights)
        return model


def of_config(name: str, share: float | None = None) -> Artifact:
    """That of a config that comes with gfl_tf, or of a file: with 80 classes where a training would count them.

    Raises:
        ValueError: there is no such config.
    """
    return with_classes(Artifact(name, config_files.load_config(name), share=share))


def with_classes(artifact: Artifact) -> Artifact:
    """The same with a number of classes, COCO's where the config leaves it to the data."""
    config = ml_collections.ConfigDict(artifact.config.to_dict())
    config.model.num_classes = config.model.get("num_classes", 80)
    return artifact._replace(config=config)


def of_run(run_dir: str | os.PathLike) -> Artifact:
    """That of a run directory's best weights.

    Raises:
        ValueError: there is no such run, or it has no such weights yet.
    """
    run = RunDirectory(run_dir)
    config, weights = run.read_config(), run.weights_file("best")
    if not weights.exists():
        raise ValueError(f"{run.path} has no {weights.name}: name a run that gfl-train has finished or evaluated")
    return Artifact(config.get("name", run.path.name), config, weights, run.path)
