"""The teacher of a run, `config.train.teacher`: found, told from another one, and loaded."""

import collections.abc
import contextlib
import os
import pathlib

import ml_collections

from gfl_tf import files
from gfl_tf.build import build_detector
from gfl_tf.checkpoints import weight_file
from gfl_tf.detectors.detector import Detector
from gfl_tf.detectors.distillation import Distillation
from gfl_tf.texts import first_ones
from gfl_tf.training import run_dir as run_dirs


def find(config: ml_collections.ConfigDict) -> str | None:
    """The checksum of the teacher's weights; None: there is no teacher. Its path in the config becomes absolute.

    Args:
        config: complete, with the class names of the data.

    Raises:
        ValueError: the path is of no run, or of one without such weights or with other classes.
    """
    if not config.train.teacher:
        return None
    config.train.teacher = os.path.abspath(config.train.teacher)
    with _named(config):
        run, which = _parts(config)
        names, own = (each.data.class_names for each in (run.read_config(), config))
        if tuple(names) != tuple(own):
            raise ValueError(
                f"it was trained for {_listed(names)}, and the data have {_listed(own)}: both need the same, in order"
            )
        if not run.weights_file(which).exists():
            raise ValueError(f"the run has no {which}{weight_file.SUFFIX}: let its training come to a checkpoint first")
        return files.sha256(run.weights_file(which))


def distillation(config: ml_collections.ConfigDict, student: Detector) -> Distillation | None:
    """For `student.compile`: the teacher, in the student's precision; None: there is none.

    Args:
        config: as `find` leaves it.
        student: the detector to be compiled.

    Raises:
        ValueError: as `find`, or the teacher does not fit the student.
    """
    if not config.train.teacher:
        return None
    with _named(config):
        run, which = _parts(config)
        of_teacher = run.read_config()
        of_teacher.precision = config.precision
        teacher = build_detector(of_teacher, load_weights=False)
        weight_file.load(weight_file.named_variables(teacher), run.weights_file(which))
        made = Distillation(teacher, **config.train.distillation)
        made.check(student)
        return made


def _parts(config):
    """(`RunDirectory`, "best" or "last")."""
    path = pathlib.Path(config.train.teacher)
    is_file = path.suffix == weight_file.SUFFIX
    return (run_dirs.RunDirectory(path.parent), path.stem) if is_file else (run_dirs.RunDirectory(path), "best")


@contextlib.contextmanager
def _named(config) -> collections.abc.Iterator[None]:
    try:
        yield
    except ValueError as error:
        raise ValueError(f"config.train.teacher={config.train.teacher}: {error}") from error


def _listed(names):
    return f"{len(names)} classes ({', '.join(first_ones(names, 8))})"
