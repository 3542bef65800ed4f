"""Which evaluation in a run directory is that of its weights."""

import json
import os

import ml_collections
import numpy as np
import pytest
import tensorflow as tf

from gfl_tf.checkpoints import weight_file
from gfl_tf.training import config as configs
from gfl_tf.training import run_dir


@pytest.fixture
def run(tmp_path):
    """A run directory with both weights files, written at second 100, and no evaluations."""
    run = run_dir.RunDirectory(tmp_path)
    run.evaluation.mkdir()
    for which in run_dir.WEIGHTS:
        run.weights_file(which).touch()
        os.utime(run.weights_file(which), (100, 100))
    return run


def step_file(run, step, ap):
    content = {"step": step, "metrics": {"AP": ap}}
    (run.evaluation / f"step-{step:08d}.json").write_text(json.dumps(content))
    return content


def later_file(run, name, second, **content):
    file = run.evaluation / name / "metrics.json"
    file.parent.mkdir()
    file.write_text(json.dumps(content))
    os.utime(file, (second, second))


def save_checkpoint(run, step):
    manager = tf.train.CheckpointManager(tf.train.Checkpoint(step=tf.Variable(step)), str(run.checkpoints), 1)
    manager.save(checkpoint_number=step)


def test_nothing_was_evaluated(run):
    assert [run.evaluation_of(which) for which in run_dir.WEIGHTS] == [None, None]
    save_checkpoint(run, 8)
    assert run.evaluation_of("last") is None


def test_the_newest_of_the_best_and_that_of_the_last_step(run):
    contents = [step_file(run, step, ap) for step, ap in ((4, 0.1), (8, 0.3), (12, 0.3), (16, 0.2))]
    assert run.evaluation_of("best") == {"file": "evaluation/step-00000012.json", **contents[2]}
    assert run.evaluation_of("last") is None  # no checkpoint: nobody knows the step of these weights
    save_checkpoint(run, 14)
    assert run.evaluation_of("last") is None
    save_checkpoint(run, 16)
    assert run.evaluation_of("last") == {"file": "evaluation/step-00000016.json", **contents[3]}


def test_those_after_the_training(run):
    later_file(run, "best-old", 99, metrics={"AP": 0.9})
    later_file(run, "best-tta-val", 300, metrics={"AP": 0.8}, tta={"flip": True})
    later_file(run, "last-val", 200, metrics={"AP": 0.7})
    assert run.evaluation_of("best") is None
    later_file(run, "best-val", 102, metrics={"AP": 0.6})
    later_file(run, "best-other", 101, metrics={"AP": 0.5})
    assert run.evaluation_of("best") == {"file": "evaluation/best-val/metrics.json", "metrics": {"AP": 0.6}}
    assert run.evaluation_of("last") == {"file": "evaluation/last-val/metrics.json", "metrics": {"AP": 0.7}}
    step_file(run, 4, 0.1)  # that of the training goes first
    assert run.evaluation_of("best")["step"] == 4


def _config(**data):
    return configs.complete(ml_collections.ConfigDict({"model": {}, "data": data}))


def _data(num_images=3):
    part = {"num_images": num_images, "class_names": ["cat"], "image_names": "a", "boxes": "b"}
    return {"train": part, "val": None}


def test_data_may_lie_elsewhere(run):
    run.start(_config(train_images="/old"), _data())
    save_checkpoint(run, 4)
    moved = dict(train_annotations="/new.json", train_images="/new", val_annotations="/val.json", val_images="/val")
    run.start(_config(**moved, on_bad_image="skip", directory="/shapes"), _data())
    assert {name: run.read_config().data[name] for name in moved} == moved
    with pytest.raises(ValueError, match="config.data.keep_empty: True in the run, now False"):
        run.start(_config(**moved, keep_empty=False), _data())


def test_other_data_are_refused(run):
    run.start(_config(train_images="/old"), _data())
    run.start(_config(train_images="/old"), _data(4))  # nothing was trained yet
    save_checkpoint(run, 4)
    with pytest.raises(ValueError, match="(?s)train: num_images 4 in the run, now 3.*--config.data.val_images"):
        run.start(_config(train_images="/new"), _data(3))
    assert run.read_config().data.train_images == "/old"


def test_data_of_a_run_from_before_are_not_compared(run, caplog):
    run.start(_config())
    save_checkpoint(run, 4)
    run.start(_config(train_images="/new"), _data())
    assert "whether its data are the same is not checked" in caplog.text and run.data_file.exists()


DAMAGED = [b"", b"{", b"\0\0\0", b"[]", b"{}", b'{"step": 8, "metrics": {}}', b'{"step": 8, "metrics": {"AP": null}}']


@pytest.mark.parametrize("content", DAMAGED)
def test_a_damaged_evaluation_is_named_and_does_not_count(run, content, caplog):
    step_file(run, 4, 0.1)
    step_file(run, 8, 0.3)
    damaged = run.evaluation / "step-00000008.json"
    damaged.write_bytes(content)
    assert run.evaluation_of("best")["step"] == 4
    assert [stored["step"] for stored in run.evaluations().values()] == [4]
    assert str(damaged) in caplog.text


@pytest.mark.parametrize("content", [b"", b"{", b"\0\0", b"[]"])
def test_a_damaged_config_is_named(run, content):
    run.config_file.write_bytes(content)
    with pytest.raises(ValueError, match=f"{run.config_file} is damaged: .*Remove it and .* --config"):
        run.read_config()


@pytest.mark.parametrize("content", [b"", b"{", b"\0\0"])
def test_damaged_data_are_named_and_not_compared(run, content, caplog):
    run.start(_config(), _data())
    save_checkpoint(run, 4)
    run.data_file.write_bytes(content)
    run.start(_config(), _data(4))
    assert f"{run.data_file} cannot be read" in caplog.text and "is not checked" in caplog.text


def test_checkpoints_that_are_gone_do_not_begin_a_run_again(run):
    step_file(run, 4, 0.1)
    weight_file.save_arrays({"a": np.float32(1)}, run.weights_file("last"))
    with pytest.raises(ValueError, match=f"checkpoints has no .*--config.model.weights={run.weights_file('last')}"):
        run.start(_config(), _data())
    run.weights_file("last").write_bytes(b"")
    with pytest.raises(ValueError, match="another --run_dir; it has no weights either"):
        run.start(_config(), _data())


def test_a_run_killed_before_its_first_checkpoint_begins_again(run):
    step_file(run, 4, 0.1)
    run.weights_file("last").unlink()
    run.start(_config(), _data())
    assert run.evaluation_of("best") is None and os.listdir(run.evaluation) == ["lost-00000004.json"]


def test_what_a_killed_training_left_half_written_goes(run):
    save_checkpoint(run, 4)
    left = [run.path / ".partial-1-last.npz", run.evaluation / ".partial-1-step-00000004.json"]
    left += [run.checkpoints / name for name in (".partial-1-ckpt-8.npz", "ckpt-8_temp")]
    for path in left[:-1]:
        path.touch()
    left[-1].mkdir()
    (left[-1] / "part-00000-of-00001.index").touch()
    run.start(_config())
    assert not any(path.exists() for path in left) and run.has_checkpoint()


def test_a_path_that_is_too_long_is_refused():
    with pytest.raises(ValueError, match="the path of the run directory has .* bytes"):
        run_dir.RunDirectory("/" + "ü/" * 2000)


def test_unknown_weights(run):
    with pytest.raises(ValueError, match="'first'; choose one of best, last"):
        run.evaluation_of("first")


def test_a_first_checkpoint_that_was_cut_off_is_none(tmp_path):
    """A kill between its two files: the run begins anew; later on, where there are weights, it is a damaged one."""
    run = run_dir.RunDirectory(tmp_path)
    run.checkpoints.mkdir()
    (run.checkpoints / "ckpt-5.npz").write_bytes(b"1")
    assert not run.has_checkpoint()
    run.weights_file("last").write_bytes(b"1")
    assert run.has_checkpoint()
    run.weights_file("last").unlink()
    (run.checkpoints / "ckpt-5.sha256").write_text("1")
    assert run.has_checkpoint()
