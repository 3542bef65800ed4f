"""Whole small trainings whose files are damaged, whose numbers go wrong, or that are stopped at bad moments."""

import os
import re
import shlex
import shutil
import signal

import keras
import numpy as np
import pytest

from gfl_tf.checkpoints import weight_file
from gfl_tf.evaluation import coco
from gfl_tf.training import fit, lock
from gfl_tf.training.divergence import DivergedError
from gfl_tf.training.run_dir import WEIGHTS, RunDirectory, load_run

pytestmark = pytest.mark.one_stack

TOTAL_STEPS = 10


@pytest.fixture(scope="module")
def finished(tmp_path_factory, shapes_directory):
    """Run directory of a finished training, whose name has all that is special in patterns and shells."""
    from tests.training.test_fit import _averaging_config

    run_dir = tmp_path_factory.mktemp("whole") / "Läufe [1] *?"
    fit.train(_averaging_config(shapes_directory), run_dir)
    return run_dir


@pytest.fixture
def run(finished, tmp_path):
    """A copy of it, at any place."""
    return RunDirectory(shutil.copytree(finished, tmp_path / "run [2] *?"))


def _flip(path):
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def _log(run):
    return run.log_file.read_text()


def test_a_damaged_newest_checkpoint(run, caplog):
    weights = {which: weight_file.read(run.weights_file(which)) for which in WEIGHTS}
    scores = {path.name: stored["metrics"] for path, stored in run.evaluations().items()}
    _flip(run.checkpoints / "ckpt-10.npz")
    outcome = fit.train(None, run.path)
    assert "ckpt-10.npz is damaged" in caplog.text and "Going on from step 5." in _log(run)
    assert outcome.step == TOTAL_STEPS and _log(run).count("evaluation at step 10") == 2
    for which in WEIGHTS:
        for name, value in weight_file.read(run.weights_file(which)).items():
            np.testing.assert_allclose(value, weights[which][name], rtol=1e-5, atol=1e-6)
    for path, stored in run.evaluations().items():
        assert stored["metrics"] == pytest.approx(scores[path.name], abs=1e-6)
    assert sorted(path.name for path in run.checkpoints.glob("*.npz")) == ["ckpt-10.npz", "ckpt-5.npz"]


def test_no_good_checkpoint(run):
    before = {path: path.read_bytes() for path in run.path.glob("*.npz")}
    for path in run.checkpoints.glob("*.npz"):
        _flip(path)
    with pytest.raises(ValueError, match="none of the checkpoints .* --config.model.weights=.*last.npz"):
        fit.train(None, run.path)
    assert {path: path.read_bytes() for path in run.path.glob("*.npz")} == before


@pytest.mark.parametrize("which, damage", [("best", os.unlink), ("last", _flip)])
def test_damaged_weights_are_made_anew(run, which, damage, caplog):
    file = run.weights_file(which)
    before = weight_file.read(file)
    last = weight_file.read(run.weights_file("last"))
    damage(file)
    outcome = fit.train(None, run.path)
    assert outcome.step == TOTAL_STEPS and str(file) in caplog.text
    after = weight_file.read(file)
    assert all(np.array_equal(after[name], (before if which == "last" else last)[name]) for name in after)
    assert (outcome.best_step == TOTAL_STEPS) or which == "last"
    assert run.evaluation_of("best")["step"] == outcome.best_step


def test_what_can_be_done_where_weights_are_damaged(run):
    command = re.escape(f"gfl-train --run_dir={shlex.quote(str(run.path))}")
    again = f"{command} goes on with the run and takes those of the next evaluation"
    _flip(run.weights_file("best"))
    with pytest.raises(ValueError, match=f"best.npz .* or damaged: .*The run has others: --checkpoint=last. {again}$"):
        load_run(run.path)
    run.weights_file("best").unlink()
    run.weights_file("last").unlink()
    with pytest.raises(
        ValueError, match="has no last.npz. gfl-train .* goes on with the run and takes those of the last ch"
    ):
        load_run(run.path, "last")


def test_one_training_at_a_time(run):
    before = {path: path.read_bytes() for path in run.path.rglob("*") if path.is_file()}
    with lock.held(run.path / "train.lock"):
        with pytest.raises(ValueError, match=f"is in use by process {os.getpid()}"):
            fit.train(None, run.path)
    assert {path: path.read_bytes() for path in run.path.rglob("*") if path.is_file()} == before


@pytest.fixture
def young(finished, tmp_path):
    """A copy of the finished run as it was when its last evaluation began, at step 10."""
    run = RunDirectory(shutil.copytree(finished, tmp_path / "young"))
    for path in (run.evaluation / "step-00000010.json", run.report_file):
        path.unlink()
    return run


def test_a_signal_in_an_evaluation(young, monkeypatch):
    def collect(model, dataset, batches, detect, progress):
        os.kill(os.getpid(), signal.SIGHUP)
        progress(1, 6)

    monkeypatch.setattr(coco, "collect", collect)
    outcome = fit.train(None, young.path)
    assert (outcome.step, outcome.stopped_by) == (TOTAL_STEPS, signal.SIGHUP)
    assert "Stopped at step 10 of 10 by SIGHUP" in _log(young) and not (young.path / "train.lock").exists()


def test_weights_that_are_not_finite_are_not_evaluated(young, monkeypatch):
    monkeypatch.setattr(coco, "collect", lambda *_, **__: pytest.fail("of what is no number"))
    before = young.weights_file("best").read_bytes()
    check = fit.Checkpoints.check_finite

    def explode(self):
        kernel = next(variable for name, variable in self._variables.items() if name.endswith("/kernel"))
        kernel.assign(kernel * np.nan)
        check(self)

    monkeypatch.setattr(fit.Checkpoints, "check_finite", explode)
    with pytest.raises(DivergedError, match="is not finite after step 10"):
        fit.train(None, young.path)
    assert young.weights_file("best").read_bytes() == before


def test_an_update_that_explodes_just_before_a_save_makes_no_weights(tiny_config, tmp_path, monkeypatch):
    """The loss of the only step is a number, the weights after it are none."""
    nothing = keras.optimizers.schedules.ExponentialDecay(float("nan"), 1, 1.0)
    monkeypatch.setattr(fit, "build_schedule", lambda *_: nothing)
    tiny_config.train.update(batch_size=18, epochs=1, warmup_steps=0, milestones=())
    run = RunDirectory(tmp_path / "run")
    with pytest.raises(DivergedError, match=r"weights/.* is not finite after step 1\."):
        fit.train(tiny_config, run.path)
    assert not run.has_checkpoint() and not list(run.path.rglob("*.npz")) and not run.has_evaluation()
    assert not list(run.path.rglob(".partial*"))
