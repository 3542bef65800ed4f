"""How a training went, from what its run directory holds: losses, learning rate and AP over the steps."""

import collections
import collections.abc
import pathlib

import numpy as np

from gfl_tf.evaluation.coco import METRICS
from gfl_tf.training.run_dir import RunDirectory

MOST_POINTS = 300  # of a curve
_TRAIN = "train/"
Curve = tuple[list[int], list[float]]


def read(run: RunDirectory) -> dict[str, dict[str, Curve]]:
    """{"loss", "learning rate", "AP": {name: (steps, values)}}, as far as they are known.

    Of a step that was made several times, as after going back to a checkpoint, the last one counts. A curve of more
    than `MOST_POINTS` has the means of neighbours.
    """
    scalars = _scalars(run.logs)
    losses = {name: curve for name, curve in scalars.items() if name == "loss" or name.endswith("_loss")}
    evaluations = [(each["step"], each["metrics"]) for each in run.evaluations().values()]
    scores = {name: [(step, metrics[name]) for step, metrics in evaluations] for name in METRICS[:3]}
    found = {
        "loss": {name.removesuffix("_loss"): _thinned(curve.items()) for name, curve in losses.items()},
        "learning rate": {
            "learning rate": _thinned(curve.items()) for curve in [scalars.get("learning_rate")] if curve
        },
        "AP": {name: _thinned(points) for name, points in scores.items() if points},
    }
    return {what: curves for what, curves in found.items() if curves}


def _scalars(folder: pathlib.Path) -> dict[str, dict[int, float]]:
    """{name: {step: value}} of what TensorBoard's files say of the training's steps."""
    # TensorBoard's own reader; importing it does not import TensorFlow.
    from tensorboard.backend.event_processing.event_file_loader import EventFileLoader
    from tensorboard.util import tensor_util

    found = collections.defaultdict(dict)
    for path in sorted(folder.glob("events.out.tfevents.*")):  # their names begin with the time
        for event in EventFileLoader(str(path)).Load():
            for value in event.summary.value:
                if value.tag.startswith(_TRAIN):
                    scalar = float(tensor_util.make_ndarray(value.tensor))
                    found[value.tag.removeprefix(_TRAIN)][event.step] = scalar
    return found


def _thinned(points: collections.abc.Iterable[tuple[int, float]]) -> Curve:
    points = np.array(sorted(points), float)
    groups = np.array_split(points, min(len(points), MOST_POINTS))
    steps, values = zip(*(group.mean(axis=0) for group in groups))
    return [int(step) for step in steps], [float(value) for value in values]
