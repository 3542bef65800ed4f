"""The training and validation parts of a folder, as labelling tools lay it out."""

import collections.abc
import os
import pathlib
import typing

from absl import logging

from gfl_tf.data.formats import voc, yolo
from gfl_tf.data.formats.coco_json import images_folder
from gfl_tf.data.tfrecords import index

# What the folder or file of a part is called.
NAMES = {"train": ("train",), "val": ("valid", "val", "validation")}


class Part(typing.NamedTuple):
    """Where a part lies.

    Attributes:
        annotations: path for `gfl_tf.data.formats.read`.
        images: folder; "" where the format says it.
    """

    annotations: str
    images: str = ""


def find_splits(folder: str | os.PathLike, format: str = "auto") -> dict[str, Part]:
    """The parts of a data set: "train", and "val" where there is one; logged.

    Args:
        folder: of the data set, or its data.yaml.
        format: one of `gfl_tf.data.formats.FORMATS`; "auto": the first of them that is found.

    Raises:
        ValueError: no training data in any known layout; lists the layouts. The data.yaml cannot be read.
    """
    folder = pathlib.Path(folder)
    finders = {"tfrecord": _tfrecord, "coco": _coco, "yolo": _yolo, "voc": _voc, "csv": _csv}
    if format not in ("auto", *finders):
        raise ValueError(f"the format {format!r} is none of auto, {', '.join(finders)}")
    if format != "auto":
        finders = {format: finders[format]}
    found = {each: part for each, find in finders.items() if (part := _first(find, folder, "train"))}
    if not found:
        raise ValueError(
            f"no training data ({', '.join(finders)}) in {folder}. Known are train/tfrecords.json; "
            "train/_annotations.coco.json, annotations/instances_train.json, annotations/train.json; data.yaml, "
            "classes.txt; train/*.xml, ImageSets/Main/train.txt, Annotations/*.xml, *.xml; train/_annotations.csv, "
            "train.csv. Name others with --config.data.train_annotations=PATH"
        )
    chosen, *others = found
    parts = {"train": found[chosen], "val": _first(finders[chosen], folder, "val")}
    also = f"; also there, and not read: {', '.join(others)}" if others else ""
    listed = ", ".join(f"{split}: {part.annotations if part else 'none'}" for split, part in parts.items())
    logging.info("%s: data of the format %s, %s%s", folder, chosen, listed, also)
    return {split: part for split, part in parts.items() if part}


def with_given(found: collections.abc.Mapping[str, Part], given: collections.abc.Mapping[str, Part]) -> dict[str, Part]:
    """{split: `Part`} of what was found, where what is set in the parts that are given wins."""
    parts = dict(found)
    for split, named in given.items():
        part = parts.get(split, Part(""))
        parts[split] = Part(named.annotations or part.annotations, named.images or part.images)
    for split, part in parts.items():
        if part.images and not part.annotations:
            raise ValueError(f"the {split} images {part.images} have no annotations: name these, or leave them out")
    return parts


def _first(find, folder, split):
    return next((part for name in NAMES[split] if (part := find(folder, split, name))), None)


def _tfrecord(folder, split, name):
    places = [folder / name, folder] if split == "train" else [folder / name]
    return next((Part(str(place)) for place in places if index.find(place) == place), None)


def _coco(folder, split, name):
    inside = folder / name / "_annotations.coco.json"
    if inside.is_file():
        return _with_images(inside, (inside.parent, inside.parent / "images"))
    found = sorted((folder / "annotations").glob(f"instances_{name}*.json"))
    if len(found) > 1:
        raise ValueError(f"{folder} has several parts '{name}': {', '.join(map(str, found))}; name one of them")
    found += [path for path in [folder / "annotations" / f"{name}.json"] if path.is_file()]
    for path in found:
        part = path.stem.removeprefix("instances_")
        return _with_images(path, (folder / part, folder / "images" / part, folder / "images", folder))


def _with_images(path, folders):
    return Part(str(path), str(images_folder(path, folders) or ""))


def _yolo(folder, split, name):
    settings = yolo.settings_file(folder)
    if settings and (split == "train" or yolo.has_split(settings, split)):
        return Part(str(settings))


def _voc(folder, split, name):
    listed = folder / "ImageSets" / "Main" / f"{name}.txt"
    places = [folder / name, folder / "Annotations", folder] if split == "train" else [folder / name]
    if listed.is_file():
        return Part(str(listed))
    return next((Part(str(place)) for place in places if _has_xml(place)), None)


def _has_xml(place):
    """Whether one lies in a folder itself."""
    return place.is_dir() and any(path.suffix.lower() in voc.SUFFIXES for path in place.iterdir())


def _csv(folder, split, name):
    places = (folder / name / "_annotations.csv", folder / f"{name}.csv")
    return next((Part(str(place)) for place in places if place.is_file()), None)
