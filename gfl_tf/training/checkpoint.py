"""What a training goes on from: files that Keras 2 and Keras 3 write alike, each with its checksum beside it."""

import functools
import os
import pathlib
import re
import zlib

import numpy as np
import tensorflow as tf

from gfl_tf import compat, files
from gfl_tf.checkpoints import weight_file
from gfl_tf.texts import first_ones
from gfl_tf.training.cluster import Workers
from gfl_tf.training.divergence import DivergedError

# Of a checkpoint: its numbers, and the checksum of that file as `sha256sum --check` reads it. TensorFlow's two files
# are those of earlier versions of gfl_tf, which have their own checksums inside.
FILE = re.compile(r"ckpt-(\d+)\.(npz|sha256|index|data-\d+-of-\d+)")


class Checkpoints:
    """The checkpoints of a compiled model: weights, running metrics, and the optimizer with its count of steps.

    Args:
        model: compiled detector.
        variables: {name: variable} of the model, see `weight_file.named_variables`.
        directory: path.
        keep: how many of the newest to keep, at least one.
        average: `MovingAverage` or `WeightAverage` of the model, where there is one.
        workers: `Workers` of which the first alone reads and writes files; all call the methods together.
    """

    def __init__(self, model, variables, directory, keep, average=None, workers=None):
        # Made now, so that a checkpoint finds every variable that it restores.
        model.optimizer.build(model.trainable_variables)
        self._directory = pathlib.Path(directory)
        self._keep = max(keep, 1)
        self._workers = workers or Workers()
        self._optimizer = model.optimizer
        # All by names of our own: Keras 2 and Keras 3 lay out their objects differently, and leave different parts of
        # them out.
        names = {id(variable): name for name, variable in variables.items()}
        trained = [names[id(variable)] for variable in model.trainable_variables]
        metrics = {
            f"{metric.name}/{name}": variable
            for metric in model.metrics
            for name, variable in zip(("total", "count"), metric.variables)
        }
        groups = {
            "weights": variables,
            "metrics": metrics,
            "optimizer": compat.optimizer_state(model.optimizer, trained),
            "average": {} if average is None else average.state,
        }
        self._variables = {
            f"{group}/{name}": compat.tf_variable(variable)
            for group, members in groups.items()
            for name, variable in members.items()
        }

    def check_finite(self):
        """{name: array} of what a checkpoint would keep; raises DivergedError where a number is not finite.

        All workers together read some of the variables: each replica has its part of them.
        """
        arrays = {name: variable.numpy() for name, variable in self._variables.items()}
        wrong = weight_file.not_finite(arrays)
        if wrong:
            raise DivergedError(f"{wrong} is not finite after step {self._step()}")
        return arrays

    def save(self):
        """Writes a checkpoint, and removes all but the newest ones up to it.

        Raises:
            DivergedError: see `check_finite`; nothing is written.
            OSError: it cannot be written; nothing of it is left.
        """
        arrays = self.check_finite()
        if not self._workers.is_first:
            return
        self._directory.mkdir(parents=True, exist_ok=True)
        file, checksum = self._files(self._step())
        weight_file.write(arrays, file)
        try:
            with files.replacing(checksum, synced=True) as opened:  # the last: without it the checkpoint is incomplete
                opened.write(f"{files.sha256(file)}  {file.name}\n")
        except BaseException:
            file.unlink(missing_ok=True)
            checksum.unlink(missing_ok=True)
            raise
        self._prune()

    def restore_latest(self):
        """Takes over the newest checkpoint that is not damaged; warns of those that are.

        Returns:
            Its step; None: there is none.

        Raises:
            ValueError: it does not fit the model and the optimizer.
        """
        step, arrays = None, {}
        if self._workers.is_first:
            step, arrays = self._newest_good()
        step = self._workers.of_first(step)
        if step is not None:
            self._workers.assign_of_first(self._variables, arrays)
        return step

    def _newest_good(self):
        """(step, {name: array}); (None, {}): there is none."""
        step, arrays = next(files.good(sorted(steps(self._directory), reverse=True), self._read), (None, {}))
        if step is None:
            return None, {}
        shapes = {name: arrays[name].shape if name in arrays else None for name in self._variables}
        wrong = [name for name, variable in self._variables.items() if shapes[name] != tuple(variable.shape)]
        if wrong:
            raise ValueError(
                f"the checkpoint of step {step} in {self._directory} does not fit this model and optimizer: another "
                "version of gfl_tf wrote it. Choose another --run_dir to start anew. It lacks, or has in other shapes: "
                f"{', '.join(first_ones(wrong, 3))}"
            )
        return step, arrays

    def digest(self):
        """A number that is the same where all variables are."""
        return functools.reduce(
            lambda total, array: zlib.crc32(array.tobytes(), total), self.check_finite().values(), 0
        )

    def _step(self):
        return int(self._optimizer.iterations.numpy())

    def _files(self, step):
        return self._directory / f"ckpt-{step}.npz", self._directory / f"ckpt-{step}.sha256"

    def _read(self, step):
        """{name: array}; ValueError: it is damaged, or an earlier version of gfl_tf saved what is not finite."""
        file, checksum = self._files(step)
        is_earlier = not file.exists() and not checksum.exists()
        arrays = _read_tensorflow(self._directory / f"ckpt-{step}") if is_earlier else _read_checked(file, checksum)
        wrong = weight_file.not_finite(arrays)
        if wrong:
            raise ValueError(f"the checkpoint of step {step} in {self._directory} is of no use: {wrong} is not finite")
        return arrays

    def _prune(self):
        # Those of later steps are damaged, or this training would have gone on from them.
        kept = sorted(step for step in steps(self._directory) if step <= self._step())[-self._keep :]
        for path in self._directory.iterdir():
            found = FILE.fullmatch(path.name)
            if found and int(found[1]) not in kept:
                path.unlink()


def steps(directory: str | os.PathLike) -> set[int]:
    """The steps of which a directory has checkpoints, damaged ones too, by the names of their files."""
    names = os.listdir(directory) if os.path.isdir(directory) else []
    return {int(found[1]) for found in map(FILE.fullmatch, names) if found}


def has_checksum(directory: str | os.PathLike) -> bool:
    """Whether one of a directory's checkpoints came to its last file."""
    return any(name.endswith((".sha256", ".index")) and FILE.fullmatch(name) for name in os.listdir(directory))


def _read_checked(file, checksum):
    """{name: array} of a checkpoint's file; ValueError: it is damaged."""
    for path in (file, checksum):
        if not path.exists():
            raise ValueError(f"a checkpoint is incomplete: there is no {path}")
    try:
        is_same = checksum.read_text(errors="replace").split()[:1] == [files.sha256(file)]
    except OSError as error:
        raise ValueError(f"the checkpoint {file} cannot be read: {error}") from error
    if not is_same:
        raise ValueError(f"the checkpoint {file} is damaged: its checksum is not that in {checksum.name}")
    return weight_file.read(file)


def _read_tensorflow(prefix):
    """{name: array} of a checkpoint as earlier versions of gfl_tf wrote them; ValueError: it is damaged."""
    try:
        reader = tf.train.load_checkpoint(str(prefix))
        keys = [key for key in reader.get_variable_to_shape_map() if "/" in key]
        # TensorFlow's escapes: the names are keys of dicts of a `tf.train.Checkpoint`.
        names = [key.removesuffix("/.ATTRIBUTES/VARIABLE_VALUE").replace(".S", "/").replace("..", ".") for key in keys]
        return {name: np.asarray(reader.get_tensor(key)) for name, key in zip(names, keys)}
    except (tf.errors.OpError, ValueError, IndexError, RuntimeError) as error:
        raise ValueError(f"the checkpoint {prefix} is damaged: {error}") from error
