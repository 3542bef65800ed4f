"""The calibration of a run's edges."""

import collections.abc
import os
import typing

from absl import logging

from gfl_tf.boxes.calibration import EdgeCalibration
from gfl_tf.evaluation import calibration as calibrations
from gfl_tf.evaluation import edges, matches, trust
from gfl_tf.training import config as configs
from gfl_tf.training import fields, run_images
from gfl_tf.training import run_dir as run_dirs

SPLIT = "calibration"


def calibrate_run(
    run_dir: str | os.PathLike,
    which: str = "best",
    *,
    annotations: str | os.PathLike | None = None,
    images: str | os.PathLike | None = None,
    levels: collections.abc.Sequence[float] = edges.LEVELS,
    on_bad_image: str | None = None,
) -> tuple[EdgeCalibration, dict[str, typing.Any]]:
    """Calibrates the edges of a run's model, and writes calibration.json into the run directory.

    Args:
        run_dir: path.
        which: "best" or "last" weights.
        annotations, images: of images that were neither trained nor will be tested on, as for `evaluate_run`; default
            those that were held out for it (`data.calibration_share`).
        levels: of the intervals, shares between 0 and 1 of the true edges.
        on_bad_image: "error" or "skip"; default the config's.

    Returns:
        (`EdgeCalibration`, `edges.summary` of the model without it on the same images).

    Raises:
        ValueError, FileNotFoundError: no such run, weights or data, a detector that states no spread, or too few
            detections; says which.
    """
    run = run_dirs.RunDirectory(run_dir)
    config = run.read_config()
    if not annotations and SPLIT not in fields.held_out(config.data):
        raise ValueError(
            f"{run.path} has held out no images for it (config.data.calibration_share of the training). Name some that "
            "were neither trained nor will be tested on: --annotations=PATH, and --images=FOLDER"
        )
    split = "val" if annotations else SPLIT
    run_images.choose(config.data, split, annotations, images, on_bad_image)
    dataset = configs.load_split(config, split)
    if annotations:
        _warn_of_trained_images(run, dataset)
    model, _ = run_dirs.load_run(run_dir, which)
    model.edge_calibration = None
    with run_images.named_errors():
        of_edges = trust.matched_edges(model, dataset, config.train.evaluation_batch_size, config.data.scale)
    if of_edges is None:
        raise ValueError(f"a detector with {type(model.boxes).__name__} states no spread of its edges to calibrate")
    calibration = calibrations.fit(of_edges, levels)
    before = edges.summary(of_edges, None, config.data.class_names)
    measured = {
        "annotations": os.path.abspath(annotations or config.data.train_annotations),
        "image_ids": [record.id for record in dataset.images],
        "matched": len(of_edges),
        "rule": matches.RULE,
    }
    run.save_calibration(which, calibration, measured)
    return calibration, before


def _warn_of_trained_images(run, dataset):
    try:
        known = run_images.num_trained(run, dataset)
    except (OSError, ValueError):  # the training data have moved since: nothing is known of them
        return
    if known:
        logging.warning(
            "%d of these %d images were trained on, where the errors are smaller than elsewhere: the intervals will be "
            "too narrow. Calibrate on others; config.data.calibration_share holds some out of a training.",
            known,
            len(dataset.images),
        )
