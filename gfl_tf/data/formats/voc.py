"""Pascal VOC: one XML file per image.

VOC counts pixels from 1 and includes both ends: xmin = 1, xmax = 3 are the first three columns, from the edge 0 to the
edge 3. Where a file's coordinates are 0-based against the standard, a box may stick out of the image by one pixel at
the left or top; it is clipped.
"""

import codecs
import os
import pathlib
import re
import xml.etree.ElementTree as ElementTree

from gfl_tf.data import faults
from gfl_tf.data.formats import entries
from gfl_tf.data.formats.entries import Box, Entry, Export

SUFFIXES = (".xml",)
# What Chinese tools call gb2312 has characters of its supersets; browsers read it so, too.
_SUPERSETS = {"gb2312": "gb18030", "gbk": "gb18030"}
_MARKS = {codecs.BOM_UTF8: "utf-8-sig", codecs.BOM_UTF16_LE: "utf-16", codecs.BOM_UTF16_BE: "utf-16"}


def read_voc(
    path: str | os.PathLike, images_dir: str | os.PathLike | None = None, split_file: str | os.PathLike | None = None
) -> Export:
    """Reads every XML file below a folder.

    Args:
        path: folder with the XML files, searched with its subfolders; or a split file ImageSets/Main/NAME.txt, whose
            XML files are those of the folder Annotations beside ImageSets.
        images_dir: folder with the images; by default JPEGImages beside the folder Annotations, or else the folder of
            the XML files. An image is looked for under the XML's <filename>, then under the XML's own name; each in
            the subfolder that the XML file has below `path`, then directly in the folder.
        split_file: a text file with one XML name (without ending) per line, as in VOC's ImageSets/Main; only these
            are read. None: all.

    Raises:
        FileNotFoundError, ValueError: naming the XML files and what is wrong with them; see `gfl_tf.data.faults`.
    """
    path = pathlib.Path(path)
    if not path.is_dir():
        path, split_file = path.absolute().parent.parent.parent / "Annotations", path
    beside = path.parent / "JPEGImages"
    images_dir = pathlib.Path(images_dir or (beside if beside.is_dir() else path))
    found = faults.each(lambda file: _entry(file, path, images_dir), _xml_files(path, split_file))
    return Export(str(split_file or path), str(images_dir), found)


def _xml_files(folder, split_file):
    if not folder.is_dir():
        raise FileNotFoundError(f"there is no folder {folder} with the .xml files of {split_file or 'Pascal VOC'}")
    files = sorted(entries.files_below(folder, SUFFIXES))
    if not files:
        raise FileNotFoundError(f"there is no .xml file below {folder}")
    if split_file is None:
        return files
    # A line may go on with a flag (1, -1) after the name.
    wanted = [line.split()[0] for line in entries.read_text(split_file).split("\n") if line.strip()]
    by_stem = {}
    for file in files:
        by_stem.setdefault(file.stem, []).append(file)
    missing = [name for name in wanted if name not in by_stem]
    if missing:
        raise FileNotFoundError(
            f"{split_file} names {missing[0]} and {len(missing) - 1} more without an XML file below {folder}"
        )
    several = next((by_stem[name] for name in wanted if len(by_stem[name]) > 1), None)
    if several:
        raise ValueError(
            f"{split_file} names {several[0].stem}, which is {' and '.join(map(str, several))}: rename one"
        )
    return [by_stem[name][0] for name in wanted]


def _entry(file, folder, images_dir):
    root = _root(file)
    boxes = faults.each(lambda numbered: _box(file, *numbered), enumerate(root.findall("object")))
    found = entries.find_image([root.findtext("filename"), file.stem], images_dir, file.parent.relative_to(folder))
    # Some tools leave the size out, or write 0 or "unknown".
    size = tuple(_pixels(root.findtext(f"size/{key}")) for key in ("width", "height"))
    return Entry(found, size if min(size) > 0 else None, boxes, str(file))


def _root(file):
    text = _text(file)
    try:
        root = ElementTree.fromstring(text)
    except ElementTree.ParseError as error:
        raise ValueError(f"{file} is not valid XML: {error}") from error
    if root.tag != "annotation":
        raise ValueError(f"{file} is not Pascal VOC: its root is <{root.tag}>, not <annotation>")
    return root


def _text(file):
    """The file's text in the encoding that its first bytes or its declaration say; expat knows only a few of them."""
    data = file.read_bytes()
    declared = re.match(rb"\s*<\?xml[^>]*\bencoding\s*=\s*[\"']([\w.:-]+)", data)
    encoding = declared[1].decode() if declared else "utf-8"
    encoding = next((name for mark, name in _MARKS.items() if data.startswith(mark)), encoding)
    try:
        return data.decode(_SUPERSETS.get(encoding.lower(), encoding)).lstrip()
    except LookupError as error:
        raise ValueError(
            f'{file} declares the encoding "{encoding}", which Python does not know: save it as UTF-8, or correct the '
            "name in its first line"
        ) from error
    except UnicodeError as error:
        says = "declares no encoding and is not UTF-8" if not declared else f'is not in "{encoding}", as it declares'
        raise ValueError(f"{file} {says}: save it as UTF-8, or put its encoding into its first line") from error


def _box(file, position, item):
    name = (item.findtext("name") or "").strip()
    if not name:
        raise ValueError(f"{file}: object number {position} has no <name>")
    try:
        x1, y1, x2, y2 = (entries.finite(item.findtext(f"bndbox/{key}")) for key in ("xmin", "ymin", "xmax", "ymax"))
    except ValueError as error:
        raise ValueError(
            f"{file}: object number {position} ('{name}') needs a <bndbox> with the numbers xmin, ymin, xmax, ymax"
        ) from error
    difficult = (item.findtext("difficult") or "").strip() == "1"
    return Box(name, (max(x1 - 1, 0.0), max(y1 - 1, 0.0), x2, y2), str(file), difficult)


def _pixels(text):
    try:
        return int(entries.finite(text))
    except ValueError:
        return 0
