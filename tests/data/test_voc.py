"""Pascal VOC to COCO: coordinates, image look-up, errors that name the file, the command."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from gfl_tf.data import voc
from gfl_tf.data.coco import load_coco

ROOT = Path(__file__).resolve().parents[2]

OBJECT = "<object><name>{}</name><difficult>{}</difficult><bndbox>{}</bndbox></object>"


def box_xml(x1, y1, x2, y2):
    return f"<xmin>{x1}</xmin><ymin>{y1}</ymin><xmax>{x2}</xmax><ymax>{y2}</ymax>"


def write_xml(path, objects, file_name=None, size=(60, 40)):
    """objects: list of (name, difficult, xyxy)."""
    path.parent.mkdir(parents=True, exist_ok=True)
    parts = [OBJECT.format(name, difficult, box_xml(*box)) for name, difficult, box in objects]
    name = f"<filename>{file_name}</filename>" if file_name else ""
    size = f"<size><width>{size[0]}</width><height>{size[1]}</height></size>" if size else ""
    path.write_text(f"<annotation>{name}{size}{''.join(parts)}</annotation>")


def write_image(path, width=60, height=40):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.zeros([height, width, 3], np.uint8)).save(path)


@pytest.fixture
def folders(tmp_path):
    xml, images = tmp_path / "Annotations", tmp_path / "JPEGImages"
    write_xml(xml / "b.xml", [("dog", 0, (1, 1, 60, 40)), ("cat", 1, (11, 6, 20, 25))], "b.jpg")
    write_xml(xml / "a.xml", [], "a.jpg")
    write_xml(xml / "sub" / "c.xml", [("cat", 0, (0, 0, 3, 3))], size=None)
    for name in ("a.jpg", "b.jpg", "sub/c.png"):
        write_image(images / name)
    return xml, images


def test_conversion(folders):
    content = voc.voc_to_coco(*folders)
    assert content["categories"] == [{"id": 1, "name": "cat"}, {"id": 2, "name": "dog"}]
    assert content["images"] == [
        {"id": 1, "file_name": "a.jpg", "width": 60, "height": 40},
        {"id": 2, "file_name": "b.jpg", "width": 60, "height": 40},
        {"id": 3, "file_name": "sub/c.png", "width": 60, "height": 40},  # the size is the file's
    ]
    rows = [(a["id"], a["image_id"], a["category_id"], a["bbox"], a["difficult"]) for a in content["annotations"]]
    assert rows == [
        (1, 2, 2, [0, 0, 60, 40], 0),  # 1-based and inclusive: the whole image
        (2, 2, 1, [10, 5, 10, 20], 1),
        (3, 3, 1, [0, 0, 3, 3], 0),  # 0-based against the standard: clipped
    ]
    assert content["annotations"][1]["area"] == 200


def test_result_loads_and_difficult_can_be_left_out(folders, tmp_path):
    output = tmp_path / "new" / "coco.json"
    voc.convert(*folders, output, keep_difficult=False)
    dataset = load_coco(output, folders[1])
    assert [len(record.boxes) for record in dataset.images] == [0, 1, 1]
    assert [path.name for path in output.parent.iterdir()] == ["coco.json"]


def test_split_and_class_order(folders, tmp_path):
    (tmp_path / "val.txt").write_text("b  1\nc -1\n")
    content = voc.voc_to_coco(*folders, class_names=["dog", "cat", "cow"], split=tmp_path / "val.txt")
    assert [image["file_name"] for image in content["images"]] == ["b.jpg", "sub/c.png"]
    assert [category["name"] for category in content["categories"]] == ["dog", "cat", "cow"]
    (tmp_path / "val.txt").write_text("b\nzzz\n")
    with pytest.raises(FileNotFoundError, match="zzz"):
        voc.voc_to_coco(*folders, split=tmp_path / "val.txt")


@pytest.mark.parametrize(
    "text, words",
    [
        ("<annotation>", "not valid XML"),
        ("<html/>", "<html>"),
        ("<annotation><object><bndbox/></object></annotation>", "no <name>"),
        (f"<annotation>{OBJECT.format('cow', 0, '<xmin>1</xmin>')}</annotation>", "'cow'.*<bndbox>"),
        (f"<annotation>{OBJECT.format('cow', 0, box_xml(1, 'x', 3, 4))}</annotation>", "'cow'.*<bndbox>"),
        (f"<annotation>{OBJECT.format('cow', 0, box_xml(1, 2, 3, 4))}</annotation>", "'cow'.*dog, cat"),
        ("<annotation><filename>b.jpg</filename></annotation>", "b.xml.*b.jpg"),
    ],
)
def test_errors_name_the_file(folders, text, words):
    xml, images = folders
    write_image(images / "bad.jpg")
    (xml / "bad.xml").write_text(text)
    with pytest.raises(ValueError, match=f"(?s)bad.xml.*{words}"):
        voc.voc_to_coco(xml, images, class_names=["dog", "cat"])


def test_missing_things(folders, tmp_path):
    xml, images = folders
    (images / "b.jpg").unlink()
    with pytest.raises(FileNotFoundError, match="'b.jpg' of .*b.xml"):
        voc.voc_to_coco(xml, images)
    with pytest.raises(FileNotFoundError, match="nowhere"):
        voc.voc_to_coco(tmp_path / "nowhere", images)
    with pytest.raises(FileNotFoundError, match="no .xml file"):
        voc.voc_to_coco(images, images)


def run(*flags):
    command = [sys.executable, str(ROOT / "bin" / "voc_to_coco"), *flags]
    return subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=False)


def test_command(folders, tmp_path):
    xml, images = folders
    output = tmp_path / "coco.json"
    flags = [f"--annotations={xml}", f"--images={images}", f"--output={output}"]
    done = run(*flags, "--classes=dog,cat")
    assert done.returncode == 0, done.stderr
    assert "3 images, 3 boxes, 2 classes" in done.stdout
    assert json.loads(output.read_text()) == voc.voc_to_coco(xml, images, class_names=["dog", "cat"])
    (xml / "a.xml").write_text("<annotation>")
    failed = run(*flags)
    assert failed.returncode == 1 and "a.xml" in failed.stderr and "Traceback" not in failed.stderr
