"""bin/train through its real command line."""

import re

import pytest

from gfl_tf.training.run_dir import load_run


@pytest.mark.one_stack
def test_stop_and_resume(trained_run):
    stopped, resumed = trained_run.stopped, trained_run.resumed
    assert stopped.returncode == 130, stopped.stderr[-3000:]
    assert "Stopping after this step" in stopped.stderr
    match = re.search(r"Stopped at step (\d+) of 10 by SIGINT.* with: gfl-train --run_dir=(\S+)\n", stopped.stdout)
    assert match, stopped.stdout
    assert 1 <= int(match[1]) < 10 and match[2] == str(trained_run.directory)

    assert resumed.returncode == 0, resumed.stderr[-3000:]
    assert f"Going on from step {match[1]}." in resumed.stdout
    assert "Finished 10 steps" in resumed.stdout
    page = trained_run.directory / "report" / "index.html"
    assert f"The page about the run lies in {page}" in resumed.stdout
    assert all(f'id="{part}"' in page.read_text() for part in ("scores", "worst", "training", "settings"))
    seen = [int(step) for step in re.findall(r"^step (\d+)/10 ", stopped.stdout + resumed.stdout, re.MULTILINE)]
    assert seen == list(range(1, 11))


def test_what_a_run_leaves(trained_run):
    names = {path.name for path in trained_run.directory.iterdir()}
    assert names == {
        "best.npz", "checkpoints", "config.json", "data.json", "evaluation", "first_batch.jpg", "last.npz", "logs",
        "report", "report.md", "train.log", "worst_images.json",
    }  # fmt: skip
    model, config = load_run(trained_run.directory, "last")
    assert config.train.log_every == 1 and model.num_classes == len(config.data.class_names) == 6


def test_help_is_for_newcomers(command):
    done = command("train", "--help")
    for text in ("gfl-train --config=gflv2_shapes", "--run_dir", "--strategy", "goes on after Ctrl-C", "tensorboard"):
        assert text in done.stdout, text
    assert not done.stderr  # TensorFlow is not even loaded


def test_missing_data_names_the_field(command, tmp_path):
    done = command("train", "--config=configs/small.py", f"--run_dir={tmp_path / 'run'}")
    assert done.returncode == 1 and "Traceback" not in done.stderr
    assert "train: config.data.train_annotations is not set" in done.stderr
    assert "--config.data.train_annotations=data/annotations/train.json" in done.stderr
    assert not (tmp_path / "run").exists()


def test_no_config_and_no_run(command, tmp_path):
    done = command("train", f"--run_dir={tmp_path}")
    assert done.returncode == 1 and "Traceback" not in done.stderr
    assert "holds no run" in done.stderr and "--config" in done.stderr


def test_unknown_field_is_an_error(command, tmp_path):
    done = command("train", "--config=configs/small.py", f"--run_dir={tmp_path}", "--config.train.epoch=3")
    assert done.returncode != 0 and "epoch" in done.stderr
