"""Weights of a whole detector, from a file, to start a training from."""

import collections.abc
import os

from absl import logging

from gfl_tf import config_files
from gfl_tf.backbone_weights import PYTORCH_FILES, check_file
from gfl_tf.checkpoints import mmdet, places, state_dict, weight_file
from gfl_tf.detectors.detector import Detector

PARTIAL = "--config.model.partial_weights=True"


def load(
    model: Detector,
    path: str,
    partial: bool,
    class_names: collections.abc.Sequence[str],
    say: collections.abc.Callable[[str], None],
) -> None:
    """Loads `config.model.weights`.

    Args:
        model: the detector.
        path: a run's .npz file, or one of `PYTORCH_FILES` of the reference.
        partial: `config.model.partial_weights`: take what fits.
        class_names: of the data, where they are known. They stay: a warning says where the file was trained for others
            of the same number.
        say: takes the line that says how many tensors were taken.

    Raises:
        ValueError: the file cannot be read or does not fit, in one line.
    """
    check_file(path, "config.model.weights")
    try:
        if path.endswith(PYTORCH_FILES):
            file = state_dict.read(path)
            report, trained_for = mmdet.load_checkpoint(model, file, partial), file.class_names
        else:
            report = weight_file.load(weight_file.named_variables(model), path, partial)
            trained_for = _class_names_of_run(os.path.dirname(path))
    except places.Misfit as error:
        raise error.explained(model, PARTIAL) from error
    say(str(report))
    warn_of_other_classes(trained_for, class_names, path)


def _class_names_of_run(folder):
    """Those of the run in the folder; None where there is none."""
    try:
        return config_files.read_run(folder).get("data", {}).get("class_names")
    except ValueError:
        return None


def warn_of_other_classes(
    trained_for: collections.abc.Sequence[str] | None, names: collections.abc.Sequence[str], source: str | os.PathLike
) -> None:
    """Warns where a classifier is taken that was trained for as many classes of other names, or in another order."""
    if not trained_for or len(trained_for) != len(names):
        return
    others = [index for index, (old, new) in enumerate(zip(trained_for, names)) if old != new]
    if others:
        first = others[0]
        logging.warning(
            "%s: its classifier was trained for other names at %d of %d classes, the first at index %d: %r there is %r "
            "here. The names stay.",
            source, len(others), len(names), first, trained_for[first], names[first],
        )  # fmt: skip
