"""Curves from the files of a run directory."""

import json

import pytest
import tensorflow as tf

from gfl_tf.training import curves
from gfl_tf.training.run_dir import RunDirectory


def _log(run, points):
    with tf.summary.create_file_writer(str(run.logs)).as_default():
        for step, loss in points:
            tf.summary.scalar("train/loss", loss, step=step)
            tf.summary.scalar("train/box_loss", loss / 2, step=step)
            tf.summary.scalar("train/learning_rate", 0.1, step=step)
            tf.summary.scalar("train/num_positives", 5.0, step=step)
            tf.summary.scalar("time/step_ms", 5.0, step=step)


def test_a_step_that_was_made_again_counts_once(tmp_path):
    run = RunDirectory(tmp_path)
    _log(run, [(10, 4.0), (20, 3.0), (10, 2.0)])
    run.evaluation.mkdir()
    for step, ap in ((10, 0.25), (20, 0.5)):
        content = {"step": step, "metrics": {"AP": ap, "AP50": 0.75, "AP75": 0.0}}
        (run.evaluation / f"step-{step:08d}.json").write_text(json.dumps(content))
    found = curves.read(run)
    assert found["loss"] == {"loss": ([10, 20], [2.0, 3.0]), "box": ([10, 20], [1.0, 1.5])}
    assert found["learning rate"] == {"learning rate": ([10, 20], pytest.approx([0.1, 0.1]))}
    assert found["AP"]["AP"] == ([10, 20], [0.25, 0.5]) and list(found["AP"]) == ["AP", "AP50", "AP75"]


def test_many_points_become_means_of_neighbours(tmp_path, monkeypatch):
    monkeypatch.setattr(curves, "MOST_POINTS", 2)
    _log(RunDirectory(tmp_path), [(step, float(step)) for step in (1, 3, 5, 7)])
    assert curves.read(RunDirectory(tmp_path))["loss"]["loss"] == ([2, 6], [2.0, 6.0])


def test_a_run_without_logs(tmp_path):
    assert curves.read(RunDirectory(tmp_path)) == {}
