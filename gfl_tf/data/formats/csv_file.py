"""A table of boxes: one line per box, with a header that names the columns, or RetinaNet's six columns without one."""

import csv
import os
import pathlib

from absl import logging

from gfl_tf.data import faults
from gfl_tf.data.formats import entries
from gfl_tf.data.formats.entries import Box, Entry, Export

DELIMITERS = ",;\t"
# What columns may be called, in lower case and without anything but letters and digits; of two, the first counts.
COLUMNS = {
    "file": ("file", "filename", "imagepath", "imagefile", "imagename", "imgpath", "image", "img", "path"),
    "class": ("class", "label", "classname", "labelname", "category", "name"),
    "xmin": ("xmin", "x1", "left"),
    "ymin": ("ymin", "y1", "top"),
    "xmax": ("xmax", "x2", "right"),
    "ymax": ("ymax", "y2", "bottom"),
    "x": ("x", "bboxx"),
    "y": ("y", "bboxy"),
    "width": ("width", "w", "bboxwidth", "bboxw"),
    "height": ("height", "h", "bboxheight", "bboxh"),
    "image width": ("imagewidth", "imgwidth"),
    "image height": ("imageheight", "imgheight"),
}
CORNERS = ("xmin", "ymin", "xmax", "ymax")
SIDES = ("x", "y", "width", "height")
IMAGE_SIZE = ("image width", "image height")
WITHOUT_HEADER = ("file", *CORNERS, "class")


def read_csv(path: str | os.PathLike, images_dir: str | os.PathLike | None = None) -> Export:
    """Reads a table whose delimiter is a comma, a semicolon or a tab.

    The box is xmin, ymin, xmax, ymax, or x, y, width, height, in pixels from the upper left corner. A line whose box
    is empty stands for an image without boxes. Beside corners, width and height are those of the image, where it has
    none of its own; they need not be there.

    Args:
        path: the file.
        images_dir: the folder that its names of images are relative to; by default the file's own.

    Raises:
        FileNotFoundError, ValueError: naming the file, its lines, and what is wrong; see `gfl_tf.data.faults`.
    """
    path = pathlib.Path(path)
    images_dir = pathlib.Path(images_dir or path.parent)
    columns, rows, delimiter = _table(path)
    box_columns = CORNERS if "xmin" in columns else SIDES
    size_columns = ("width", "height") if "width" in columns and box_columns == CORNERS else IMAGE_SIZE
    found, names, names_of = {}, {}, {}  # entry of a name, path of a name, name of a path

    def add(numbered_row):
        number, row = numbered_row
        where = f"{path} line {number}"
        cells = {column: row[index].strip() for column, index in columns.items()}
        if delimiter == ";":  # where the comma is the decimal point
            cells |= {column: cells[column].replace(",", ".") for column in cells if column not in ("file", "class")}
        if not cells["file"]:
            raise ValueError(f"{where} names no image")
        name = os.path.normpath(cells["file"].replace("\\", "/"))
        if name not in names:
            names[name] = entries.find_image([name], images_dir)
            other = names_of.setdefault(names[name], name)
            if other != name:
                raise ValueError(
                    f"{where} names {name}, and a line before it {other}, but all there is of both is {names[name]} in "
                    f"{images_dir}"
                )
        size = _size([cells.get(column, "") for column in size_columns], where)
        entry = found.setdefault(name, Entry(names[name], size, [], where))
        if size and not entry.size:
            entry = found[name] = entry._replace(size=size)
        elif size and size != entry.size:
            raise ValueError(
                f"{where} says that {cells['file']} has {size[0]} x {size[1]} pixels, {entry.where} that it has "
                f"{entry.size[0]} x {entry.size[1]}: correct one of them"
            )
        if any(cells[column] for column in box_columns):
            entry.boxes.append(_box(cells, box_columns, where))

    faults.each(add, rows)
    boxes = [box for entry in found.values() for box in entry.boxes]
    if boxes and max(max(box.corners) for box in boxes) <= 1:
        raise ValueError(f"{path} has no coordinate above 1: they must be in pixels, not in fractions of the image")
    return Export(str(path), str(images_dir), list(found.values()))


def _table(path):
    """({column: its index}, [(line number, cells)], delimiter)."""
    lines = entries.read_text(path).splitlines()
    first = next((line for line in lines if line.strip()), "")
    delimiter = max(DELIMITERS, key=first.count)
    reader = csv.reader(lines, delimiter=delimiter, skipinitialspace=True)
    try:
        rows = [(reader.line_num, row) for row in reader if any(cell.strip() for cell in row)]
    except csv.Error as error:
        raise ValueError(f"{path} line {reader.line_num} cannot be read: {error}") from error
    if not rows:
        raise ValueError(f"{path} is empty")
    width = len(rows[0][1])

    def check_width(numbered_row):
        number, row = numbered_row
        if len(row) != width:
            raise ValueError(
                f"{path} line {number} has {len(row)} columns, the first line {width}, with {delimiter!r} between them"
            )

    faults.each(check_width, rows)
    if _is_retinanet(rows[0][1]):
        return dict(zip(WITHOUT_HEADER, range(width))), rows, delimiter
    return _columns(path, rows[0][1]), rows[1:], delimiter


def _is_retinanet(cells):
    if len(cells) != len(WITHOUT_HEADER):
        return False
    try:
        [entries.finite(cell) for cell in cells[1:5] if cell.strip()]
    except ValueError:
        return False
    return True


def _columns(path, header):
    index_of = {}
    for index, cell in enumerate(header):
        index_of.setdefault("".join(filter(str.isalnum, cell.lower())), index)
    columns = {}
    for column, names in COLUMNS.items():
        found = next((name for name in names if name in index_of), None)
        if found is not None:
            columns[column] = index_of[found]
    box = CORNERS if "xmin" in columns else SIDES
    missing = [column for column in ("file", "class", *box) if column not in columns]
    if missing:
        raise ValueError(
            f"{path} line 1 has no column {' and no '.join(missing)}; it has {', '.join(header)}. Wanted are file, "
            f"class and {', '.join(CORNERS)} or {', '.join(SIDES)}, or {', '.join(WITHOUT_HEADER)} without names"
        )
    if box == CORNERS and IMAGE_SIZE[0] in columns:  # width and height are the box's, once more
        columns = {column: index for column, index in columns.items() if column not in SIDES}
    unused = [cell for index, cell in enumerate(header) if index not in columns.values()]
    if unused:
        logging.info("%s: these columns are not used: %s", path, ", ".join(unused))
    return columns


def _size(cells, where):
    """(width, height) of the image, or None where both are empty or 0."""
    try:
        width, height = (entries.finite(cell or "0") for cell in cells)
    except ValueError:
        width = height = -1
    if width == height == 0:
        return None
    if min(width, height) < 1 or width % 1 or height % 1:
        raise ValueError(f"{where} has an image of {cells[0]} x {cells[1]} pixels; needed are whole numbers, or none")
    return int(width), int(height)


def _box(cells, box_columns, where):
    try:
        values = [entries.finite(cells[column]) for column in box_columns]
    except ValueError as error:
        given = ", ".join(cells[column] for column in box_columns)
        raise ValueError(f"{where} has the box {given}; four numbers are needed, or none for no box") from error
    if not cells["class"]:
        raise ValueError(f"{where} has a box without a class")
    if box_columns == SIDES:
        values = [values[0], values[1], values[0] + values[2], values[1] + values[3]]
    return Box(cells["class"], tuple(values), where)
