"""A run directory: everything that one training leaves behind, and all that other commands need of it.

config.json          the resolved config: with class names, number of classes, absolute data paths
data.json            which images, classes and boxes the data hold, and the teacher's checksum, see
                     `gfl_tf.training.run_data`
held_out.json        the training images that are evaluated instead (`data.val_share`)
calibration.json     what gfl-calibrate learnt of the edges' uncertainty, and from which images
checkpoints/         model, optimizer and progress, to go on from, see `gfl_tf.training.checkpoint`
best.npz             the weights of the best AP so far, see `gfl_tf.checkpoints.weight_file`
last.npz             the weights of the last checkpoint
evaluation/*.json    the metrics of each evaluation (lost-*.json: of weights that are no longer there)
evaluation/*/        what gfl-evaluate found: WHICH-NAME of weights and data, such as best-val, with --tta best-tta-val
first_batch.jpg      the images and boxes that the training began with, after augmentation
worst_images.json    the validation images on which the best weights are most wrong
report.md            of the finished run: scores, weights, which commands follow
report/index.html    of the finished run: a page about what its best weights find, see docs/reports.md
diverged/            the steps whose numbers were not finite, if any, see `gfl_tf.training.divergence`
logs/                TensorBoard
train.log            what was printed
train.lock           while a training is under way: whose it is
"""

import collections.abc
import contextlib
import json
import os
import pathlib
import shlex
import shutil
import typing

import keras
import ml_collections
from absl import logging

from gfl_tf import config_files, files
from gfl_tf.boxes.calibration import EdgeCalibration
from gfl_tf.build import build_detector
from gfl_tf.checkpoints import weight_file
from gfl_tf.data.coco import CocoDataset
from gfl_tf.detectors.detector import Detector
from gfl_tf.parts import arguments
from gfl_tf.training import checkpoint, fields, lock, run_data
from gfl_tf.training import config as configs

WEIGHTS = ("best", "last")
LONGEST_PATH = 4096 - 256  # in bytes: what Linux takes, less what comes inside
# A run may go on with other values of these: they change what is reported and kept, and what is to come, not what was
# learned.
HARMLESS_FIELDS = tuple(
    f"train.{name}"
    for name in (
        "checkpoint_every",
        "evaluate_every",
        "evaluation_batch_size",
        "keep_checkpoints",
        "log_every",
        "max_go_backs",
        "micro_batches",
        "on_divergence",
        "patience",
        "recompute",
        "report_page",
        "sample_images",
    )
) + ("data.cache",)
# Data and teacher may lie elsewhere: that they are the same is checked by what they hold. `load_datasets` checks the
# directory.
MOVED_FIELDS = (*(f"data.{name}" for name in (*fields.DATA_PATHS, "directory", "on_bad_image")), "train.teacher")


class RunDirectory:
    """Paths of a run directory, and its config."""

    def __init__(self, path: str | os.PathLike):
        self.path = pathlib.Path(path)
        length = len(os.fsencode(os.path.abspath(path)))
        if length > LONGEST_PATH:
            raise ValueError(f"the path of the run directory has {length} bytes, more than {LONGEST_PATH}: {path}")
        self.config_file = self.path / config_files.RUN_FILE
        self.data_file = self.path / "data.json"
        self.held_out_file = self.path / "held_out.json"
        self.calibration_file = self.path / "calibration.json"
        self.first_batch_file = self.path / "first_batch.jpg"
        self.worst_images_file = self.path / "worst_images.json"
        self.report_file = self.path / "report.md"
        self.report_page = self.path / "report" / "index.html"
        self.checkpoints = self.path / "checkpoints"
        self.evaluation = self.path / "evaluation"
        self.diverged_steps = self.path / "diverged" / "steps.json"
        self.diverged_step = self.path / "diverged" / "step.npz"
        self.logs = self.path / "logs"
        self.log_file = self.path / "train.log"

    def weights_file(self, which: str) -> pathlib.Path:
        if which not in WEIGHTS:
            raise ValueError(f"the weights to load are {which!r}; choose one of {', '.join(WEIGHTS)}")
        return self.path / f"{which}{weight_file.SUFFIX}"

    def exists(self) -> bool:
        return self.config_file.is_file()

    def read_config(self) -> ml_collections.ConfigDict:
        """The resolved config.

        Raises:
            ValueError: the directory holds no run.
        """
        return fields.filled(config_files.read_run(self.path))  # what is newer than the run has its default

    def evaluation_of(self, which: str) -> dict[str, typing.Any] | None:
        """The evaluation of the "best" or "last" weights: its JSON content and "file", relative to the run directory.

        The training's own; where it made none of these weights, the newest without test-time augmentation that
        `evaluate_run` left here after they were written. None: there is neither.

        Raises:
            ValueError: neither "best" nor "last".
        """
        weights = self.weights_file(which)
        found = self._training_evaluation(which) or self._later_evaluation(which, weights)
        if not found:
            return None
        path, content = found
        return {"file": str(path.relative_to(self.path)), **content}

    def evaluations(self) -> dict[pathlib.Path, dict[str, typing.Any]]:
        """{file: content} of the training's evaluations in their order; warns of damaged files."""
        return dict(files.good(sorted(self.evaluation.glob("step-*.json")), _read_evaluation))

    def has_evaluation(self) -> bool:
        return any(self.evaluation.glob("step-*.json"))

    def lose_evaluations(self) -> None:
        """Takes the training's evaluations out of all that counts them: their weights are no longer there."""
        for path in self.evaluation.glob("step-*.json"):
            path.rename(path.with_name(path.name.replace("step-", "lost-", 1)))

    def _training_evaluation(self, which):
        found = self.evaluations().items()
        if which == "best":
            return max(found, key=lambda item: (item[1]["metrics"]["AP"], item[1]["step"]), default=None)
        last_step = max(checkpoint.steps(self.checkpoints), default=None)
        return next((item for item in found if item[1]["step"] == last_step), None)

    def _later_evaluation(self, which, weights):
        paths = [path for path in self.evaluation.glob(f"{which}-*/metrics.json") if _is_newer(path, weights)]
        plain = [item for item in files.good(paths, files.read_json) if "tta" not in item[1]]
        return max(plain, key=lambda item: item[0].stat().st_mtime_ns, default=None)

    def has_checkpoint(self) -> bool:
        """Whether there is a checkpoint, be it damaged; the first one's file without its checksum is none.

        Then the training was killed while it saved for the first time, as it ends that with last.npz.
        """
        found = checkpoint.steps(self.checkpoints)
        return bool(found) and (self.weights_file("last").exists() or checkpoint.has_checksum(self.checkpoints))

    @contextlib.contextmanager
    def locked(self) -> collections.abc.Iterator[None]:
        """Context in which no other process trains here; the directory is made where it is missing.

        Raises:
            ValueError: another process does.
        """
        self.path.mkdir(parents=True, exist_ok=True)
        with lock.held(self.path / "train.lock"):
            yield

    def start(self, config: ml_collections.ConfigDict, data: dict[str, typing.Any] | None = None) -> None:
        """Writes the resolved config; where there is something to go on from, checks that it is the same.

        What a killed training left half written is removed.

        Args:
            config: the resolved config.
            data: `run_data.describe` of a training's data.

        Raises:
            ValueError: the stored config differs in more than `HARMLESS_FIELDS` and `MOVED_FIELDS`, or the data do, or
                the checkpoints of a training are gone.
        """
        if not self.has_checkpoint() and self.has_evaluation():
            self._begin_again()
        if self.exists() and self.has_checkpoint():
            self._check_config(config)
            if data is not None:
                self._check_data(data)
        self.path.mkdir(parents=True, exist_ok=True)
        self.evaluation.mkdir(exist_ok=True)
        self._remove_partial()
        files.write(self.config_file, configs.to_json(config), synced=True)
        if data is not None:
            files.write(self.data_file, json.dumps(data, indent=2) + "\n", synced=True)

    def differences(self, config: ml_collections.ConfigDict, data: dict[str, typing.Any]) -> list[str]:
        """What stands against going on with the run that is there, in words; arguments as of `start`."""
        if not (self.exists() and self.has_checkpoint()):
            return []
        return [*self._differing_fields(config), *self._differing_data(data)]

    def _begin_again(self):
        if self.weights_file("last").exists():
            raise ValueError(
                f"{self.checkpoints} has no checkpoint, and {self.evaluation} tells of a training. {self.left()}"
            )
        self.lose_evaluations()  # it was killed before its first checkpoint

    def left(self) -> str:
        """What can be done where there is no checkpoint to go on from."""
        paths = [self.weights_file(which) for which in ("last", "best")]
        for path, _ in files.good([path for path in paths if path.exists()], weight_file.read):
            weights = shlex.quote(str(path))
            return f"Train into another --run_dir, from its weights with --config.model.weights={weights}"
        return "Train into another --run_dir; it has no weights either."

    def _remove_partial(self):
        for folder in (self.path, self.checkpoints, self.evaluation, self.diverged_step.parent):
            files.remove_partial(folder)
        for folder in self.checkpoints.glob("ckpt-*_temp"):  # TensorFlow's, of earlier versions
            shutil.rmtree(folder)

    def _differing_fields(self, config):
        differences = configs.differing_fields(self.read_config(), config, HARMLESS_FIELDS + MOVED_FIELDS)
        return [f"config.{field}: {old!r} in the run, now {new!r}" for field, old, new in differences]

    def _check_config(self, config):
        listed = [f"  {text}" for text in self._differing_fields(config)]
        if listed:
            raise ValueError(
                "\n".join([f"{self.path} holds a run with another config:", *listed])
                + "\nChoose another --run_dir to start anew, or leave --config and these fields out to go on with it."
            )

    def _differing_data(self, data):
        stored = files.read_good(self.data_file, files.read_json)
        if stored is None:
            logging.warning(
                "%s has no %s that can be read: whether its data are the same is not checked.",
                self.path,
                self.data_file.name,
            )
            return []
        return run_data.differences(stored, data)

    def _check_data(self, data):
        listed = [f"  {text}" for text in self._differing_data(data)]
        if listed:
            raise ValueError(
                "\n".join([f"{self.path} holds a run with other data:", *listed])
                + "\nChoose another --run_dir to start anew, or name the run's own data with --config.data."
                + ", --config.data.".join(fields.DATA_PATHS)
                + ", and its own teacher with --config.train.teacher"
            )

    def list_held_out(self, dataset: CocoDataset) -> None:
        """Writes which images `dataset` was given of the training data."""
        images = [{"id": record.id, "file": os.path.abspath(record.path)} for record in dataset.images]
        files.write(self.held_out_file, json.dumps({"val": images}, indent=1) + "\n", synced=True)

    def save_calibration(self, which: str, calibration: EdgeCalibration, measured: dict[str, typing.Any]) -> None:
        """Keeps the `EdgeCalibration` of the "best" or "last" weights, and what it was made of."""
        content = {
            "weights": which,
            "weights_sha256": files.sha256(self.weights_file(which)),
            "calibration": arguments(calibration),
            "measured": measured,
        }
        files.write(self.calibration_file, json.dumps(content, indent=1) + "\n", synced=True)

    def read_calibration(self, which: str) -> EdgeCalibration | None:
        """The `EdgeCalibration` of the "best" or "last" weights; None: there is none, or one of other weights (warned).

        Raises:
            ValueError: the file is damaged.
        """
        if not self.calibration_file.exists():
            return None
        content = files.read_json(self.calibration_file)
        try:
            calibration = EdgeCalibration.from_config(content["calibration"])
            digest = content["weights_sha256"]
        except (KeyError, TypeError, ValueError) as error:
            raise ValueError(
                f"{self.calibration_file} is damaged ({error}): remove it, or gfl-calibrate anew"
            ) from error
        if digest != files.sha256(self.weights_file(which)):
            logging.warning("%s is of other weights and is not used: gfl-calibrate anew.", self.calibration_file)
            return None
        return calibration

    def save_weights(self, model: keras.Model, which: str, writes: bool = True) -> None:
        """Writes "best" or "last"; without `writes`, only takes part in reading what all workers read together."""
        arrays = {name: variable.numpy() for name, variable in weight_file.named_variables(model).items()}
        if writes:
            weight_file.save_arrays(arrays, self.weights_file(which))


def _read_evaluation(path):
    content = files.read_json(path)
    try:
        float(content["metrics"]["AP"]), int(content["step"])
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{path} is damaged: it has no step and AP") from error
    return content


def _is_newer(path, other):
    return other.exists() and path.stat().st_mtime_ns > other.stat().st_mtime_ns


def load_run(
    run_dir: str | os.PathLike, which: str = "best", intervals: collections.abc.Sequence[float] | None = None
) -> tuple[Detector, ml_collections.ConfigDict]:
    """The trained model of a run directory and its config; calibrated, where gfl-calibrate was run.

    Args:
        run_dir: path.
        which: "best" or "last" weights.
        intervals: levels of the intervals that a calibrated model gives; None: all that it was calibrated for.

    Raises:
        ValueError: no run there, one that has no such weights yet, or no such intervals.
    """
    run = RunDirectory(run_dir)
    config = run.read_config()
    weights = run.weights_file(which)
    if not weights.exists() and weights.with_suffix(".weights.h5").exists():
        raise ValueError(f"{run.path} was trained by gfl_tf 0.1.0: its .weights.h5 files are for that version")
    if not weights.exists():
        why = "" if run.has_checkpoint() else " yet: its training has not come to its first checkpoint"
        raise ValueError(". ".join([f"{run.path} has no {weights.name}{why}", *_remedies(run, config, which)]))
    model = build_detector(config, load_weights=False)
    try:
        weight_file.load(weight_file.named_variables(model), weights)
    except ValueError as error:
        raise ValueError(". ".join([str(error), *_remedies(run, config, which)])) from error
    calibration = run.read_calibration(which)
    if calibration is None and intervals:
        raise ValueError(f"{run.path} has no intervals: its {which} weights are not calibrated (gfl-calibrate)")
    model.edge_calibration = calibration.at(intervals) if intervals else calibration
    return model, config


def _remedies(run, config, which):
    """What can be done where the "best" or "last" weights are damaged or not there."""
    (other,) = set(WEIGHTS) - {which}
    if files.read_good(run.weights_file(other), weight_file.read):
        yield f"The run has others: --checkpoint={other}"
    if run.has_checkpoint():
        is_evaluated = which == "best" and config.data.val_annotations
        source = "the next evaluation" if is_evaluated else "the last checkpoint"
        yield f"gfl-train --run_dir={shlex.quote(str(run.path))} goes on with the run and takes those of {source}"
