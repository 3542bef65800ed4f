"""Pascal VOC XML annotations to COCO JSON.

VOC counts pixels from 1 and includes both ends: xmin = 1, xmax = 3 are the first three columns.
COCO's boxes are 0-based edges: x = xmin - 1, width = xmax - xmin + 1. Where a file's coordinates are
0-based against the standard, the result may stick out of the image by one pixel at the left or top;
it is clipped.
"""

import collections.abc
import json
import os
import pathlib
import typing
import xml.etree.ElementTree as ElementTree

from absl import logging

from gfl_tf.data import images as image_ops
from gfl_tf.files import replacing

EXTENSIONS = (".jpg", ".jpeg", ".png", ".bmp", ".JPG", ".JPEG", ".PNG", ".BMP")


def voc_to_coco(
    annotations_dir: str | os.PathLike,
    images_dir: str | os.PathLike,
    class_names: collections.abc.Sequence[str] | None = None,
    split: str | os.PathLike | None = None,
    keep_difficult: bool = True,
) -> dict[str, typing.Any]:
    """Reads every XML file below a folder.

    Args:
        annotations_dir: folder with the XML files, searched with its subfolders.
        images_dir: folder with the images. An image is looked for under the XML's <filename>, then
            under the XML's own name; each directly in the folder or in the subfolder that the XML
            file has below annotations_dir.
        class_names: the classes in the wanted order; by default all names met, sorted.
        split: a text file with one XML name (without ending) per line, as in VOC's ImageSets/Main;
            only these are read. None: all.
        keep_difficult: whether objects marked difficult are kept, as ordinary boxes (with
            "difficult": 1 in their annotation).

    Returns:
        dict in COCO's form; ids count from 1, in the order of the file names.

    Raises:
        FileNotFoundError, ValueError: naming the XML file and what is wrong with it.
    """
    annotations_dir = pathlib.Path(annotations_dir)
    images_dir = pathlib.Path(images_dir)
    files = _xml_files(annotations_dir, split)
    parsed = [_parse(file) for file in files]
    names = list(class_names) if class_names else sorted({o[0] for _, _, rows in parsed for o in rows})
    category_of = {name: index + 1 for index, name in enumerate(names)}
    images, annotations, xml_of = [], [], {}
    for file, (file_name, size, objects) in zip(files, parsed):
        path = _find_image(file, file_name, annotations_dir, images_dir)
        if path in xml_of:
            raise ValueError(f"{file} and {xml_of[path]} both annotate the image {path}.")
        xml_of[path] = file
        width, height = size or _read_size(path, file)
        image_id = len(images) + 1
        images.append(
            {
                "id": image_id,
                "file_name": path.relative_to(images_dir).as_posix(),
                "width": width,
                "height": height,
            }
        )
        for name, box, difficult in objects:
            if name not in category_of:
                raise ValueError(f"{file} has an object of class '{name}', which is not among {', '.join(names)}.")
            if difficult and not keep_difficult:
                continue
            bbox = _coco_box(box, width, height)
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": image_id,
                    "category_id": category_of[name],
                    "bbox": bbox,
                    "area": bbox[2] * bbox[3],
                    "iscrowd": 0,
                    "difficult": difficult,
                }
            )
    categories = [{"id": category_of[name], "name": name} for name in names]
    return {"images": images, "annotations": annotations, "categories": categories}


def convert(
    annotations_dir: str | os.PathLike,
    images_dir: str | os.PathLike,
    output: str | os.PathLike,
    class_names: collections.abc.Sequence[str] | None = None,
    split: str | os.PathLike | None = None,
    keep_difficult: bool = True,
) -> dict[str, typing.Any]:
    """`voc_to_coco` into the JSON file `output` -> the dict."""
    content = voc_to_coco(annotations_dir, images_dir, class_names, split, keep_difficult)
    output = pathlib.Path(output)
    output.parent.mkdir(parents=True, exist_ok=True)
    with replacing(output) as file:
        json.dump(content, file)
    logging.info(
        "%s: %d images, %d boxes, classes: %s.",
        output,
        len(content["images"]),
        len(content["annotations"]),
        ", ".join(category["name"] for category in content["categories"]),
    )
    return content


def _xml_files(annotations_dir, split):
    if not annotations_dir.is_dir():
        raise FileNotFoundError(f"There is no annotations folder {annotations_dir}.")
    files = sorted(annotations_dir.rglob("*.xml"))
    if not files:
        raise FileNotFoundError(f"There is no .xml file below {annotations_dir}.")
    if split is None:
        return files
    lines = pathlib.Path(split).read_text(encoding="utf-8").split("\n")
    # A line may go on with a flag (1, -1) after the name.
    wanted = [line.split()[0] for line in lines if line.strip()]
    by_stem = {file.stem: file for file in files}
    missing = [name for name in wanted if name not in by_stem]
    if missing:
        raise FileNotFoundError(
            f"{split} names {missing[0]} and {len(missing) - 1} more without an XML file below {annotations_dir}."
        )
    return [by_stem[name] for name in wanted]


def _parse(file):
    """(file name or None, (width, height) or None, list of (class name, xyxy as in VOC, difficult))."""
    try:
        root = ElementTree.parse(file).getroot()
    except ElementTree.ParseError as error:
        raise ValueError(f"{file} is not valid XML: {error}") from error
    if root.tag != "annotation":
        raise ValueError(f"{file} is not Pascal VOC: its root is <{root.tag}>, not <annotation>.")
    # Some tools leave the size out or write 0.
    size = tuple(int(float(root.findtext(f"size/{key}") or 0)) for key in ("width", "height"))
    objects = []
    for position, item in enumerate(root.findall("object")):
        name = (item.findtext("name") or "").strip()
        if not name:
            raise ValueError(f"{file}: object number {position} has no <name>.")
        try:
            box = [float(item.findtext(f"bndbox/{key}")) for key in ("xmin", "ymin", "xmax", "ymax")]
        except (TypeError, ValueError) as error:
            raise ValueError(
                f"{file}: object number {position} ('{name}') needs a <bndbox> with the numbers xmin, ymin, xmax, ymax."
            ) from error
        difficult = int((item.findtext("difficult") or "0").strip() == "1")
        objects.append((name, box, difficult))
    return root.findtext("filename"), size if min(size) > 0 else None, objects


def _find_image(file, file_name, annotations_dir, images_dir):
    below = file.parent.relative_to(annotations_dir)
    names = [file_name.strip()] if file_name and file_name.strip() else []
    names += [stem + ending for stem in (*names, file.stem) for ending in EXTENSIONS]
    for name in names:
        for candidate in (images_dir / name, images_dir / below / name):
            if candidate.is_file():
                return candidate
    raise FileNotFoundError(f"The image '{file_name}' of {file} is not in {images_dir}.")


def _read_size(path, file):
    """(width, height) of an image file."""
    try:
        height, width, _ = image_ops.decode_rgb(path.read_bytes()).shape
    except Exception as error:
        raise ValueError(f"{file} gives no image size, and the image {path} cannot be decoded: {error}") from error
    return int(width), int(height)


def _coco_box(box, width, height):
    """VOC's 1-based inclusive corners -> x, y, width, height inside the image."""
    x1, y1 = max(box[0] - 1, 0.0), max(box[1] - 1, 0.0)
    x2, y2 = min(box[2], width), min(box[3], height)
    # A box without extent stays one, for load_coco to report under its id.
    return [x1, y1, max(x2 - x1, 0.0), max(y2 - y1, 0.0)]
