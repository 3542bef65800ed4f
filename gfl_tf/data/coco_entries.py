"""COCO JSON as it stands: read, and the fields of each entry checked against a table."""

import collections.abc
import json
import math
import os
import reprlib
import typing

from gfl_tf.data import faults

MAX_SIDE_PX = 2**24  # float32, in which boxes are kept, counts whole pixels up to here


class Field(typing.NamedTuple):
    """What a field of an entry must be. Where it is not required, null stands for a missing one."""

    fits: collections.abc.Callable[[typing.Any], bool]
    wanted: str
    required: bool = True


def as_float(value: typing.Any) -> float:
    """A JSON value as float: NaN where it is no number (true and false are none), infinity where it is too large."""
    if not _is_number(value):
        return math.nan
    try:
        return float(value)
    except OverflowError:
        return math.inf


def _is_number(value):
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _is_id(value):
    return isinstance(value, str) or math.isfinite(as_float(value))


def _is_text(value):
    """Whether `value` is text that can name a file or stand in one."""
    if not isinstance(value, str) or "\0" in value:
        return False
    return value != "" and value.encode("utf-8", "ignore").decode() == value  # half of a surrogate pair is no text


def _is_name(value):
    return _is_text(value) or math.isfinite(as_float(value))


def _is_side(value):
    side = as_float(value)
    return 1 <= side <= MAX_SIDE_PX and side == int(side)


def _is_bbox(value):
    return isinstance(value, (list, tuple)) and len(value) == 4 and all(map(_is_number, value))


_ID = Field(_is_id, "a number or a text")
_SIDE = Field(_is_side, f"a whole number of pixels from 1 to {MAX_SIDE_PX}")
IMAGE = {"id": _ID, "file_name": Field(_is_text, "a file name"), "height": _SIDE, "width": _SIDE}
CATEGORY = {"id": _ID, "name": Field(_is_name, "a text")}
ANNOTATION = {
    "id": _ID,
    "image_id": _ID,
    "category_id": _ID,
    "bbox": Field(_is_bbox, "four numbers: x, y, width, height"),
    "iscrowd": Field(lambda value: value in (0, 1, "0", "1"), "0 or 1", required=False),
}


def read(annotations: dict[str, typing.Any] | str | os.PathLike, source: str) -> tuple[dict[str, typing.Any], str]:
    """(content, how messages name it) of a COCO file, or of its content as a dict, which they name `source`.

    A file may be in UTF-8, UTF-16 or UTF-32, with or without a byte-order mark. It may lack "annotations", as the lists
    of images without published ground truth do.

    Raises:
        FileNotFoundError, ValueError: no such file, or it is no COCO detection JSON.
    """
    if not isinstance(annotations, dict):
        source = str(annotations)
    content = annotations if isinstance(annotations, dict) else _read_json(source)
    if not isinstance(content, dict):
        raise ValueError(
            f"{source} holds a {type(content).__name__} at its top; COCO annotations are an object"
            " with images, annotations and categories."
        )
    content = {"annotations": None, **content}
    for key, kinds in (("images", list), ("categories", list), ("annotations", (list, type(None)))):
        if not isinstance(content.get(key), kinds):
            raise ValueError(f"{source} has no list '{key}'; a COCO detection file needs one.")
    return content, source


def _read_json(path):
    if not os.path.isfile(path):
        raise FileNotFoundError(f"There is no annotation file {path}.")
    with open(path, "rb") as file:
        try:
            return json.loads(file.read())  # of bytes: it tells the encoding
        except (ValueError, RecursionError) as error:
            raise ValueError(f"{path} is not valid JSON: {error}") from error


def checked(entries: list, fields: dict[str, Field], kind: str, source: str) -> dict[typing.Any, dict]:
    """{id: entry} of a list of entries of one kind.

    Raises:
        ValueError: fields are missing or not what `fields` wants, or ids occur twice; names the entries, see
            `gfl_tf.data.faults`.
    """
    by_id = {}

    def check(numbered):
        position, entry = numbered
        for key, field in fields.items():
            value = entry.get(key) if isinstance(entry, dict) else None
            if value is None and not field.required:
                continue
            if not field.fits(value):
                raise ValueError(f"{source}: {_name(kind, entry, position)} {_fault(entry, key, field)}")
        if entry["id"] in by_id:
            raise ValueError(f"{source}: {kind} id {entry['id']!r} occurs twice; ids must be unique.")
        by_id[entry["id"]] = entry

    faults.each(check, enumerate(entries))
    return by_id


def _fault(entry, key, field):
    if not isinstance(entry, dict) or key not in entry:
        return f"has no '{key}'."
    return f"has {key} {reprlib.repr(entry[key])}; it must be {field.wanted}."


def _name(kind, entry, position):
    if not isinstance(entry, dict) or not _is_id(entry.get("id")):
        return f"{kind} number {position} of the list"
    file_name = f" ({entry['file_name']})" if _is_text(entry.get("file_name")) else ""
    return f"{kind} {entry['id']}{file_name}"
