"""One error with all faults: of every format, with file and line, and all of them in a check of the data set."""

import json

import pytest

from gfl_tf.data import formats
from gfl_tf.data.coco import load_coco
from gfl_tf.data.faults import Faults, each, faults_of
from gfl_tf.data.formats.splits import Part
from gfl_tf.dataset_check import check
from tests.data.formats import examples


def odd(number):
    if number % 2:
        raise ValueError(f"{number} is odd")
    return number * 10


def test_values_one_fault_and_several():
    assert each(odd, [2, 4]) == [20, 40] and each(odd, []) == []
    with pytest.raises(ValueError, match="^3 is odd$") as single:
        each(odd, [2, 3])
    assert not isinstance(single.value, Faults) and faults_of(single.value) == ["3 is odd"]
    with pytest.raises(Faults) as several:
        each(odd, range(8))
    listed = "".join(f"\n  {number} is odd" for number in (1, 3, 5, 7))
    assert str(several.value) == f"4 faults in the annotations:{listed}"


def test_the_first_five_are_named_of_inner_faults_too():
    with pytest.raises(Faults) as raised:
        each(lambda numbers: each(odd, numbers), [[1, 2, 3], [4], [5], [7, 9, 11]])
    assert raised.value.faults == [f"{number} is odd" for number in (1, 3, 5, 7, 9, 11)]
    lines = str(raised.value).splitlines()
    assert lines[0] == "6 faults in the annotations:" and lines[5:] == ["  9 is odd", "  and 1 more"]


def yolo(folder):
    path = examples.write_yolo(folder)
    (folder / "train/labels/a.txt").write_text("7 0.5 0.5 0.5 0.5\n0 0.5 0.5 0.5 0.5\n0 0.5 0.5\ncat 1 1 1 1\n")
    (folder / "train/labels/b.txt").write_text("0 0.5 0.5 0.5 9\n")
    return path, ["a.txt line 1 has class 7", "a.txt line 3 has 3 num", "a.txt line 4 is no line", "b.txt line 1 has 9"]


def csv(folder):
    path = examples.write_csv(folder / "boxes.csv", folder)
    header, first = path.read_text().splitlines()[:2]
    rows = [first, ",1,1,cat,1,1,2,2", "a.png,9,9,cat,1,1,2,2", "a.png,60,40,,1,1,2,2", "a.png,60,40,cat,x,1,2,2"]
    path.write_text("\n".join([header, *rows]))
    return path, [
        "line 3 names no image",
        "line 4 says that a.png has 9 x 9",
        "line 5 has a box without",
        "line 6 has the",
    ]


def csv_columns(folder):
    path = examples.write_csv(folder / "boxes.csv", folder)
    path.write_text(path.read_text() + "a.png,1\nb.png,2,3\n")
    return path, ["line 6 has 2 columns, the first line 8", "line 7 has 3 columns, the first line 8"]


def voc(folder):
    path = examples.write_voc(folder / "xml", folder / "xml")
    objects = "<object/><object><name>cat</name></object>"
    (path / "a.xml").write_text(f"<annotation><filename>a.png</filename>{objects}</annotation>")
    (path / "b.xml").write_text("<annotation>")
    return path, [
        "a.xml: object number 0 has no <name>",
        "a.xml: object number 1 ('cat') needs",
        "b.xml is not valid XML",
    ]


def unknown_classes(folder):
    path = examples.write_csv(folder / "boxes.csv", folder)
    path.write_text(path.read_text().replace("dog", "cow").replace("cat", "hen"))
    return path, [
        "line 2 has an object of class 'cow'",
        "line 3 has an object of class 'hen'",
        "line 4 has an object of cl",
    ]


def images(folder):
    path = examples.write_yolo(folder)
    for name in ("a.png", "b.png"):
        (folder / "train/images" / name).write_text("none")
    return path, ["a.txt: ", "b.txt: "]


def coco(folder):
    path = examples.write_coco(folder / "boxes.json", folder)
    content = json.loads(path.read_text())
    content["annotations"][0]["bbox"] = content["annotations"][2]["bbox"] = [1, 2, 3]
    path.write_text(json.dumps(content))
    return path, ["annotation 1 has bbox [1, 2, 3]", "annotation 3 has bbox [1, 2, 3]"]


def coco_ids(folder):
    path = examples.write_coco(folder / "boxes.json", folder)
    content = json.loads(path.read_text())
    content["annotations"][0]["image_id"], content["annotations"][1]["category_id"] = 77, 88
    path.write_text(json.dumps(content))
    return path, ["annotation 1 belongs to image 77", "annotation 2 has category id 88"]


def coco_files(folder):
    path = examples.write_coco(folder / "boxes.json", folder)
    path.write_text(path.read_text().replace("a.png", "../a.png").replace("b.png", "../b.png"))
    return path, ["image 1 has the file name '../a.png'", "image 2 has the file name '../b.png'"]


FAULTY = [yolo, csv, csv_columns, voc, unknown_classes, images, coco, coco_ids, coco_files]


@pytest.mark.parametrize("write", FAULTY)
def test_all_faults_of_a_set_are_named(write, tmp_path):
    path, wanted = write(tmp_path)
    names = examples.CLASSES
    with pytest.raises(ValueError) as raised:
        content, folder = formats.read(path, tmp_path if path.suffix == ".json" else None, class_names=names)
        load_coco(content, folder, names)
    found = faults_of(raised.value)
    assert len(found) == len(wanted) and all(text in fault for text, fault in zip(wanted, found)), found
    assert str(raised.value).startswith(f"{len(wanted)} faults in the annotations:\n  ")


@pytest.mark.parametrize("write", [each for each in FAULTY if each is not images])  # they are left out there
def test_a_check_lists_them_all(write, tmp_path):
    path, wanted = write(tmp_path)
    given = {"train": Part(str(path), str(tmp_path) if path.suffix == ".json" else "")}
    report = check.check(given=given, class_names=examples.CLASSES)
    (refused,) = (finding for finding in report.findings if finding.kind == "refused")
    texts = [example.text for example in refused.examples]
    assert len(texts) == len(wanted) and all(text in fault for text, fault in zip(wanted, texts)), texts
