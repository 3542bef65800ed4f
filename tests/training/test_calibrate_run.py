"""The calibration of a run: on objects whose distance from what the model finds is known."""

import json
import shutil

import numpy as np
import pytest
from PIL import Image

from gfl_tf.training import run_dir as run_dirs
from gfl_tf.training.calibrate_run import calibrate_run
from gfl_tf.training.evaluate_run import evaluate_run

pytestmark = pytest.mark.one_stack

SPREAD_PX = 2.0


@pytest.fixture(scope="module")
def run_and_data(tiny_run, tmp_path_factory):
    """A run, and annotations that lie by a normal error beside its detections; four of the images were trained on."""
    folder = tmp_path_factory.mktemp("calibration")
    run = shutil.copytree(tiny_run, folder / "run")
    rng = np.random.default_rng(0)
    images = []
    for number in range(16):
        Image.fromarray(rng.integers(0, 256, [96, 160, 3], np.uint8)).save(folder / f"{number}.png")
        images.append({"id": number, "file_name": f"{number}.png", "height": 96, "width": 160})
    categories = [{"id": n, "name": name} for n, name in enumerate(("circle", "square", "star"))]
    content = {"images": images, "annotations": [], "categories": categories}
    path = folder / "a.json"
    path.write_text(json.dumps(content))
    result, _, _ = evaluate_run(run, annotations=path, images=folder, output=folder / "found")
    for number, item in enumerate(result.detections):
        x, y, width, height = item["bbox"]
        left, top, right, bottom = np.array([x, y, x + width, y + height]) + rng.normal(0, SPREAD_PX, 4)
        box = [left, top, right - left, bottom - top]
        content["annotations"].append({**item, "id": number, "bbox": box, "area": box[2] * box[3], "iscrowd": 0})
    path.write_text(json.dumps(content))
    (folder / "trained.json").write_text(json.dumps({**content, "images": images[:4], "annotations": []}))
    config = json.loads((run / "config.json").read_text())
    config["data"].update(train_annotations=str(folder / "trained.json"), train_images=str(folder))
    (run / "config.json").write_text(json.dumps(config))
    return run, {"annotations": path, "images": folder}


def test_a_run_that_held_out_nothing(tiny_run):
    with pytest.raises(ValueError, match="has held out no images .*calibration_share.*--annotations=PATH"):
        calibrate_run(tiny_run)


def test_calibrated(run_and_data, tmp_path, caplog):
    run, data = run_and_data
    calibration, before = calibrate_run(run, **data, levels=(0.5, 0.9))
    assert "4 of these 16 images were trained on" in caplog.text
    assert not before["calibrated"] and before["matched"] > 100
    # At the borders of the image both boxes are cut.
    np.testing.assert_allclose(calibration.found, SPREAD_PX, atol=0.8)
    stored = json.loads((run / "calibration.json").read_text())
    assert stored["measured"]["image_ids"] == list(range(16)) and stored["weights"] == "best"
    _, metrics, _ = evaluate_run(run, **data, output=tmp_path)
    assert metrics["edges"]["calibrated"] and metrics["scores"]["detections"] >= before["matched"]
    for interval in metrics["edges"]["intervals"]:
        assert interval["coverage"] == pytest.approx(interval["level"], abs=0.06)
    model, _ = run_dirs.load_run(run, intervals=(0.9,))
    assert model.edge_calibration.levels == (0.9,)
    with pytest.raises(ValueError, match="no intervals of 0.8"):
        run_dirs.load_run(run, intervals=(0.8,))


def test_other_weights_are_not_calibrated(run_and_data, caplog):
    run, data = run_and_data
    if not (run / "calibration.json").exists():
        calibrate_run(run, **data)
    content = json.loads((run / "calibration.json").read_text())
    (run / "calibration.json").write_text(json.dumps({**content, "weights_sha256": "0"}))
    assert run_dirs.load_run(run)[0].edge_calibration is None and "is of other weights" in caplog.text
    with pytest.raises(ValueError, match="its best weights are not calibrated"):
        run_dirs.load_run(run, intervals=(0.9,))
    (run / "calibration.json").write_text("{}")
    with pytest.raises(ValueError, match="calibration.json is damaged"):
        run_dirs.load_run(run)
