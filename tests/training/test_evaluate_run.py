"""The evaluation of a run on data that its training did not see."""

import json

import numpy as np
import pytest
from PIL import Image

from gfl_tf.training.evaluate_run import evaluate_run


def test_a_list_of_images_gets_detections_under_its_ids_and_no_score(tiny_run, tmp_path, caplog):
    """Without annotations, as COCO's test-dev, with texts for ids and without one of the classes."""
    pixels = np.random.default_rng(0).integers(0, 256, [96, 160, 3], np.uint8)
    Image.fromarray(pixels).save(tmp_path / "a.png")
    content = {
        "images": [{"id": "IMG_1", "file_name": "a.png", "height": 96, "width": 160}],
        "categories": [{"id": "c", "name": "circle"}, {"id": "s", "name": "square"}],
    }
    (tmp_path / "list.json").write_text(json.dumps(content))
    result, output = evaluate_run(
        tiny_run, annotations=tmp_path / "list.json", images=tmp_path, output=tmp_path / "out"
    )
    stored = json.loads((output / "detections.json").read_text())
    assert stored and {item["image_id"] for item in stored} == {"IMG_1"}
    assert {item["category_id"] for item in stored} <= {"c", "s"}
    assert set(json.loads((output / "metrics.json").read_text())["metrics"].values()) == {-1.0}
    assert not any(character.isdigit() for character in result.table().splitlines()[2])
    assert "has no annotations" in caplog.text and "has no category star" in caplog.text


def test_other_settings(tiny_run, tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, [96, 160, 3], np.uint8)
    Image.fromarray(pixels).save(tmp_path / "a.png")
    content = {
        "images": [{"id": 1, "file_name": "a.png", "height": 96, "width": 160}],
        "annotations": [{"id": 1, "image_id": 1, "category_id": 1, "bbox": [10, 10, 40, 40]}],
        "categories": [{"id": 1, "name": "circle"}, {"id": 2, "name": "square"}, {"id": 3, "name": "star"}],
    }
    (tmp_path / "a.json").write_text(json.dumps(content))
    data = dict(annotations=tmp_path / "a.json", images=tmp_path)
    plain, _ = evaluate_run(tiny_run, **data, output=tmp_path / "plain")
    other, output = evaluate_run(
        tiny_run,
        **data,
        output=tmp_path / "other",
        scale=(320, 192),
        decoder={"max_detections": 2, "nms": "soft_linear"},
    )
    assert len(other.detections) == 2 < len(plain.detections)
    assert [item["bbox"] for item in other.detections] != [item["bbox"] for item in plain.detections][:2]
    stored = json.loads((output / "metrics.json").read_text())["settings"]
    assert stored == {"scale": [320, 192], "max_detections": 2, "nms": "soft_linear"}
    with pytest.raises(ValueError, match="iou_threshold is 7"):
        evaluate_run(tiny_run, **data, output=tmp_path / "other", decoder={"iou_threshold": 7})
