"""Annotation files of any content: a data set, or an error that names what is wrong; never anything else."""

import csv
import io
import json
import math
import tempfile
import xml.sax.saxutils
from pathlib import Path

import numpy as np
import pytest
import yaml
from hypothesis import assume, given
from hypothesis import strategies as st

from gfl_tf.data import formats
from gfl_tf.data.coco import load_coco
from tests.data.formats import examples
from tests.fuzz import values

pytestmark = pytest.mark.one_stack

NUMBERS = st.sampled_from(
    ["0", "1", "-1", "0.5", "60", "1e9", "nan", "inf", "-inf", "1e999", "", " ", "x", "１", "0x1"]
)
CELLS = (
    NUMBERS | st.sampled_from(["a.png", "b.png", "../a.png", "/a.png", "cat", "dog", "empty.png"]) | st.text(max_size=4)
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Images, and a valid file of each format."""
    folder = tmp_path_factory.mktemp("data")
    examples.write_coco(folder / "coco.json", folder / "images")
    examples.write_csv(folder / "boxes.csv", folder / "images")
    examples.write_voc(folder / "voc", folder / "images")
    examples.write_yolo(folder / "yolo")
    return folder


def check(path, images, class_names=None, **options):
    """Reads a data set; whatever is wrong with it is said in an error of the two kinds that name the file or entry."""
    try:
        annotations, images = formats.read(path, images, class_names=class_names, **options)
        dataset = load_coco(annotations, images, class_names=class_names)
    except (ValueError, FileNotFoundError) as error:
        assert str(error)
        return
    for record in dataset.images:
        assert record.boxes.shape == (len(record.classes), 4) and np.isfinite(record.boxes).all()
        assert (record.boxes[:, :2] < record.boxes[:, 2:]).all() and (record.boxes >= 0).all()
        assert (record.boxes[:, 2:] <= [record.width, record.height]).all()
        assert all(0 <= each < dataset.num_classes for each in record.classes)
        assert all(math.isfinite(each) and each > 0 for each in record.areas)


def written(folder, name, content):
    path = Path(folder) / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode("utf-8", "surrogatepass"))
    return path


# COCO: one value of a valid file is another one.
KEYS = {
    "images": ["id", "file_name", "width", "height", "extra"],
    "annotations": ["id", "image_id", "category_id", "bbox", "area", "iscrowd"],
    "categories": ["id", "name", "supercategory"],
}


@given(
    data=st.data(),
    part=st.sampled_from(sorted(KEYS)),
    value=values.JSON | st.lists(st.floats() | st.integers(), max_size=5),
)
def test_coco(folder, data, part, value):
    content = json.loads((folder / "coco.json").read_text())
    place = data.draw(st.sampled_from(["whole", "list", "entry", *KEYS[part]]))
    if place == "whole":
        content = value
    elif place == "list":
        content[part] = value
    elif place == "entry":
        content[part][0] = value
    else:
        content[part][0][place] = value
    with tempfile.TemporaryDirectory() as own:
        check(written(own, "coco.json", json.dumps(content)), folder / "images")


@given(data=st.data())
def test_damaged_text(folder, data):
    """Of each format: cut short, or with other bytes in one place."""
    name, images = data.draw(
        st.sampled_from([("coco.json", "images"), ("boxes.csv", "images"), ("voc/a.xml", "images")])
    )
    content = (folder / name).read_bytes()
    start = data.draw(st.integers(0, len(content)))
    end = data.draw(st.integers(start, min(len(content), start + 20)) | st.just(len(content)))
    content = content[:start] + data.draw(st.binary(max_size=8)) + content[end:]
    with tempfile.TemporaryDirectory() as own:
        path = written(own, Path(name).name, content)
        check(own if path.suffix == ".xml" else path, folder / images)


@given(rows=st.lists(st.lists(CELLS, max_size=9), max_size=4), header=st.booleans())
def test_csv(folder, rows, header):
    names = [["filename", "width", "height", "class", "xmin", "ymin", "xmax", "ymax"]] if header else []
    text = io.StringIO()
    csv.writer(text).writerows([*names, *rows])
    with tempfile.TemporaryDirectory() as own:
        check(written(own, "boxes.csv", text.getvalue()), folder / "images")


@given(
    corners=st.lists(CELLS, min_size=4, max_size=4),
    name=CELLS,
    size=st.tuples(NUMBERS, NUMBERS),
    file_name=CELLS,
    missing=st.sampled_from(["", "bndbox", "name", "xmin", "size", "width", "filename", "object"]),
)
def test_voc(folder, corners, name, size, file_name, missing):
    texts = [xml.sax.saxutils.escape(text) for text in (*corners, name, *size, file_name)]
    keys = ["xmin", "ymin", "xmax", "ymax", "name", "width", "height", "filename"]
    tags = {key: f"<{key}>{text}</{key}>" for key, text in zip(keys, texts)}
    tags["bndbox"] = f"<bndbox>{tags['xmin']}{tags['ymin']}{tags['xmax']}{tags['ymax']}</bndbox>"
    tags["object"] = f"<object>{tags['name']}{tags['bndbox']}</object>"
    tags["size"] = f"<size>{tags['width']}{tags['height']}</size>"
    text = f"<annotation>{tags['filename']}{tags['size']}{tags['object']}</annotation>"
    text = text.replace(tags[missing], "") if missing else text
    with tempfile.TemporaryDirectory() as own:
        written(own, "a.xml", text)
        check(own, folder / "images")


@given(lines=st.lists(st.lists(NUMBERS, max_size=8), max_size=3), text=st.none() | st.text(max_size=12))
def test_yolo_labels(folder, lines, text):
    with tempfile.TemporaryDirectory() as own:
        path = examples.write_yolo(Path(own))
        written(Path(own) / "train" / "labels", "a.txt", text or "\n".join(map(" ".join, lines)))
        check(path, None)


@given(key=st.sampled_from(["train", "val", "path", "names", "nc"]), value=values.JSON | CELLS)
def test_yolo_settings(folder, key, value):
    assume("/" not in repr(value) and ".." not in repr(value))  # no other folder is to be looked through
    settings = {"train": "train/images", "names": ["cat", "dog"], "nc": 2, key: value}
    with tempfile.TemporaryDirectory() as own:
        path = examples.write_yolo(Path(own))
        written(own, path.name, yaml.safe_dump(settings))
        check(path, None)


@given(text=st.text(max_size=30), name=st.sampled_from(["a.json", "a.csv", "data.yaml", "a.xml"]))
def test_any_text(folder, text, name):
    with tempfile.TemporaryDirectory() as own:
        path = written(own, name, text)
        check(own if name == "a.xml" else path, folder / "images")
