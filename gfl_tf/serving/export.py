"""A detector to a SavedModel in a folder of integer versions, the layout that TensorFlow Serving watches."""

import contextlib
import os
import pathlib
import tempfile

import tensorflow as tf
from absl import logging

from gfl_tf.serving import signatures


def export(model, scale, output, name, score_threshold=None, max_detections=None, iou_threshold=None):
    """Writes `output`/`name`/VERSION, VERSION being one above the highest there is, and returns its path.

    The version appears under its number complete or not at all, also when the process is killed, and no version is
    ever overwritten; several exports may run at once. A killed export leaves a hidden folder ".exporting-*", which can
    be deleted. For the model's inputs and outputs see `signatures.trace`.

    Args:
        model: a detector.
        scale: (long, short) limits of the keep-ratio resize in front of the network.
        output: folder of all exported models.
        name: the model's name, one folder.
        score_threshold, max_detections, iou_threshold: instead of the model's decoder's; None: as there.

    Raises:
        ValueError: a name that is no folder name, or a value that is out of its range.
    """
    if name != os.path.basename(name) or name.startswith(".") or not name:
        raise ValueError(f"name is {name!r}; give the name of one folder, without slashes and leading dots")
    directory = pathlib.Path(output) / name
    changes = dict(score_threshold=score_threshold, max_detections=max_detections, iou_threshold=iou_threshold)
    original_decoder = model.prediction_decoder
    model.prediction_decoder = _changed_decoder(original_decoder, changes)
    try:
        functions = signatures.trace(model, scale)
    finally:
        model.prediction_decoder = original_decoder
    # Only what the functions read: no Keras objects, metrics or optimizer. And only concrete functions: a SavedModel
    # traces others anew, which takes as long again.
    served = tf.Module()
    used = [variable for function in functions.values() for variable in function.variables]
    served.weights = list({variable.ref(): variable for variable in used}.values())
    directory.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".exporting-", dir=directory) as hidden:
        # One folder deeper, as the outer one is readable by its owner alone, and a server may be another user.
        complete = pathlib.Path(hidden) / "version"
        with _without_notes():
            tf.saved_model.save(served, str(complete), signatures=functions)
        return take_next_version(complete, directory)


def _changed_decoder(decoder, changes):
    changes = {name: value for name, value in changes.items() if value is not None}
    for name in ("score_threshold", "iou_threshold"):
        if not 0 <= changes.get(name, 0) <= 1:
            raise ValueError(f"{name} is {changes[name]}; it must lie between 0 and 1")
    if changes.get("max_detections", 1) < 1:
        raise ValueError(f"max_detections is {changes['max_detections']}; it must be at least 1")
    return decoder.changed(**changes)


@contextlib.contextmanager
def _without_notes():
    """Without TensorFlow's note, thousands of characters long, on how it names the weights among the inputs."""
    before = logging.get_verbosity()
    logging.set_verbosity(logging.WARNING)
    try:
        yield
    finally:
        logging.set_verbosity(before)


def take_next_version(complete, directory):
    """Moves the folder `complete` to the next version of `directory`."""
    version = 1 + max([0, *(int(path.name) for path in directory.iterdir() if path.name.isdecimal())])
    while True:
        target = directory / str(version)
        try:
            if not os.path.lexists(target):
                os.rename(complete, target)  # fails where another export has just taken the number
                return target
        except OSError:
            if not os.path.lexists(target):
                raise
        version += 1
