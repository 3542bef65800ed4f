"""The evaluation of a finished or stopped run."""

import collections.abc
import json
import os
import pathlib
import typing

from gfl_tf import files
from gfl_tf.evaluation import coco, trust, tta
from gfl_tf.training import config as configs
from gfl_tf.training import provenance, report_page, run_images
from gfl_tf.training import run_dir as run_dirs


def evaluate_run(
    run_dir: str | os.PathLike,
    which: str = "best",
    *,
    annotations: str | os.PathLike | None = None,
    images: str | os.PathLike | None = None,
    output: str | os.PathLike | None = None,
    batch_size: int | None = None,
    views: collections.abc.Sequence[tuple[int, int]] | None = None,
    flip: bool = True,
    on_bad_image: str | None = None,
    scale: tuple[int, int] | None = None,
    decoder: dict[str, typing.Any] | None = None,
    report: str | os.PathLike | None = None,
) -> tuple[coco.CocoResult, dict[str, typing.Any], pathlib.Path]:
    """Evaluates the model of a run directory and writes metrics.json and detections.json.

    Args:
        run_dir: path.
        which: "best" or "last" weights.
        annotations, images: annotations in any format, and the folder of images where these do not say it; default the
            run's validation data, or the images that it held out of its training data.
        output: folder; default `evaluation/WHICH-NAME` in the run directory, NAME from the annotation file's or
            "held_out", or `evaluation/WHICH-tta-NAME`.
        batch_size: default the config's.
        views: with test-time augmentation: sizes as in `tta.detect`, or () for `tta.default_scales` of the config's
            size. The images then go one by one, and metrics.json says which views they were.
        flip: whether test-time augmentation has the views' mirror images too.
        on_bad_image: "error" or "skip"; default the config's.
        scale: limits of the resized image, (long, short) in pixels; default the config's.
        decoder: values of `PredictionDecoder` in place of the run's.
        report: folder to write the page of `report_page` into; None: none is made.

    Returns:
        (`CocoResult`, the content of metrics.json, output folder).

    Raises:
        ValueError, FileNotFoundError: no such run, weights or data; says which.
    """
    with_tta = views is not None
    if with_tta and batch_size:
        raise ValueError("with test-time augmentation the images go one by one: leave out the batch size")
    run = run_dirs.RunDirectory(run_dir)
    config = run.read_config()
    data_name = run_images.choose(config.data, "val", annotations, images, on_bad_image)
    config.data.scale = scale or config.data.scale
    dataset = configs.load_split(config, "val")
    if report:
        pathlib.Path(report).mkdir(parents=True, exist_ok=True)  # where that fails, it does before the work
    # Before the weights are read: a training that goes on may replace them any time.
    weights = provenance.of_weights(run, which)
    model, _ = run_dirs.load_run(run_dir, which)
    model.prediction_decoder = model.prediction_decoder.changed(**(decoder or {}))
    with run_images.named_errors():
        if with_tta:
            scales = views or tta.default_scales(config.data.scale)
            result = tta.evaluate(model, dataset, scales, flip)
            metrics = {**result.to_dict(), "tta": {"scales": scales, "flip": flip}}
        else:
            batch_size = batch_size or config.train.evaluation_batch_size
            result, measured = trust.evaluate(model, dataset, batch_size, config.data.scale)
            metrics = {**result.to_dict(), **measured}
    metrics["evaluated"] = {**weights, **provenance.of_data(config, dataset)}
    if scale or decoder:
        metrics["settings"] = {"scale": config.data.scale, **(decoder or {})}
    name = f"{which}-{'tta-' if with_tta else ''}{data_name}"
    output = pathlib.Path(output) if output else run.evaluation / name
    output.mkdir(parents=True, exist_ok=True)
    files.write(output / "metrics.json", json.dumps(metrics, indent=2) + "\n", synced=True)
    with files.replacing(output / "detections.json", synced=True) as file:
        result.detections.write(file)
    if report:
        evaluated = report_page.Evaluated(which, model, dataset, result, metrics)
        report_page.write(report, run, config, evaluated)
    return result, metrics, output
