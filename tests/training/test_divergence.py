"""What a run does where its numbers are not finite: it stops, skips the step, or goes back; and the step made again."""

import shutil
import types

import numpy as np
import pytest
import tensorflow as tf

from gfl_tf import compat
from gfl_tf.build import build_detector
from gfl_tf.checkpoints import weight_file
from gfl_tf.training import config as configs
from gfl_tf.training import finite_step, fit, replay
from gfl_tf.training.averaging import MovingAverage
from gfl_tf.training.cluster import Workers
from gfl_tf.training.divergence import MAX_SKIPS_IN_A_ROW, DivergedError, Divergence
from gfl_tf.training.optimizers import build_optimizer
from gfl_tf.training.report import StepReport
from gfl_tf.training.run_dir import RunDirectory


@pytest.fixture
def config(tiny_config):
    """10 steps, with normalization that learns from its batches; it is not evaluated."""
    config, _, _ = configs.load_datasets(tiny_config)
    config.data.update(source="coco", directory="", val_annotations="", val_images="")
    config.model.backbone.freeze_batch_norm = False
    return config


@pytest.fixture
def spoil(monkeypatch):
    """A function: the batches of these numbers, counted from 1 as they are drawn, get a box that is no number."""

    def spoil(*numbers):
        drawn = 0

        def timed_next(batches):
            nonlocal drawn
            drawn += 1
            images, labels = next(batches)
            if drawn in numbers:
                last = tf.one_hot(3, 4)[:, tf.newaxis, tf.newaxis] > 0
                labels = {**labels, "boxes": tf.where(last, float("nan"), labels["boxes"])}
            return (images, labels), 0.0

        monkeypatch.setattr(fit, "timed_next", timed_next)

    return spoil


@pytest.mark.slow
def test_stop_then_go_back_and_a_kill_after_it(config, tmp_path, spoil, monkeypatch):
    """What a kill right after going back leaves is copied: going on from there gives what the run itself gives."""
    run, killed = RunDirectory(tmp_path / "run"), tmp_path / "killed"
    config.train.update(go_back_factor=0.25, clip_norm=5.0, optimizer="adamw", ema_momentum=0.5, log_every=1)
    spoil(7)
    with pytest.raises(DivergedError, match=r"loss is not finite at step 7: loss nan .*; images \d.* =skip") as stopped:
        fit.train(config, run.path)
    kept = weight_file.read(run.diverged_step)
    assert kept["step"] == 7 and not run.diverged_steps.exists()

    step_done, rates = StepReport.step_done, []

    def copy(self, step, *args):
        rates.append((step, float(self._schedule(step - 1))))
        if len(rates) == 2:
            shutil.copytree(run.path, killed, ignore=shutil.ignore_patterns("train.lock"))
        return step_done(self, step, *args)

    config.train.on_divergence = "go_back"
    spoil(2)  # step 7 again
    with monkeypatch.context() as patch:
        patch.setattr(StepReport, "step_done", copy)
        assert fit.train(config, run.path).step == 10
    assert [step for step, _ in rates] == [6, 6, 7, 8, 9, 10] and rates[1][1] == pytest.approx(0.25 * rates[0][1])
    again = weight_file.read(run.diverged_step)
    assert all(np.array_equal(again[name], kept[name], equal_nan=kept[name].dtype.kind == "f") for name in kept)
    said = str(stopped.value).split(". The last checkpoint")[0]
    assert f"{said}. Back to step 5, from where on the learning rate is 0.25 of what it" in run.log_file.read_text()
    assert f"1 times the run went back to a checkpoint.\n\n- {said}\n" in run.report_file.read_text()

    spoil()
    assert fit.train(None, killed).step == 10
    expected, found = (weight_file.read(path / "checkpoints" / "ckpt-10.npz") for path in (run.path, killed))
    for name, value in expected.items():
        np.testing.assert_array_equal(found[name], value, err_msg=name)

    made = replay.replay(run, run.read_config())
    assert f"images {'; '.join(made.images)}" in said and len(made.images) == 4
    assert made.step == 7 and 0 < len(made.not_finite_then) < len(kept)
    np.testing.assert_array_equal(list(made.losses_now.values()), list(made.losses_then.values()))
    assert made.not_finite_now == made.not_finite_then
    assert "  loss: nan, nan\n" in replay.text(made) and f"  {made.not_finite_then[0]}" in replay.text(made)


@pytest.fixture
def divergence_of(tmp_path):
    """A function of `config.train` fields that gives the `Divergence` of one run directory."""
    run = types.SimpleNamespace(diverged_steps=tmp_path / "diverged" / "steps.json")

    def divergence_of(**fields):
        train = configs.default_train()
        train.update(fields)
        progress = types.SimpleNamespace(say=lambda text: None)
        return Divergence(run, train, progress, Workers())

    return divergence_of


LOSSES = {"loss": float("inf"), "box_loss": 1.0}
IMAGES = ["12 with 7, 8", "b.jpg"]


def test_skipping_ends(divergence_of):
    skipping = divergence_of(on_divergence="skip")
    skipping.left_out(2, LOSSES, ["head/kernel"], IMAGES)
    for step in range(4, 4 + MAX_SKIPS_IN_A_ROW - 1):
        skipping.left_out(step, LOSSES, [], IMAGES)
    again = divergence_of(on_divergence="skip")  # another process goes on
    assert again.skipped == MAX_SKIPS_IN_A_ROW
    with pytest.raises(DivergedError, match="13: loss inf .*; images 12 with 7, 8; b.jpg. 10 steps .* were skipped"):
        again.left_out(13, LOSSES, [], IMAGES)
    again.went_on_from(3)
    assert again.skipped == 1


def test_going_back_ends(divergence_of):
    error = DivergedError("a number is none")
    for times in range(2):
        going = divergence_of(on_divergence="go_back", max_go_backs=2)
        going.went_on_from(5)
        with pytest.raises(DivergedError, match="step 9: loss inf"):
            going.left_out(9, LOSSES, [], IMAGES)
        going.check_go_back(error)
        going.went_back(error, 5 + times)
        assert list(going.lowered_from.numpy()) == [5, 6][: times + 1]
    with pytest.raises(DivergedError, match="a number is none. The run went back config.train.max_go_backs = 2 times"):
        divergence_of(on_divergence="go_back", max_go_backs=2).check_go_back(error)
    going.went_on_from(None)  # the run begins again
    assert not len(going.lowered_from.numpy())
    with pytest.raises(DivergedError, match="a number is none. The .*on_divergence=go_back"):
        divergence_of(on_divergence="skip").check_go_back(error)


def test_damaged_steps_are_named(divergence_of, caplog):
    file = divergence_of()._file
    file.parent.mkdir()
    for content in ('[{"did": "skip"}]', "[", "{}", "[1]"):
        caplog.clear()
        file.write_text(content)
        assert divergence_of().skipped == 0 and str(file) in caplog.text


def test_loss_scaling_is_no_divergence(config):
    """The scale of float16's loss is too large first; then the loss itself is not finite."""
    config = configs.complete(config)
    config.precision = "mixed_float16"
    model = build_detector(config)
    model.compile(optimizer=build_optimizer(config.train, 0.01, model, config.precision))
    model.optimizer.build(model.trainable_variables)
    average = MovingAverage(model, weight_file.named_variables(model), 0.5)
    step = finite_step.build(model, tf.distribute.get_strategy(), average)
    labels = {"boxes": tf.constant([[[4.0, 4, 40, 50]]]), "classes": tf.zeros([1, 1])}
    images = tf.random.stateless_uniform((1, 64, 64, 3), seed=(1, 2), maxval=255.0)
    scale = compat.loss_scale(model.optimizer)

    def state():
        variables = [*model.variables, *model.optimizer.variables, *average.state.values()]
        return [np.array(variable.numpy()) for variable in variables]

    for value, factor, made, scale_after in ((2.0**40, 1.0, True, 2.0**39), (8.0, np.nan, False, 8.0)):
        scale.assign(value)
        before = state()
        done = step((images, {**labels, "boxes": factor * labels["boxes"]}))
        assert bool(done.is_finite) == made and float(scale) == scale_after and not np.isfinite(done.squares).all()
    assert all(np.array_equal(one, other) for one, other in zip(before, state()))
    assert int(model.optimizer.iterations.numpy()) == 1
