"""What every reader makes of its files, a list of images with boxes, and how that becomes COCO's dict."""

import collections.abc
import dataclasses
import math
import os
import pathlib
import typing

from absl import logging

from gfl_tf.data import faults, headers, image_checks
from gfl_tf.data import images as image_files


class Box(typing.NamedTuple):
    """One object.

    Attributes:
        name: of its class.
        corners: left, top, right, bottom: edges, counted from 0.
        where: file, and line or number, for messages.
        difficult: whether the format marks it so.
    """

    name: str
    corners: tuple[float, float, float, float]
    where: str
    difficult: bool = False


class Entry(typing.NamedTuple):
    """One image.

    Attributes:
        file_name: relative to the folder of images, or absolute.
        size: (width, height) in pixels; None: the image file says it.
        boxes: its objects, in pixels, or in fractions of the image where `relative`.
        where: what annotates it, for messages.
        relative: see `boxes`.
    """

    file_name: str
    size: tuple[int, int] | None
    boxes: list[Box]
    where: str
    relative: bool = False


@dataclasses.dataclass(frozen=True)
class Export:
    """What a reader returns.

    Attributes:
        source: the path that was read, for messages.
        images_dir: the folder of the images.
        entries: list of `Entry`.
        class_names: as the format lists them; None: it has no list, the classes are those that occur.
    """

    source: str
    images_dir: str
    entries: list[Entry]
    class_names: tuple[str, ...] | None = None


def to_coco(
    export: Export, class_names: collections.abc.Sequence[str] | None = None, on_bad_image: str = "error"
) -> tuple[dict[str, typing.Any], str]:
    """(content of a COCO JSON file, the folder of its images); ids count from 1, in the order of the entries.

    The folder is the export's, or, if an image lies outside, the deepest that has them all.

    Args:
        export: what a reader returned.
        class_names: the classes in the wanted order; by default the format's list, or all that occur, sorted.
        on_bad_image: "skip": an image whose size only its file could say, and does not, is logged and left out; the
            list "skipped" of the content has its id, file name and number of boxes, and says why ("problem").

    Raises:
        ValueError: objects of a class that is not among the names; images annotated twice or unreadable; see
            `gfl_tf.data.faults`.
    """
    names = _names(export, class_names)
    images_dir, file_names = _below_one_folder(export)
    category_of = {name: index + 1 for index, name in enumerate(names)}
    images, annotations, skipped, seen = [], [], [], {}

    def add(numbered):
        image_id, (entry, file_name) = numbered
        if file_name in seen:
            raise ValueError(
                f"{entry.where} and {seen[file_name]} both annotate the image {file_name} of {images_dir}: remove one"
            )
        seen[file_name] = entry.where
        image = {"id": image_id, "file_name": file_name}
        try:
            width, height = entry.size or image_size(os.path.join(images_dir, file_name), entry.where)
        except ValueError as error:
            if on_bad_image != "skip":
                raise ValueError(
                    f"{error}: mend it, remove its annotations, or let gfl-train leave out all such images with "
                    f"{image_checks.SKIP_FLAG}"
                ) from error
            logging.warning("%s; skipped", error)
            skipped.append({**image, "num_boxes": len(entry.boxes), "problem": str(error)})
            return
        images.append({**image, "width": width, "height": height})
        scale = (width, height) if entry.relative else (1, 1)
        for annotation in faults.each(lambda box: _annotation(box, image_id, category_of, scale), entry.boxes):
            annotations.append({"id": len(annotations) + 1, **annotation})

    faults.each(add, enumerate(zip(export.entries, file_names), 1))
    categories = [{"id": category_of[name], "name": name} for name in names]
    content = {"images": images, "annotations": annotations, "categories": categories}
    return {**content, "skipped": skipped} if skipped else content, images_dir


def _below_one_folder(export):
    """(folder, file names relative to it, none of which leads out of it)."""
    folder = os.path.abspath(export.images_dir)
    paths = [os.path.abspath(os.path.join(folder, entry.file_name)) for entry in export.entries]
    if any(os.path.commonpath([folder, path]) != folder for path in paths):
        folder = os.path.commonpath([os.path.dirname(path) for path in paths])
    return folder, [os.path.relpath(path, folder) for path in paths]


def _names(export, class_names):
    listed = export.class_names
    if class_names and listed:
        for name in class_names:
            if name not in listed:
                raise ValueError(f"class name '{name}' is none of {export.source}; it has {', '.join(listed)}")
    names = class_names or listed or sorted({box.name for entry in export.entries for box in entry.boxes})
    if not names:
        raise ValueError(f"{export.source} has no object, so its classes are not known: name them, or check the path")
    return tuple(names)


def _annotation(box, image_id, category_of, scale):
    """COCO's, without its id. `scale`: what a unit of the box is in pixels, along x and y."""
    if box.name not in category_of:
        raise ValueError(
            f"{box.where} has an object of class '{box.name}', which is not among {', '.join(category_of)}: add it "
            "to the class names, or remove its objects"
        )
    x1, y1, x2, y2 = (corner * scale[axis % 2] for axis, corner in enumerate(box.corners))
    # A box without extent stays one, for load_coco to report.
    width, height = max(x2 - x1, 0.0), max(y2 - y1, 0.0)
    return {
        "image_id": image_id,
        "category_id": category_of[box.name],
        "bbox": [x1, y1, width, height],
        "area": width * height,
        "iscrowd": 0,
        "difficult": int(box.difficult),
    }


def image_size(path: str | os.PathLike, where: str) -> tuple[int, int]:
    """(width, height) of an image file as labelling tools show it: turned as its EXIF orientation says.

    Raises:
        ValueError: missing, or no image that can be read; `where` is what annotates it.
    """
    if not os.path.isfile(path):
        raise ValueError(f"the image {path} of {where} is missing")
    try:
        header = headers.read_header(path)
    except ValueError as error:
        raise ValueError(f"the image of {where}: {error}") from error
    size = header.width, header.height
    return size[::-1] if header.orientation in range(5, 9) else size


def find_image(
    names: collections.abc.Sequence[str | None], images_dir: pathlib.Path, subfolder: str | os.PathLike = "."
) -> str:
    """The path of an image file, relative to `images_dir`.

    Each name is tried as it is, as its last part alone (labelling tools write paths of other machines), and with the
    endings of images, in the subfolder of `images_dir` and then in itself. Where there is no such file, the path is the
    first name.
    """
    names = [name.strip().replace("\\", "/") for name in names if name and name.strip()]
    names += [name.rsplit("/", 1)[-1] for name in names]
    endings = [ending for suffix in image_files.SUFFIXES for ending in (suffix, suffix.upper())]
    names += [f"{stem}{ending}" for name in names for stem in dict.fromkeys((name, _stem(name))) for ending in endings]
    for name in filter(None, dict.fromkeys(names)):
        for folder in (images_dir / subfolder, images_dir):
            path = folder / name
            if os.path.isfile(path):  # Path.is_file fails on a name too long
                return os.path.relpath(path, images_dir)
    is_absolute = bool(pathlib.PureWindowsPath(names[0]).anchor)  # of any system
    return names[0].rsplit("/", 1)[-1] if is_absolute else names[0]


def _stem(name):
    return os.path.splitext(name)[0]


def files_below(
    folder: str | os.PathLike, suffixes: collections.abc.Collection[str]
) -> collections.abc.Iterator[pathlib.Path]:
    """The files in a folder and those below it whose ending, in lower case, is one of `suffixes`.

    Links to folders are followed, but none is read twice.
    """
    seen = set()
    for place, subfolders, names in os.walk(folder, followlinks=True):
        subfolders.sort()
        real = os.path.realpath(place)
        if real in seen:
            subfolders.clear()
            continue
        seen.add(real)
        yield from (pathlib.Path(place, name) for name in sorted(names) if _suffix(name) in suffixes)


def _suffix(name):
    return os.path.splitext(name)[1].lower()


def finite(text: str | None) -> float:
    """The number that a text is.

    Raises:
        ValueError: no number, or not finite.
    """
    value = float(text if text is not None else "")
    if not math.isfinite(value):
        raise ValueError(f"{text} is not finite")
    return value


def read_text(path: str | os.PathLike) -> str:
    """A text file in UTF-8, with or without byte order mark.

    Raises:
        ValueError: in another encoding.
        FileNotFoundError: not there.
    """
    try:
        return pathlib.Path(path).read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} is not in UTF-8 (byte {error.start}): save it in that encoding") from error
