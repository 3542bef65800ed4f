"""The report of a run, from what lies in its directory."""

import json

import ml_collections
import pytest

from gfl_tf.evaluation.coco import METRICS
from gfl_tf.training import config as configs
from gfl_tf.training import summary
from gfl_tf.training.run_dir import RunDirectory


@pytest.fixture
def run(tmp_path):
    run = RunDirectory(tmp_path / "my run")
    run.start(configs.complete(_config()))
    return run


def _config():
    data = {"val_images": "/data/val", "train_images": "/data/train"}
    return ml_collections.ConfigDict({"name": "tiny", "model": {}, "data": data})


def _evaluated(run, step, ap):
    metrics = {**dict.fromkeys(METRICS, 0.5), "AP": ap}
    content = {"step": step, "metrics": metrics, "per_class_AP": {"cat": 0.25, "dog": -1.0}, "num_images": 6}
    (run.evaluation / f"step-{step:08d}.json").write_text(json.dumps(content))


def _worst(run, step):
    image = {"file": "/data/val/a.jpg", "objects": 4, "missed": 3, "false": 1, "f1": 1 / 3}
    run.worst_images_file.write_text(json.dumps({"step": step, "images": [image]}))


def test_report(run):
    _evaluated(run, 5, 0.375)
    _evaluated(run, 10, 0.125)
    _worst(run, 5)
    text = summary.text(run, run.read_config(), 10)
    assert "| 37.5 | 50.0 |" in text and "| cat   | 25.0 |" in text and "on 6 images" in text
    assert f"- best, of step 5: {run.path / 'best.npz'}\n- last, of step 10: {run.path / 'last.npz'}" in text
    assert "| 0.33 | 4 | 3 | 1 | /data/val/a.jpg |" in text
    assert f"gfl-predict --run_dir='{run.path}' --images=/data/val --output='{run.path / 'predictions'}'" in text


def test_what_to_try(run):
    for step, ap in ((5, 0.2), (10, 0.4), (15, 0.5), (20, 0.6)):
        _evaluated(run, step, ap)
    text = summary.text(run, run.read_config(), 20)
    assert "- AP rose to the end, by 10.0 since step 15: train longer, --config.train.epochs=24." in text
    assert "- The weakest of the 1 classes that occur: cat (25.0)" in text


def test_images_of_other_weights_are_left_out(run):
    _evaluated(run, 5, 0.375)
    _worst(run, 4)
    assert "a.jpg" not in summary.text(run, run.read_config(), 10)


def test_without_validation(run):
    text = summary.text(run, run.read_config(), 10)
    assert "The weights were not evaluated." in text and "- best, of step 10:" in text
