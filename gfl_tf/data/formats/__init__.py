"""Annotations as labelling tools write them, brought into the one form that `load_coco` takes."""

import collections.abc
import os
import pathlib
import typing

from gfl_tf.data.formats import entries, voc
from gfl_tf.data.formats.coco_json import read_coco
from gfl_tf.data.formats.csv_file import read_csv
from gfl_tf.data.formats.entries import to_coco
from gfl_tf.data.formats.voc import read_voc
from gfl_tf.data.formats.yolo import read_yolo, settings_file
from gfl_tf.data.tfrecords import index

FORMATS = ("coco", "voc", "yolo", "csv", "tfrecord")
WANTED = (
    "a .json file (COCO), a folder of .xml files (Pascal VOC), a data.yaml or a folder with it (YOLO), a .csv file, a "
    "folder of gfl-make-tfrecords"
)
_SUFFIXES = {".json": "coco", ".csv": "csv", ".yaml": "yolo", ".yml": "yolo", ".txt": "voc"}


def read(
    path: str | os.PathLike,
    images_dir: str | os.PathLike | None = None,
    format: str = "auto",
    split: str = "train",
    class_names: collections.abc.Sequence[str] | None = None,
    on_bad_image: str = "error",
) -> tuple[dict[str, typing.Any] | str, str]:
    """Reads annotations in any of `FORMATS` but TFRecords, which `load_tfrecords` reads.

    Args:
        path: a COCO JSON file, a folder of Pascal VOC's XML files or its ImageSets/Main/NAME.txt, the data.yaml or
            classes.txt of YOLO or the folder with it, or a CSV file.
        images_dir: folder of the images; None: where the format has them, see its reader.
        format: one of `FORMATS`; "auto": see `guess`.
        split: of YOLO's data.yaml, which has several: "train", "val" or "test".
        class_names: the classes in the wanted order; by default those that the format lists, or all that occur,
            sorted. Not for COCO: `load_coco` takes them.
        on_bad_image: "error", or "skip": an image whose size has to be read, and cannot be, is left out.

    Returns:
        (what `load_coco` takes: the path of a COCO JSON file or a dict of its form, the folder of the images).

    Raises:
        FileNotFoundError, ValueError: naming the file, the line or entry, and what is wrong with it.
    """
    format = guess(path) if format == "auto" else format
    if format not in FORMATS:
        raise ValueError(f"the format {format!r} is none of auto, {', '.join(FORMATS)}")
    if format == "tfrecord":
        raise ValueError(f"{path} has TFRecords, which gfl-train and gfl-evaluate read: name the data that they are of")
    if format in ("coco", "csv") and not os.path.isfile(path):
        raise ValueError(f"{path} is no file, as the format {format} needs; wanted is {WANTED}")
    if format == "coco":
        return read_coco(path, images_dir)
    if format == "yolo":
        export = read_yolo(path, images_dir, split)
    else:
        export = (read_voc if format == "voc" else read_csv)(path, images_dir)
    return to_coco(export, class_names, on_bad_image)


def guess(path: str | os.PathLike) -> str:
    """The format of annotations, one of `FORMATS`, by the name of the file or by what a folder holds.

    Raises:
        ValueError: none that is known; lists what is.
    """
    path = pathlib.Path(path)
    if index.find(path):
        found = "tfrecord"
    elif path.is_file():
        found = "yolo" if path.name == "classes.txt" else _SUFFIXES.get(path.suffix.lower())
    elif settings_file(path):
        found = "yolo"
    else:
        found = "voc" if next(entries.files_below(path, voc.SUFFIXES), None) else None
    if found is None:
        raise ValueError(f"the format of {path} is not known; wanted is {WANTED}")
    return found
