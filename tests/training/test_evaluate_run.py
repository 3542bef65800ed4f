"""The evaluation of a run on data that its training did not see."""

import json
import shutil

import numpy as np
import pytest
from PIL import Image

from gfl_tf.training import provenance
from gfl_tf.training.config import load_split
from gfl_tf.training.evaluate_run import evaluate_run
from gfl_tf.training.run_dir import RunDirectory

pytestmark = pytest.mark.one_stack


def test_a_list_of_images_gets_detections_under_its_ids_and_no_score(tiny_run, tmp_path, caplog):
    """Without annotations, as COCO's test-dev, with texts for ids and without one of the classes."""
    pixels = np.random.default_rng(0).integers(0, 256, [96, 160, 3], np.uint8)
    Image.fromarray(pixels).save(tmp_path / "a.png")
    content = {
        "images": [{"id": "IMG_1", "file_name": "a.png", "height": 96, "width": 160}],
        "categories": [{"id": "c", "name": "circle"}, {"id": "s", "name": "square"}],
    }
    (tmp_path / "list.json").write_text(json.dumps(content))
    result, _, output = evaluate_run(
        tiny_run, annotations=tmp_path / "list.json", images=tmp_path, output=tmp_path / "out"
    )
    stored = json.loads((output / "detections.json").read_text())
    assert stored and {item["image_id"] for item in stored} == {"IMG_1"}
    assert {item["category_id"] for item in stored} <= {"c", "s"}
    assert set(json.loads((output / "metrics.json").read_text())["metrics"].values()) == {-1.0}
    assert not any(character.isdigit() for character in result.table().splitlines()[2])
    assert "has no annotations" in caplog.text and "has no category star" in caplog.text


def test_the_held_out_images_of_a_run(tiny_run, tmp_path):
    """Without a flag; and a run whose annotations are gone does not take images that it was trained on."""
    run = shutil.copytree(tiny_run, tmp_path / "run")
    rng = np.random.default_rng(0)
    for number in range(5):
        Image.fromarray(rng.integers(0, 256, [96, 160, 3], np.uint8)).save(tmp_path / f"{number}.png")
    content = {
        "images": [{"id": n, "file_name": f"{n}.png", "height": 96, "width": 160} for n in range(5)],
        "annotations": [{"id": n, "image_id": n, "category_id": 1, "bbox": [10, 10, 40, 40]} for n in range(5)],
        "categories": [{"id": 1, "name": "circle"}, {"id": 2, "name": "square"}, {"id": 3, "name": "star"}],
    }
    (tmp_path / "a.json").write_text(json.dumps(content))
    config = json.loads((run / "config.json").read_text())
    config["data"].update(train_annotations=str(tmp_path / "a.json"), train_images=str(tmp_path), val_share=0.4)
    (run / "config.json").write_text(json.dumps(config))
    result, _, output = evaluate_run(run)
    assert output == run / "evaluation" / "best-held_out" and result.num_images == 2
    held_out = {record.id for record in load_split(RunDirectory(run).read_config(), "val").images}
    assert {item["image_id"] for item in result.detections} <= held_out and len(held_out) == 2
    made_of = json.loads((output / "metrics.json").read_text())["evaluated"]
    assert {record.id for record in load_split(provenance.config_of(made_of), "val").images} == held_out
    assert provenance.of_weights(RunDirectory(run), "best").items() <= made_of.items()
    (tmp_path / "a.json").unlink()
    with pytest.raises(ValueError, match="were held out of .*a.json, which is not there: put it back, or .*--annot"):
        evaluate_run(run)


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
    plain, _, _ = evaluate_run(tiny_run, **data, output=tmp_path / "plain")
    other, _, output = evaluate_run(
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
    _, metrics, _ = evaluate_run(tiny_run, **data, output=tmp_path / "none", decoder={"score_threshold": 0.9999})
    assert metrics["edges"]["matched"] == 0  # which is said, not left out
    with pytest.raises(ValueError, match="iou_threshold is 7"):
        evaluate_run(tiny_run, **data, output=tmp_path / "other", decoder={"iou_threshold": 7})
