"""Images on which a run's model is tried: its validation data, what it held out, or others that are named."""

import contextlib
import os
import pathlib

import ml_collections

from gfl_tf.data import images as image_files
from gfl_tf.data.coco import CocoDataset
from gfl_tf.training import config as configs
from gfl_tf.training import fields
from gfl_tf.training.run_dir import RunDirectory


def choose(
    data: ml_collections.ConfigDict,
    split: str,
    annotations: str | os.PathLike | None,
    images: str | os.PathLike | None,
    on_bad_image: str | None = None,
) -> str:
    """Puts annotations, images and "error" or "skip", where they are named, into a run's `config.data` for a split.

    Args:
        data: changed in place.
        split: "val", or another that is held out.

    Returns the data's name, "held_out" where they are.

    Raises:
        ValueError: the data are not there.
    """
    data.on_bad_image = on_bad_image or data.on_bad_image
    if annotations:
        data.update({f"{split}_annotations": str(annotations), f"{split}_images": "", "format": "auto"})
    is_held_out = split in fields.held_out(data)
    split = "train" if is_held_out else split
    paths = {name: data[f"{split}_{name}"] for name in ("annotations", "images")}
    if is_held_out and not os.path.exists(paths["annotations"]):
        raise ValueError(
            f"the images were held out of {paths['annotations']}, which is not there: put it back, or name "
            "other data with --annotations=PATH"
        )
    paths["images"] = data[f"{split}_images"] = str(images or paths["images"])
    fields.check_path(f"{split}_annotations", paths["annotations"], flag="--annotations")
    if paths["images"]:
        fields.check_path(f"{split}_images", paths["images"], flag="--images")
    return "held_out" if is_held_out else pathlib.Path(paths["annotations"]).stem


def named_errors() -> contextlib.AbstractContextManager:
    """Errors of image files while they are read say which file it is, and that it can be left out."""
    return image_files.named_errors("Or leave out such images: --on_bad_image=skip")


def num_trained(run: RunDirectory, dataset: CocoDataset) -> int:
    """How many of a data set's images, by their files, the run was trained on.

    Raises:
        ValueError, FileNotFoundError: its training data cannot be read any more.
    """
    trained = {os.path.realpath(record.path) for record in configs.load_split(run.read_config(), "train").images}
    return sum(os.path.realpath(record.path) in trained for record in dataset.images)
