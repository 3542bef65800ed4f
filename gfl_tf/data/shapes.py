"""The embedded data set: synthetic pictures of shapes in COCO format, drawn from a seed.

It stands in for real data where none can be downloaded: the default of `make train`, tests and
examples. What the pictures hold is in `shape_scenes`.
"""

import io
import json
import os
import pathlib

import numpy as np
from absl import logging
from PIL import Image

from gfl_tf import files
from gfl_tf.data import shape_scenes
from gfl_tf.data.shape_scenes import CATEGORIES, CLASS_NAMES

__all__ = ["CATEGORIES", "CLASS_NAMES", "write_shapes"]

# Written into the annotation file; data of another version is drawn anew.
GENERATOR = "gfl_tf shapes"
VERSION = 1
_JPEG_QUALITY = 92


def write_shapes(
    directory: str | os.PathLike,
    num_train: int = 2000,
    num_val: int = 300,
    image_size: tuple[int, int] = (192, 256),
    seed: int = 0,
) -> dict[str, tuple[pathlib.Path, pathlib.Path]]:
    """Writes the data set, unless it is there already, complete and with the same settings.

    The files are `{train,val}/000001.jpg ...` and `annotations/{train,val}.json`. Each picture depends
    on the seed, its split and its number alone: a larger set begins with the pictures of a smaller one.
    The annotation file is written last, so a generation that was interrupted is done again.

    Args:
      directory: where to write; created when missing.
      num_train: number of training pictures.
      num_val: number of pictures held out.
      image_size: (height, width) in pixels, each at least 64.
      seed: a non-negative integer.

    Returns:
      A dict from split name to `(annotation file, image folder)` as pathlib.Path.

    Raises:
      ValueError: for sizes that cannot be drawn, and where an annotation file that this function did
        not write is in the way.
    """
    height, width = image_size
    if min(height, width) < 64:
        raise ValueError(f"image_size must be at least (64, 64), got {tuple(image_size)}")
    if min(num_train, num_val) < 1:
        raise ValueError(f"num_train and num_val must be at least 1, got {num_train} and {num_val}")
    directory = pathlib.Path(directory)
    paths = {}
    for split_index, (split, count) in enumerate((("train", num_train), ("val", num_val))):
        annotations, images = directory / "annotations" / f"{split}.json", directory / split
        info = {
            "description": GENERATOR,
            "version": VERSION,
            "seed": int(seed),
            "split": split,
            "image_size": [int(height), int(width)],
            "num_images": int(count),
        }
        if not _is_complete(annotations, images, info):
            _write_split(annotations, images, info, split_index)
        paths[split] = (annotations, images)
    return paths


def _is_complete(annotations, images, info):
    if not annotations.exists():
        return False
    try:
        found = json.loads(annotations.read_text())
        found_info = found.get("info", {})
    except (ValueError, AttributeError):
        found_info = {}
    if found_info.get("description") != GENERATOR:
        raise ValueError(
            f"{annotations} was not written by the shapes generator and is left as it is: "
            "choose another directory, or remove the file"
        )
    return found_info == info and all((images / record["file_name"]).exists() for record in found["images"])


def _write_split(annotations, images, info, split_index):
    annotations.parent.mkdir(parents=True, exist_ok=True)
    images.mkdir(parents=True, exist_ok=True)
    annotations.unlink(missing_ok=True)
    logging.info("Drawing %d pictures of shapes into %s", info["num_images"], images)
    image_records, annotation_records = [], []
    for image_id in range(1, info["num_images"] + 1):
        rng = np.random.default_rng((info["seed"], split_index, image_id))
        scene = shape_scenes.sample_scene(rng, info["image_size"])
        encoded = io.BytesIO()
        Image.fromarray(shape_scenes.paint_scene(rng, scene)).save(encoded, "JPEG", quality=_JPEG_QUALITY)
        file_name = f"{image_id:06d}.jpg"
        # Readers, and another process that draws the same data, never see half a file.
        files.write(images / file_name, encoded.getvalue())
        height, width = info["image_size"]
        image_records.append({"id": image_id, "file_name": file_name, "height": height, "width": width})
        for record in shape_scenes.annotate_scene(scene):
            annotation_records.append({"id": len(annotation_records) + 1, "image_id": image_id, **record})
    for stale in images.glob("[0-9][0-9][0-9][0-9][0-9][0-9].jpg"):
        if int(stale.stem) > info["num_images"]:
            stale.unlink()
    content = {
        "info": info,
        "licenses": [],
        "categories": [{"id": i, "name": name, "supercategory": "shape"} for i, name in CATEGORIES.items()],
        "images": image_records,
        "annotations": annotation_records,
    }
    with files.replacing(annotations) as file:
        json.dump(content, file)
