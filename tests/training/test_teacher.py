"""A run that learns from a teacher: `config.train.teacher`."""

import dataclasses
import os
import re
import shutil
import signal
import subprocess
import sys

import numpy as np
import pytest

from gfl_tf import files
from gfl_tf.build import build_detector
from gfl_tf.checkpoints import weight_file
from gfl_tf.detectors.distillation import Distillation
from gfl_tf.serving import export
from gfl_tf.training import config as configs
from gfl_tf.training import fields, fit, teacher
from gfl_tf.training.report import StepReport
from gfl_tf.training.run_dir import RunDirectory, load_run
from tests.training import teachers
from tests.training.conftest import CONFIG_FILE

pytestmark = pytest.mark.one_stack


@pytest.fixture
def config(tiny_config, tmp_path):
    """5 steps with a teacher, without evaluation."""
    config, _, _ = configs.load_datasets(tiny_config)
    config.data.update(source="coco", directory="", val_annotations="", val_images="")
    config.train.update(epochs=1, milestones=(), log_every=1)
    config.train.teacher = teachers.make(config, tmp_path / "teacher")
    return config


def test_stopped_moved_changed_and_resumed(config, tmp_path, monkeypatch):
    def report_and_signal(self, step, *args, report=StepReport.step_done):
        if step == 2:
            os.kill(os.getpid(), signal.SIGINT)
        return report(self, step, *args)

    run = RunDirectory(tmp_path / "run")
    with monkeypatch.context() as patch:
        patch.setattr(StepReport, "step_done", report_and_signal)
        assert fit.train(config, run.path).step == 2

    moved, other = tmp_path / "moved", teachers.make(config, tmp_path / "other", seed=1)
    shutil.move(config.train.teacher, moved)
    with pytest.raises(ValueError, match=rf"^config.train.teacher={tmp_path}/teacher: .*/teacher holds no run: .*$"):
        fit.train(None, run.path)
    stored = run.read_config()
    for path, now in ((other, "weights of the SHA-256 .{12}..."), ("", "none")):
        stored.train.teacher = path
        with pytest.raises(ValueError, match=rf"teacher: weights of the SHA-256 .{{12}}\.\.\. in the run, now {now}"):
            fit.train(stored, run.path)
    stored.train.teacher = str(moved)
    stored.train.distillation.temperature = 5.0
    with pytest.raises(ValueError, match="config.train.distillation.temperature: 10.0 in the run, now 5.0"):
        fit.train(stored, run.path)

    stored.train.distillation.temperature = 10.0
    assert fit.train(stored, run.path).step == 5
    assert run.read_config().train.teacher == str(moved)
    log = run.log_file.read_text()
    assert f"learns from {moved}, too" in log
    losses = [float(loss) for loss in re.findall(r"region_distillation ([\d.]+)", log)]
    assert len(losses) == 5 and losses[-1] < losses[0]
    # Nothing of it is kept: neither in the checkpoints, which have what an untaught run has, nor in the weights.
    student, _ = load_run(run.path, "last")
    names = set(weight_file.named_variables(student))
    assert set(weight_file.read(run.weights_file("last"))) == names
    assert {name for name in np.load(run.checkpoints / "ckpt-5.npz").files if name.startswith("weights/")} == {
        f"weights/{name}" for name in names
    }
    assert student.distillation is None


def test_bad_teachers(config, tmp_path):
    def refused(message, path):
        config.train.teacher = str(path)
        with pytest.raises(ValueError, match=message) as error:
            fit.train(config, tmp_path / "run")
        assert "\n" not in str(error.value) and str(error.value).startswith("config.train.teacher=")
        assert not (tmp_path / "run").exists()

    whole = RunDirectory(config.train.teacher)
    refused("holds no run: there is no", tmp_path)
    refused("holds no run: there is no", tmp_path / "nowhere" / "last.npz")
    refused("the weights to load are 'first'; choose one of best, last", whole.path / "first.npz")
    whole.weights_file("best").unlink()
    refused("the run has no best.npz: let its training come to a checkpoint first", whole.path)
    of_teacher = whole.read_config()
    of_teacher.data.class_names = (*of_teacher.data.class_names[1:], "square")
    whole.start(of_teacher)
    expected = r"for 6 classes \(rectangle, .*, square\), and the data have 6 classes \(ellipse, .*, ring\): both need"
    refused(expected, whole.path / "last.npz")


def test_the_detectors_have_to_fit(config):
    assert teacher.find(config) == files.sha256(os.path.join(config.train.teacher, "best.npz"))
    student = build_detector(config)
    config.train.distillation.temperature = 3.0
    made = teacher.distillation(config, student)
    assert made.temperature == 3.0 and made.teacher.neck.channels == 32
    config.model.boxes.num_bins = 5
    with pytest.raises(ValueError, match="teacher=.*: boxes.num_bins is 4 of the teacher and 5 of the student"):
        teacher.distillation(config, build_detector(config))


def test_the_config_has_the_defaults_of_the_class():
    defaults = {field.name: field.default for field in dataclasses.fields(Distillation) if field.name != "teacher"}
    assert fields.default_train().distillation.to_dict() == defaults


def test_distillation_without_a_teacher_is_refused(tiny_config):
    tiny_config.train.distillation = dict(weight=0.5)
    with pytest.raises(ValueError, match="distillation.weight is 0.5, but there is no teacher: name one with --config"):
        configs.complete(tiny_config)
    tiny_config.train.distillation = dict(temperature=0.0)
    with pytest.raises(ValueError, match="config.train.distillation.temperature is 0.0; it must be a number above 0"):
        configs.complete(tiny_config)


# Deterministic operations stay on until the end of a process.
TRAIN = """
import os, signal, sys
from gfl_tf.config_files import load_config
from gfl_tf.training import fit
from gfl_tf.training.report import StepReport
config_file, data, teacher, run_dir, stop = sys.argv[1:]
config = load_config(config_file)
config.data.directory = data
config.data.augmentations = (dict(name="mosaic"), dict(name="flip"), dict(name="color_jitter"))
config.train.update(deterministic=True, epochs=1, milestones=(), ema_momentum=0.5, teacher=teacher)
config.train.distillation.class_weight = 0.1
report = StepReport.step_done
def report_and_signal(self, step, *args):
    if step == int(stop):
        os.kill(os.getpid(), signal.SIGINT)
    return report(self, step, *args)
StepReport.step_done = report_and_signal
fit.train(config, run_dir)
"""


@pytest.mark.slow
def test_resumed_to_the_last_bit_and_exported_without_the_teacher(config, shapes_directory, tmp_path):
    runs = [RunDirectory(tmp_path / name) for name in ("whole", "resumed")]
    for run, stop in ((runs[0], 0), (runs[1], 2), (runs[1], 0)):
        script = [sys.executable, "-c", TRAIN, CONFIG_FILE, shapes_directory, config.train.teacher, run.path, stop]
        environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "2"}
        done = subprocess.run(list(map(str, script)), capture_output=True, text=True, env=environment)
        assert done.returncode == 0, done.stderr[-4000:]
    assert "Going on from step 2" in runs[1].log_file.read_text()
    one, other = (weight_file.read(run.checkpoints / "ckpt-5.npz") for run in runs)
    assert set(one) == set(other)
    for name, value in one.items():
        np.testing.assert_array_equal(other[name], value, err_msg=name)

    student, _ = load_run(runs[0].path)
    folder = export.export(student, (64, 64), tmp_path / "exported", "m", export.Options())
    own = sum(variable.numpy().nbytes for variable in weight_file.named_variables(student).values())
    size = (folder / "variables" / "variables.data-00000-of-00001").stat().st_size
    assert 0.5 * own < size < 1.1 * own  # the teacher has three times as much
