"""YOLO's data.yaml, the places of its files, and its lines."""

import pytest
from absl import logging

from gfl_tf.data import formats
from gfl_tf.data.coco import load_coco
from tests.data.formats import examples

pytestmark = pytest.mark.one_stack


def boxes(path, split="train"):
    content, folder = formats.read(path, split=split)
    return [annotation["bbox"] for annotation in content["annotations"]], folder


@pytest.fixture
def said(caplog, monkeypatch):
    """What was logged, as one text."""
    monkeypatch.setattr(logging.get_absl_logger(), "propagate", True)
    caplog.set_level("INFO", logger="absl")
    return lambda: "\n".join(record.getMessage() for record in caplog.records)


@pytest.mark.parametrize(
    "text",
    [
        "train: train/images\nnames: [cat, dog]",
        "train: ../train/images\nnames:\n  0: cat\n  1: dog\nnc: 2",  # Roboflow's wrong path
        "train: ./train/images\nnames: [cat, dog]",
        "path: .\ntrain: [train/images]\nnames: {1: dog, 0: cat}",
        "path: /content/data\ntrain: train\nnames: [cat, dog]",  # a root on another machine
        "path: train\ntrain: images\nnames: [cat, dog]",
        "train: list.txt\nnames: [cat, dog]",
        "\ufefftrain: train/images\nnames: [cat, dog]",
        "names: [cat, dog]",  # the usual folders
    ],
)
def test_places_of_images(text, tmp_path):
    path = examples.write_yolo(tmp_path, text=text)
    examples.write_text(tmp_path / "list.txt", "\n".join(f"./train/images/{name}" for name in examples.SIZES))
    found, folder = boxes(path)
    assert len(found) == 3 and folder.startswith(str(tmp_path / "train"))


def test_val_has_several_names_and_may_be_missing(tmp_path):
    text = "train: images/train\nvalid: images/valid\nnames: [cat, dog]"
    path = examples.write_text(tmp_path / "data.yaml", text)
    for part in ("train", "valid"):
        examples.write_labels(tmp_path / "labels" / part, tmp_path / "images" / part)
    assert boxes(path, "val")[1] == str(tmp_path / "images" / "valid")
    with pytest.raises(ValueError, match="data.yaml names no images of 'test': add the line `test: FOLDER`"):
        boxes(path, "test")
    with pytest.raises(ValueError, match="split 'valid' is none of train, val, test"):
        boxes(path, "valid")


def test_classes_txt_in_place_of_data_yaml(tmp_path):
    """As Label Studio and LabelImg write it; classes.txt among the labels is no label file."""
    examples.write_labels(tmp_path / "labels", tmp_path / "images")
    examples.write_text(tmp_path / "classes.txt", "cat\ndog\n\n")
    content, folder = formats.read(tmp_path)
    assert [each["name"] for each in content["categories"]] == ["cat", "dog"] and len(content["annotations"]) == 3


@pytest.mark.parametrize(
    "text, message",
    [
        ("train: nowhere\nnames: [cat, dog]", "train is nowhere, but there is no .*nowhere: correct the line"),
        pytest.param(f"train: {'a' * 300}\nnames: [cat, dog]", "train is a+, but there is no", id="long train"),
        pytest.param(
            f"path: {'a' * 300}\ntrain: no\nnames: [cat, dog]", "train is no, but there is no", id="long path"
        ),
        ("train: 3\nnames: [cat, dog]", "train is 3, but there is no"),
        ("train: {a: b}\nnames: [cat, dog]", "train is .*; it must be a folder"),
        ("path: [a]\nnames: [cat, dog]", "path is .*; it must be a folder"),
        ("train: train/images", "no names of classes: add them"),
        ("names: cat.names", "no names of classes"),
        ("names: [cat, [dog]]", "no names of classes"),
        ("names: {1: cat, 2: dog}", "keys of names must be 0 to 1; they are 1, 2"),
        ("names: {a: cat}", "keys of names must be 0 to 0; they are a"),
        ("nc: 3\nnames: [cat, dog]", "nc is 3, but there are 2 names: cat, dog"),
        ("nc: [", "is not valid YAML"),
        ("cat", "has no fields such as"),
        ("", "has no fields such as"),
        ("kpt_shape: [17, 3]\nnames: [cat, dog]", "has keypoints"),
    ],
)
def test_wrong_settings(text, message, tmp_path):
    path = examples.write_yolo(tmp_path, text=text)
    with pytest.raises((ValueError, FileNotFoundError), match=rf"data.yaml.*{message}") as refusal:
        boxes(path)
    assert "\n" not in str(refusal.value)


def test_names_stay_as_they_are_written(tmp_path):
    """YAML takes no for False, and 007 for 7."""
    path = examples.write_yolo(tmp_path, text="train: train/images\nnames: [no, 007]")
    assert [each["name"] for each in formats.read(path)[0]["categories"]] == ["no", "007"]


@pytest.mark.parametrize(
    "line, box",
    [
        ("0 0.5 0.5 0.5 0.25", [15, 15, 30, 10]),
        ("1.0\t0.5 0.5  0.5 0.25\r", [15, 15, 30, 10]),
        ("0 0.1 0.5 0.25 0.125 0.5 0.75", [6, 5, 24, 25]),  # a triangle
        ("1 0 0 1 0 1 1 0 1", [0, 0, 60, 40]),  # four corners
        ("0 0.5 0.5 1.0000005 1", [0, 0, 60, 40]),
    ],
)
def test_lines(line, box, tmp_path):
    path = examples.write_yolo(tmp_path)
    (tmp_path / "train/labels/a.txt").write_text(f"\n{line}\n")
    assert boxes(path)[0][0] == pytest.approx(box, abs=1e-4)


@pytest.mark.parametrize(
    "line, message",
    [
        ("0 0.5 0.5 0.5 0.25 0.9", "has six numbers: a confidence"),
        ("0 0.5 0.5 0.5", "has 4 numbers; wanted"),
        ("0 0.5 0.5 0.5 0.25 0.9 0.1 0.2", "has 8 numbers; wanted"),
        ("2 0.5 0.5 0.5 0.25", "has class 2, but there are 2 classes, 0 to 1"),
        ("-1 0.5 0.5 0.5 0.25", "has class -1"),
        ("0.5 0.5 0.5 0.5 0.25", "has class 0.5"),
        ("0 0.5 1.5 0.5 0.25", "has 1.5; all must be fractions"),
        ("0 30 20 30 10", "has 30; all must be fractions"),
        ("0 0.5 0.5 0.5 -0.25", "has -0.25; all must be fractions"),
        ("0 0.1 0.5 0.25 0.125 0.5 1.75", "has 1.75; all must be fractions"),
        ("0 0.5 0.5 nan 0.25", "no line of numbers: nan is not finite"),
        ("cat 0.5 0.5 0.5 0.25", "no line of numbers.*'cat'"),
    ],
)
def test_wrong_lines_are_named(line, message, tmp_path):
    path = examples.write_yolo(tmp_path)
    (tmp_path / "train/labels/a.txt").write_text(f"0 0.5 0.5 0.5 0.25\n{line}\n")
    with pytest.raises(ValueError, match=rf"labels/a.txt line 2 .*{message}"):
        boxes(path)


def test_label_file_that_is_no_text(tmp_path):
    path = examples.write_yolo(tmp_path)
    (tmp_path / "train/labels/a.txt").write_bytes(b"\xff\xff")
    with pytest.raises(ValueError, match=r"labels/a.txt is not in UTF-8 \(byte 0\): save it"):
        boxes(path)


def test_background_polygons_and_labels_without_an_image(tmp_path, said):
    path = examples.write_yolo(tmp_path)
    labels = tmp_path / "train/labels"
    (labels / "a.txt").write_text("0 0 0 1 0 1 1\n1 0 0 1 0 1 1\n")
    (labels / "b.txt").write_text("")
    examples.write_text(labels / "gone.txt", "0 0.5 0.5 0.5 0.25")
    examples.write_text(labels / "classes.txt", "cat\ndog")
    examples.write_text(labels / "empty.TXT", "0 0.5 0.5 0.5 0.25")
    content, folder = formats.read(path)
    assert [len(record.boxes) for record in load_coco(content, folder).images] == [2, 0, 0]
    assert said().count("2 polygons became their bounding boxes") == 1
    assert "2 label files have no image" in said() and "gone.txt" in said() and "classes.txt" not in said()
    assert "empty.TXT" in said()  # which is not read


def test_no_label_file_at_all(tmp_path):
    path = examples.write_text(tmp_path / "data.yaml", "train: photos\nnames: [cat]")
    examples.write_images(tmp_path / "photos")
    with pytest.raises(
        FileNotFoundError, match="none of the 3 images of .*data.yaml has a label file: there is no .*a.txt"
    ):
        boxes(path)
    examples.write_labels(tmp_path / "photos", tmp_path / "photos")  # beside the images
    (tmp_path / "photos" / "a.txt").unlink()
    assert len(boxes(path)[0]) == 1


def test_a_folder_without_images(tmp_path):
    (tmp_path / "train").mkdir()
    path = examples.write_text(tmp_path / "data.yaml", "train: train\nnames: [cat]")
    with pytest.raises(FileNotFoundError, match="train has no image"):
        boxes(path)


def test_listed_images_that_are_missing(tmp_path, said):
    path = examples.write_yolo(tmp_path, text="train: list.txt\nnames: [cat, dog]")
    examples.write_text(tmp_path / "list.txt", "train/images/a.png\ntrain/images/gone.png\n")
    with pytest.raises(ValueError, match="gone.png of .*gone.txt is missing"):
        boxes(path)
    content, _ = formats.read(path, on_bad_image="skip")
    assert "b.txt" not in said()  # the list leaves its image out
    assert [image["file_name"] for image in content["images"]] == ["a.png"]
