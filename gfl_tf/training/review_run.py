"""The review of annotations, or of images without any, by the model of a run."""

import collections.abc
import json
import os
import pathlib
import typing

from absl import logging

from gfl_tf import files
from gfl_tf.data import coco_entries, formats, pipeline
from gfl_tf.data.coco import load_coco
from gfl_tf.data.formats.folder import read_folder
from gfl_tf.evaluation import coco, information, review, review_json
from gfl_tf.training import config as configs
from gfl_tf.training import fields, run_images
from gfl_tf.training import run_dir as run_dirs
from gfl_tf.visualization import review_page

JSON_FILE, PAGE = "review.json", "index.html"


def review_run(
    run_dir: str | os.PathLike,
    output: str | os.PathLike,
    which: str = "best",
    *,
    annotations: str | os.PathLike | None = None,
    images: str | os.PathLike | None = None,
    most: int = 100,
    kinds: collections.abc.Sequence[str] = tuple(review.KINDS),
    on_bad_image: str | None = None,
) -> dict[str, typing.Any]:
    """Writes review.json, see `gfl_tf.evaluation.review_json`, and index.html with pictures into a folder.

    Args:
        run_dir: path.
        output: folder, made if need be.
        which: "best" or "last" weights.
        annotations, images: in any format but TFRecords, and their images, as for `evaluate_run`; where there are no
            annotations in them, or images alone, it is images that are ranked: those to annotate first. Default the
            run's validation data.
        most: how many findings are written.
        kinds: of `review.KINDS`, which are looked for in annotations.
        on_bad_image: "error" or "skip"; default the config's.

    Returns the content of review.json.

    Raises:
        ValueError, FileNotFoundError: no such run, weights or data; says which.
    """
    run = run_dirs.RunDirectory(run_dir)
    config = run.read_config()
    config.data.on_bad_image = on_bad_image or config.data.on_bad_image
    is_folder = bool(images) and not annotations
    content, dataset = _folder(images, config.data) if is_folder else _annotated(config, annotations, images)
    model, _ = run_dirs.load_run(run_dir, which)
    calibration = model.edge_calibration
    is_labelled = bool(content["annotations"])
    level = calibration and calibration.levels[-1]
    judge = review.Review(dataset, level) if is_labelled else information.Information()
    _detect(model, dataset, config, judge)
    if is_labelled:
        findings = judge.ranking(kinds)
        found = review_json.of_annotations(content, dataset, findings[:most])
        notes = [*(_of_trained(run, dataset) if annotations else []), *_of_edges(judge, calibration)]
        shown = {kind: review.KINDS[kind] for kind in kinds}
    else:
        findings, notes, shown = judge.ranking(), [], information.KINDS
        found = review_json.of_images(content, dataset, findings[:most])
    found = {"info": {"description": "gfl-review", "run": str(run_dir), "weights": which, "notes": notes}, **found}
    output = pathlib.Path(output)
    output.mkdir(parents=True, exist_ok=True)
    with files.replacing(output / JSON_FILE) as file:
        json.dump(found, file, indent=1)
    review_page.write(output / PAGE, dataset, findings, most, shown, notes)
    return found


def _detect(model, dataset, config, judge):
    batches = pipeline.evaluation_batches(
        dataset, config.train.evaluation_batch_size, scale=config.data.scale, pad_value=model.pad_value
    )
    with run_images.named_errors():
        coco.collect(model, dataset, batches, coco.detect_function(model), observe=judge.add)


def _annotated(config, annotations, images):
    """(content of the annotations in COCO's form, `CocoDataset`)."""
    run_images.choose(config.data, "val", annotations, images)
    dataset = configs.load_split(config, "val")
    split = "train" if "val" in fields.held_out(config.data) else "val"
    path, folder = config.data[f"{split}_annotations"], config.data[f"{split}_images"]
    names = tuple(config.data.class_names) or None
    found, _ = formats.read(path, folder or None, config.data.format, split, names, config.data.on_bad_image)
    content, _ = coco_entries.read(found, path)
    return {**content, "annotations": content["annotations"] or []}, dataset


def _folder(folder, data):
    """The same of a folder of images."""
    content, images_dir = read_folder(folder, data.class_names, data.on_bad_image)
    names = tuple(data.class_names)
    return content, load_coco(content, images_dir, names, on_bad_image=data.on_bad_image, source=str(folder))


def _of_edges(judge, calibration):
    """What is to be said of the detector's edges."""
    if not judge.has_spread:
        return ["The detector states no spread of its edges: annotations are judged by their IoU with what is found."]
    if calibration is None:
        return ["The spread of the edges is as the network states it, which is too large: gfl-calibrate makes it true."]
    return []


def _of_trained(run, dataset):
    """What is to be said of images that the run was trained on."""
    try:
        count = run_images.num_trained(run, dataset)
    except (OSError, ValueError) as error:
        text = f"Whether the run was trained on these images is not known: {error}"
    else:
        if not count:
            return []
        text = (
            f"The run was trained on {count} of these {len(dataset.images)} images: what it finds there may repeat "
            "their annotations, wrong ones too. Review images with a run that was not trained on them."
        )
    logging.warning("%s", text)
    return [text]
