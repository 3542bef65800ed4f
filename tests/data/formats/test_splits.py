"""The parts of a folder, as labelling tools lay it out."""

import shutil

import pytest
from absl import logging

from gfl_tf.data import formats
from gfl_tf.data.coco import load_coco
from gfl_tf.data.formats.splits import find_splits
from tests.data.formats import examples

pytestmark = pytest.mark.one_stack


def coco(folder, part):
    examples.write_coco(folder / part / "_annotations.coco.json", folder / part)


def coco_below(folder, part):
    examples.write_coco(folder / part / "_annotations.coco.json", folder / part / "images")


def coco_2017(folder, part):
    examples.write_coco(folder / "annotations" / f"instances_{part}2017.json", folder / f"{part}2017")
    examples.write_text(folder / "annotations" / f"captions_{part}2017.json", "{}")


def coco_images(folder, part):
    examples.write_coco(folder / "annotations" / f"{part}.json", folder / "images" / part)


def yolo_roboflow(folder, part):
    text = f"train: ../train/images\nval: ../{part if part != 'train' else 'valid'}/images\nnames: [cat, dog]\nnc: 2"
    examples.write_yolo(folder, part, text)


def yolo_ultralytics(folder, part):
    examples.write_labels(folder / "labels" / part, folder / "images" / part)
    examples.write_text(folder / "data.yaml", "names: [cat, dog]")


def yolo_classes(folder, part):
    examples.write_labels(folder / part / "labels", folder / part / "images")
    examples.write_text(folder / "classes.txt", "cat\ndog")


def voc(folder, part):
    examples.write_voc(folder / part, folder / part)


def voc_2007(folder, part):
    examples.write_voc(folder / "Annotations", folder / "JPEGImages")
    examples.write_text(folder / "ImageSets" / "Main" / f"{part}.txt", "a\nb\nempty\n")


def csv_roboflow(folder, part):
    examples.write_csv(folder / part / "_annotations.csv", folder / part)


def csv_plain(folder, part):
    examples.write_csv(folder / f"{part}.csv", folder)


LAYOUTS = {
    coco: "valid", coco_below: "val", coco_2017: "val", coco_images: "valid", yolo_roboflow: "valid",
    yolo_ultralytics: "val", yolo_classes: "valid", voc: "valid", voc_2007: "val", csv_roboflow: "valid",
    csv_plain: "val",
}  # fmt: skip


@pytest.mark.parametrize("layout", LAYOUTS, ids=lambda layout: layout.__name__)
def test_layouts(layout, tmp_path):
    layout(tmp_path, "train")
    assert list(find_splits(tmp_path)) == ["train"]
    layout(tmp_path, LAYOUTS[layout])
    parts = find_splits(tmp_path)
    assert list(parts) == ["train", "val"]
    for split, part in parts.items():
        assert formats.guess(part.annotations) == layout.__name__.partition("_")[0]
        content, images = formats.read(part.annotations, part.images or None, split=split)
        dataset = load_coco(content, images)
        assert len(dataset.images) == 3 and dataset.report.boxes == 3
        if not layout.__name__.startswith(("csv_plain", "voc_2007")):  # whose parts share a folder
            assert (LAYOUTS[layout] if split == "val" else "train") in images


def test_several_formats(tmp_path, caplog, monkeypatch):
    monkeypatch.setattr(logging.get_absl_logger(), "propagate", True)
    caplog.set_level("INFO", logger="absl")
    coco_below(tmp_path, "train")
    yolo_classes(tmp_path, "train")
    assert find_splits(tmp_path)["train"].annotations.endswith("_annotations.coco.json")
    assert "data of the format coco, train: " in caplog.text and "val: none" in caplog.text
    assert "not read: yolo" in caplog.text
    assert find_splits(tmp_path, "yolo")["train"].annotations.endswith("classes.txt")


def test_data_yaml_by_its_own_name(tmp_path):
    yolo_roboflow(tmp_path, "train")
    path = (tmp_path / "data.yaml").rename(tmp_path / "mine.yaml")
    assert find_splits(path)["train"].annotations == str(path)


def test_a_split_that_is_named_and_not_there(tmp_path, caplog, monkeypatch):
    monkeypatch.setattr(logging.get_absl_logger(), "propagate", True)
    yolo_roboflow(tmp_path, "train")
    assert list(find_splits(tmp_path)) == ["train"]
    assert "val is ../valid/images, but there is no" in caplog.text and "going on without it" in caplog.text
    shutil.rmtree(tmp_path / "train")
    with pytest.raises(FileNotFoundError, match="train is ../train/images, but there is no"):
        formats.read(find_splits(tmp_path)["train"].annotations)


def test_nothing_found(tmp_path):
    known = r"no training data \(tfrecord, coco, yolo, voc, csv\) in .*Known are train/tfrecords.json; train/_"
    with pytest.raises(ValueError, match=known):
        find_splits(tmp_path)
    with pytest.raises(ValueError, match=r"no training data \(voc\)"):
        find_splits(tmp_path / "none", "voc")
    with pytest.raises(ValueError, match="the format 'cocoa' is none of auto"):
        find_splits(tmp_path, "cocoa")


def test_two_parts_of_one_name(tmp_path):
    coco_2017(tmp_path, "train")
    examples.write_text(tmp_path / "annotations" / "instances_train2014.json", "{}")
    with pytest.raises(ValueError, match="several parts 'train': .*train2014.json, .*train2017.json; name one of them"):
        find_splits(tmp_path)
