"""Speed and AP of exports."""

import numpy as np
import pytest
from PIL import Image

from gfl_tf.data import coco as coco_data
from gfl_tf.serving import runners, speed_accuracy

pytestmark = pytest.mark.one_stack


def _dataset(path, boxes, class_names):
    """One image, each of whose `boxes` is an object of class 0."""
    record = coco_data.ImageRecord(
        id="a",
        path=str(path),
        height=96,
        width=160,
        boxes=boxes,
        classes=np.zeros(len(boxes), np.int32),
        areas=(boxes[:, 2:] - boxes[:, :2]).prod(axis=1),
        crowd_boxes=np.zeros([0, 4], np.float32),
        crowd_classes=np.zeros([0], np.int32),
    )
    return coco_data.CocoDataset([record], class_names, (1, 2, 3), coco_data.LoadReport())


def test_an_export_against_what_it_finds_itself(tiny_export, tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, [96, 160, 3], np.uint8)
    Image.fromarray(pixels).save(tmp_path / "a.png")
    found = runners.load(tiny_export)(pixels)
    boxes = found["boxes"][found["classes"] == 0].astype(np.float32)
    dataset = _dataset(tmp_path / "a.png", boxes, ("circle", "square", "star"))
    (row,) = speed_accuracy.measure([str(tiny_export)], dataset, requests=2)
    assert row["name"] == "tiny/1" and row["AP50"] == pytest.approx(1, abs=1e-3) and row["ms"] > 0
    assert row["images_per_second"] == pytest.approx(1000 / row["ms"], rel=0.5)


def test_what_is_no_export_of_these_classes(tiny_export, tmp_path):
    dataset = _dataset(tmp_path, np.zeros([0, 4], np.float32), ("cat", "square", "star"))
    with pytest.raises(ValueError, match="has the classes circle, square, star, the images have cat, square, star"):
        speed_accuracy.measure([str(tiny_export)], dataset)
    with pytest.raises(ValueError, match="holds no exported model"):
        speed_accuracy.measure([str(tmp_path)], dataset)
