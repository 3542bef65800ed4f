"""YOLO: one text file of boxes per image, and a data.yaml with the classes and the folders, or a classes.txt.

A line is `class x y width height`, the class counted from 0, the box by its centre, all in fractions of the image. A
longer line is a polygon, `class x1 y1 x2 y2 x3 y3 ...`, as segmentation exports have it.
"""

import os
import pathlib

import yaml
from absl import logging

from gfl_tf import texts
from gfl_tf.data import faults
from gfl_tf.data import images as image_files
from gfl_tf.data.formats import entries
from gfl_tf.data.formats.entries import Box, Entry, Export

YAML_NAMES = ("data.yaml", "data.yml", "dataset.yaml", "dataset.yml")
CLASSES = "classes.txt"
# What data.yaml may call a split, and where its images lie if there is no word of it.
_KEYS = {"train": ("train",), "val": ("val", "valid", "validation"), "test": ("test",)}
_FOLDERS = {
    "train": ("images/train", "train/images", "images"),
    "val": ("images/val", "images/valid", "val/images", "valid/images"),
    "test": ("images/test", "test/images"),
}
_ROUNDING = 1e-6  # by which written fractions may leave 0..1


def settings_file(path: str | os.PathLike) -> pathlib.Path | None:
    """The data.yaml or classes.txt of a data set: `path` itself, if it is a file, or in the folder `path`."""
    path = pathlib.Path(path)
    if path.is_file():
        return path
    return next((path / name for name in (*YAML_NAMES, CLASSES) if (path / name).is_file()), None)


def has_split(path: str | os.PathLike, split: str) -> bool:
    """Whether a data set has images of a split; one that is named and not there is logged.

    Raises:
        ValueError: the settings cannot be read.
    """
    file = settings_file(path)
    try:
        return bool(_places(file, _settings(file), split))
    except FileNotFoundError as error:
        logging.warning("%s; going on without it", error)
        return False


def read_yolo(path: str | os.PathLike, images_dir: str | os.PathLike | None = None, split: str = "train") -> Export:
    """Reads one split.

    Images without a label file, and with an empty one, have no boxes. The label file of `images/a.jpg` is
    `labels/a.txt`, or beside the image. Polygons become their bounding boxes, and are counted in one warning.

    Args:
        path: data.yaml or classes.txt, or the folder with it.
        images_dir: folder with the images, in place of the split's in data.yaml.
        split: "train", "val" or "test".

    Raises:
        FileNotFoundError, ValueError: naming the files, their lines, and what is wrong; see `gfl_tf.data.faults`.
    """
    if split not in _KEYS:
        raise ValueError(f"the split {split!r} is none of {', '.join(_KEYS)}")
    file = settings_file(path)
    if file is None:
        raise FileNotFoundError(f"there is no {YAML_NAMES[0]} and no {CLASSES} in {path}, to name the classes of YOLO")
    settings = _settings(file)
    names = _class_names(file, settings)
    places = [pathlib.Path(images_dir)] if images_dir else _places(file, settings, split)
    if not places:
        raise ValueError(
            f"{file} names no images of '{split}': add the line `{split}: FOLDER`, or name the folder of images"
        )
    images = [image for place in places for image in _images(place, file)]
    if not images:
        raise FileNotFoundError(f"{_listed(places)} has no image ({', '.join(image_files.SUFFIXES)})")
    logging.info("%s, %s: the images are those of %s", file, split, _listed(places))
    labels = [_label_file(image) for image in images]
    _check_labels(images, labels, file)
    if all(place.is_dir() for place in places):  # a list of images may leave some out
        _name_strays(labels)
    read = faults.each(lambda label: _boxes(label, names) if os.path.isfile(label) else ([], 0), labels)
    polygons = sum(count for _, count in read)
    if polygons:
        logging.warning("%s, %s: %d polygons became their bounding boxes", file, split, polygons)
    found = [
        Entry(str(image), None, boxes, str(label), relative=True)
        for image, label, (boxes, _) in zip(images, labels, read)
    ]
    return Export(str(file), str(places[0]), found, names)


def _settings(file):
    if file.suffix == ".txt":
        return {"names": [line.strip() for line in entries.read_text(file).splitlines() if line.strip()]}
    try:
        # The base loader leaves all scalars as they are written: a class may be called "no" or "1".
        settings = yaml.load(file.read_bytes(), yaml.BaseLoader)
    except yaml.YAMLError as error:
        raise ValueError(f"{file} is not valid YAML: {' '.join(str(error).split())}") from error
    if not isinstance(settings, dict):
        raise ValueError(f"{file} has no fields such as `train: train/images` and `names: [cat, dog]`")
    if "kpt_shape" in settings:
        raise ValueError(f"{file} has keypoints (kpt_shape): export the data for object detection, not for poses")
    return settings


def _class_names(file, settings):
    names = settings.get("names")
    if isinstance(names, dict):
        try:
            by_id = {int(key): name for key, name in names.items()}
        except ValueError:
            by_id = {}
        if sorted(by_id) != list(range(len(names))):
            raise ValueError(f"{file}: the keys of names must be 0 to {len(names) - 1}; they are {', '.join(names)}")
        names = [by_id[index] for index in range(len(names))]
    if not isinstance(names, list) or not names or not all(isinstance(name, str) and name for name in names):
        raise ValueError(f"{file} has no names of classes: add them in order, such as `names: [cat, dog]`")
    count = settings.get("nc", str(len(names)))
    if count != str(len(names)):
        raise ValueError(f"{file}: nc is {count}, but there are {len(names)} names: {', '.join(names)}")
    return tuple(names)


def _places(file, settings, split):
    """The folders of images, or text files that list them, of a split; none where there is no word of it."""
    root = settings.get("path") or "."
    if not isinstance(root, str):
        raise ValueError(f"{file}: path is {root!r}; it must be a folder")
    bases = [base for base in dict.fromkeys((file.parent / root, file.parent)) if os.path.isdir(base)]
    value = next((settings[key] for key in _KEYS[split] if settings.get(key)), None)
    if value is None:
        return [place for name in _FOLDERS[split] for base in bases if (place := base / name).is_dir()][:1]
    names = value if isinstance(value, list) else [value]
    return [_place(file, bases, split, name) for name in names]


def _place(file, bases, split, name):
    if not isinstance(name, str):
        raise ValueError(f"{file}: {split} is {name!r}; it must be a folder, or a text file that lists images")
    below = name
    while below.startswith(("../", "./")):  # Roboflow writes ../train/images for train/images beside the file
        below = below.partition("/")[2]
    tried = list(dict.fromkeys(base / each for each in (name, below) for base in bases))
    found = next((place for place in tried if os.path.exists(place)), None)  # Path.exists fails on a name too long
    if found is None:
        raise FileNotFoundError(
            f"{file}: {split} is {name}, but there is no {' and no '.join(map(str, tried))}: correct the line, or name "
            "the folder of images"
        )
    return found


def _images(place, file):
    """Absolute paths of the images in a folder and those below it, or of those that a text file lists."""
    if place.is_dir():
        found = entries.files_below(place, image_files.SUFFIXES)
        return sorted(pathlib.Path(os.path.abspath(path)) for path in found)
    lines = [line.strip() for line in entries.read_text(place).splitlines()]
    found = []
    for line in filter(None, lines):
        tried = [pathlib.Path(os.path.abspath(base / line)) for base in (place.parent, file.parent)]
        found.append(next((path for path in tried if os.path.isfile(path)), tried[0]))
    return found


def _label_file(image):
    """Where the boxes of an image are: its path has `labels` in place of the last `images`, or they lie beside it."""
    parts = image.parent.parts
    if "images" in parts:
        last = len(parts) - 1 - parts[::-1].index("images")
        folder = pathlib.Path(*parts[:last], "labels", *parts[last + 1 :])
        if os.path.isdir(folder):
            return folder / f"{image.stem}.txt"
    return image.with_suffix(".txt")


def _check_labels(images, labels, file):
    """Refuses a data set without any label file."""
    if not any(map(os.path.isfile, labels)):
        raise FileNotFoundError(
            f"none of the {len(images)} images of {file} has a label file: there is no {labels[0]} for {images[0]}"
        )


def _name_strays(labels):
    """Says which label files beside `labels` have no image."""
    known = {*labels, *(label.parent / CLASSES for label in labels)}
    beside = {path for folder in {label.parent for label in labels} if folder.is_dir() for path in folder.iterdir()}
    strays = [path for path in sorted(beside - known) if path.suffix.lower() == ".txt" and not _is_read(path)]
    if strays:
        known_images = ", ".join(image_files.SUFFIXES)
        logging.warning("%d label files have no image (%s): %s", len(strays), known_images, _listed(strays))


def _is_read(label):
    """Whether a file .TXT is found as .txt: some file systems make no difference."""
    return label.suffix != ".txt" and label.with_suffix(".txt").is_file()


def _boxes(label, names):
    """(the boxes of a label file, how many of them were polygons)."""
    lines = [
        (f"{label} line {number}", line.split())
        for number, line in enumerate(entries.read_text(label).splitlines(), 1)
        if line.strip()
    ]
    read = faults.each(lambda line: _numbers(*line, names), lines)
    boxes = [Box(name, _corners(values), where) for (where, _), (name, values) in zip(lines, read)]
    return boxes, sum(len(values) > 4 for _, values in read)


def _numbers(where, cells, names):
    """(class name, the numbers behind it) of a line."""
    try:
        class_id, *values = (entries.finite(cell) for cell in cells)
    except ValueError as error:
        raise ValueError(f"{where} is no line of numbers: {error}") from error
    if len(values) == 5:
        raise ValueError(
            f"{where} has six numbers: a confidence, as predictions have it? Wanted are `class x y width height`: "
            "export the annotations, or remove the last column"
        )
    if len(values) < 4 or len(values) % 2:
        raise ValueError(f"{where} has {len(cells)} numbers; wanted are `class x y width height`, or a polygon")
    if class_id not in range(len(names)):
        raise ValueError(
            f"{where} has class {cells[0]}, but there are {len(names)} classes, 0 to {len(names) - 1}: correct the "
            "line, or the names of the classes"
        )
    for value in values:
        if not -_ROUNDING <= value <= 1 + _ROUNDING:
            raise ValueError(f"{where} has {value:g}; all must be fractions of the image, from 0 to 1")
    return names[int(class_id)], values


def _corners(values):
    if len(values) == 4:
        x, y, width, height = values
        return x - width / 2, y - height / 2, x + width / 2, y + height / 2
    return min(values[::2]), min(values[1::2]), max(values[::2]), max(values[1::2])


def _listed(items):
    return ", ".join(texts.first_ones(list(map(str, items))))
