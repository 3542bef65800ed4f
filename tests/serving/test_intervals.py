"""What a calibrated run's exports hand on, in each format, of boxes that were voted by the calibrated spread."""

import json
import shutil

import numpy as np
import pytest

from gfl_tf.serving import export, runners
from gfl_tf.training import run_dir
from tests.boxes.test_calibration import HALF_PX

pytestmark = pytest.mark.slow


@pytest.mark.parametrize(
    "options",
    [dict(), dict(format="tflite", canvas=(96, 160)), dict(format="onnx")],
    ids=["saved_model", "tflite", "onnx"],
)
def test_intervals_in_exports(tiny_run, tmp_path, options):
    for package in {"tflite": ["ai_edge_litert"], "onnx": ["tf2onnx", "onnxruntime"]}.get(options.get("format"), []):
        pytest.importorskip(package)
    run = run_dir.RunDirectory(shutil.copytree(tiny_run, tmp_path / "run"))
    run.save_calibration("best", HALF_PX, {})
    model, config = run_dir.load_run(run.path, intervals=(0.9,))
    model.prediction_decoder = model.prediction_decoder.changed(voting_sigma=0.05)
    image = np.random.default_rng(0).integers(0, 256, [96, 160, 3], np.uint8)
    expected = model.detect(image[np.newaxis].astype(np.float32))
    path = export.export(model, config.data.scale, tmp_path, "tiny", export.Options(**options), config.data.class_names)
    assert json.loads((path / "assets.extra" / "uncertainty.json").read_text()) == {"calibrated": True, "levels": [0.9]}
    found = runners.load(path)(image)
    count = int(expected["num_detections"][0])
    assert count == len(found["boxes"]) > 0
    for name in ("boxes", "edge_stddev", "edge_interval", "box_interval"):
        assert found[name].shape == expected[name][0, :count].shape
        np.testing.assert_allclose(found[name], expected[name][0, :count], rtol=1e-3, atol=1e-3)
