"""Annotations in any format into one COCO JSON file."""

import collections.abc
import json
import os
import pathlib

from gfl_tf.data import formats
from gfl_tf.data.coco import CocoDataset, load_coco
from gfl_tf.data.formats.entries import to_coco
from gfl_tf.data.formats.voc import read_voc
from gfl_tf.files import replacing


def convert(
    path: str | os.PathLike,
    output: str | os.PathLike,
    images_dir: str | os.PathLike | None = None,
    format: str = "auto",
    class_names: collections.abc.Sequence[str] | None = None,
    split: str | None = None,
    split_file: str | os.PathLike | None = None,
    keep_difficult: bool = True,
) -> tuple[CocoDataset, str]:
    """Writes COCO JSON, once it has been read as a training does it.

    Args:
        path, images_dir, format, class_names: see `gfl_tf.data.formats.read`.
        output: the JSON file; its folder is made.
        split: "train", "val" or "test", of YOLO; default "train".
        split_file: see `read_voc`; of Pascal VOC.
        keep_difficult: of Pascal VOC: whether objects marked difficult are kept, as ordinary boxes (with
            "difficult": 1 in their annotation).

    Returns:
        (what the file holds, the folder that its file names are relative to).

    Raises:
        FileNotFoundError, ValueError: as `gfl_tf.data.formats.read` and `load_coco`; an option of another format.
    """
    format = formats.guess(path) if format == "auto" else format
    if format == "coco":
        raise ValueError(f"{path} is COCO JSON already")
    for name, given, owner in (
        ("split", split, "yolo"),
        ("split_file", split_file, "voc"),
        ("nodifficult", not keep_difficult, "voc"),
    ):
        if given and format != owner:
            raise ValueError(f"--{name} is of the format {owner}, and {path} is of the format {format}: leave it out")
    if split_file:
        content, images_dir = to_coco(read_voc(path, images_dir, split_file), class_names)
    else:
        content, images_dir = formats.read(path, images_dir, format, split or "train", class_names)
    if not keep_difficult:
        content["annotations"] = [each for each in content["annotations"] if not each["difficult"]]
    dataset = load_coco(content, images_dir, source=str(path))
    output = pathlib.Path(output)
    output.parent.mkdir(parents=True, exist_ok=True)
    with replacing(output) as file:
        json.dump(content, file)
    return dataset, images_dir
