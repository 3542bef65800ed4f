"""Whole small trainings: what they leave behind, and that a stopped one goes on as if it had not been."""

import json
import os
import shutil
import signal

import numpy as np
import pytest
import tensorflow as tf
from absl import logging as absl_logging
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from gfl_tf.checkpoints.weight_file import named_variables
from gfl_tf.config_files import load_config
from gfl_tf.data import pipeline
from gfl_tf.data.augmentations.flips import Flip
from gfl_tf.data.augmentations.resizing import Zoom
from gfl_tf.data.batching import TrainingPlan
from gfl_tf.evaluation import coco
from gfl_tf.training import config as configs
from gfl_tf.training import fit
from gfl_tf.training.checkpoint import Checkpoints
from gfl_tf.training.report import StepReport
from gfl_tf.training.run_dir import RunDirectory, load_run

TOTAL_STEPS = 10  # 2 epochs of 18 images in batches of 4


@pytest.fixture(scope="module")
def whole_run(tmp_path_factory, shapes_directory):
    """(run directory, outcome) of an uninterrupted training, with a moving average."""
    config = _averaging_config(shapes_directory)
    run_dir = tmp_path_factory.mktemp("whole") / "run"
    return run_dir, fit.train(config, run_dir)


def _averaging_config(shapes_directory):
    config = load_config(os.path.join(os.path.dirname(__file__), "tiny.py"))
    config.data.directory = str(shapes_directory)
    config.train.ema_momentum = 0.5
    return config


def _evaluations(run_dir):
    return {file.name: json.loads(file.read_text()) for file in RunDirectory(run_dir).evaluation.glob("*.json")}


def test_outcome(whole_run):
    run_dir, outcome = whole_run
    assert (outcome.step, outcome.total_steps, outcome.stopped_by) == (TOTAL_STEPS, TOTAL_STEPS, None)
    evaluations = _evaluations(run_dir)
    assert sorted(evaluations) == ["step-00000005.json", "step-00000010.json"]
    assert outcome.best_ap == max(stored["metrics"]["AP"] for stored in evaluations.values())
    assert len(list(RunDirectory(run_dir).checkpoints.glob("ckpt-*.npz"))) == 2


def test_report_of_the_run(whole_run):
    run_dir, outcome = whole_run
    run = RunDirectory(run_dir)
    report, log = run.report_file.read_text(), run.log_file.read_text()
    assert f"- best, of step {outcome.best_step}: {run.weights_file('best')}" in report
    assert "## Validation images with the most mistakes" in report
    assert all(line in log for line in report.splitlines())
    assert f"the model gets them: {run.first_batch_file}" in log and run.first_batch_file.is_file()


def test_the_picture_is_of_the_batch_that_is_trained_on(tiny_config, tmp_path, monkeypatch):
    class Drawn(Exception):
        pass

    def draw(batch, bounding_box_format, class_names):
        raise Drawn(batch, bounding_box_format, class_names)

    monkeypatch.setattr(fit.first_batch, "draw", draw)
    tiny_config.model.bounding_box_format = "xywh"
    with pytest.raises(Drawn) as drawn:
        fit.train(tiny_config, tmp_path / "run")
    (images, labels), bounding_box_format, class_names = drawn.value.args
    config, dataset, _ = configs.load_datasets(tiny_config)
    batches = pipeline.training_batches(dataset, 4, scale=(64, 64), bounding_box_format="xywh", seed=config.seed)
    expected_images, expected = next(iter(batches))
    np.testing.assert_array_equal(labels["boxes"], expected["boxes"])
    np.testing.assert_array_equal(images, expected_images)
    assert bounding_box_format == "xywh" and class_names == config.data.class_names


@pytest.mark.one_stack
def test_goes_on_without_a_bad_image_and_with_moved_data(tiny_config, tmp_path, monkeypatch):
    """Some of the data being held out, which stay so."""
    config, _, _ = configs.load_datasets(tiny_config)
    config.data.update(source="coco", directory="", val_annotations="", val_images="", val_share=0.2)
    dataset = configs.load_split(config, "train")
    config.data.train_images = str(shutil.copytree(config.data.train_images, tmp_path / "images"))
    config.train.update(epochs=1, milestones=())
    sizes = [(record.height, record.width) for record in dataset.images]
    third = TrainingPlan(sizes, 4, [(64, 64)], seed=config.seed).epoch(0)[2]
    names = [os.path.basename(record.path) for record in dataset.images]
    name = names[third.indices[0]]
    broken = tmp_path / "images" / name

    def load_and_break(config, load=configs.load_datasets):
        loaded = load(config)
        broken.write_bytes(b"")
        return loaded

    run_dir = tmp_path / "run"
    remedy = f"gfl-train --run_dir={run_dir} --config.data.on_bad_image=skip"
    with (
        pytest.raises(ValueError, match=f"^Image file .*{name} cannot be read.*{remedy}$"),
        monkeypatch.context() as own,
    ):
        own.setattr(configs, "load_datasets", load_and_break)
        fit.train(config, run_dir)
    stored = RunDirectory(run_dir).read_config()
    stored.data.on_bad_image = "skip"
    stored.data.train_images = str(shutil.move(tmp_path / "images", tmp_path / "elsewhere"))
    picture = RunDirectory(run_dir).first_batch_file.stat()
    assert fit.train(stored, run_dir).step == 4
    run = RunDirectory(run_dir)
    assert run.first_batch_file.stat() == picture
    held_out = [image["file"] for image in json.loads(run.held_out_file.read_text())["val"]]
    assert len(held_out) == 4 and not {os.path.basename(file) for file in held_out} & set(names)
    assert all(os.path.dirname(file) == stored.data.train_images for file in held_out)
    log = run.log_file.read_text()
    assert "Going on from step 2" in log and "4 more images are held out of the training data, to evaluate" in log
    (evaluated,) = run.evaluations().values()
    assert evaluated["num_images"] == 4


def test_metrics_are_finite_and_of_whole_batches(whole_run):
    scalars = _scalars(whole_run[0])
    assert all(np.all(np.isfinite(values)) for values in scalars.values())
    assert min(scalars["train/num_positives"]) >= 1 and 0 < min(scalars["train/mean_iou"]) <= 1
    parts = sum(np.array(scalars[f"train/{name}_loss"]) for name in ("classification", "box", "distribution"))
    np.testing.assert_allclose(scalars["train/loss"], parts, rtol=1e-5)


def test_config_is_resolved(whole_run):
    run_dir, _ = whole_run
    config = RunDirectory(run_dir).read_config()
    assert config.data.class_names == ("ellipse", "rectangle", "triangle", "star", "cross", "ring")
    assert config.model.num_classes == 6
    assert os.path.isabs(config.data.train_images) and os.path.isfile(config.data.val_annotations)


def test_scaled_learning_rate_is_told(whole_run):
    run_dir, _ = whole_run
    assert "learning rate 0.02 = 0.08 x 4 / 16" in RunDirectory(run_dir).log_file.read_text()
    rates = _scalars(run_dir)["train/learning_rate"]
    # Logged at steps 1, 2, 4, ...; warm-up over 3 steps, the milestone at step 5 (counted from 0).
    np.testing.assert_allclose(rates, [2e-5, 0.02 * (0.001 + 0.999 / 3), 0.02, 0.002, 0.002, 0.002], rtol=1e-5)


def test_tensorboard(whole_run):
    run_dir, _ = whole_run
    scalars = _scalars(run_dir)
    expected = {
        "train/classification_loss",
        "train/box_loss",
        "train/distribution_loss",
        "train/mean_iou",
        "evaluation/AP",
    }
    assert expected | {"time/step_ms", "time/data_wait_ms", "time/images_per_second"} <= set(scalars)
    assert len(scalars["evaluation/AP50"]) == 2
    pictures = _events(run_dir).Tensors("detections")
    assert len(pictures) == 2 and len(pictures[0].tensor_proto.string_val) == 2 + 2  # size, then the pictures


def test_weights_of_the_run(whole_run):
    """best and last hold the moving average, of their own step; the model that comes back, the trained weights."""
    run_dir, outcome = whole_run
    last, config = load_run(run_dir, "last")
    assert config.name == "tiny" and last.num_classes == 6
    outcome_weights = outcome.model.get_weights()
    assert not _equal(last.get_weights(), outcome_weights)
    stored = np.load(run_dir / "checkpoints" / f"ckpt-{TOTAL_STEPS}.npz")
    averages = {key for key in stored.files if key.startswith("average/")}
    trained = {id(variable) for variable in last.trainable_variables}
    for name, variable in named_variables(last).items():
        key = f"average/{name}"
        assert (key in averages) == (id(variable) in trained)
        if key in averages:
            np.testing.assert_array_equal(variable.numpy(), stored[key])
    assert len(averages) == len(trained)
    best, _ = load_run(run_dir, "best")
    assert _equal(best.get_weights(), last.get_weights()) == (outcome.best_step == TOTAL_STEPS)


def test_stopped_and_resumed_equals_uninterrupted(whole_run, tmp_path, shapes_directory, monkeypatch):
    whole_dir, whole = whole_run
    report = StepReport.step_done

    def report_and_signal(self, step, *args):
        if step == 3:
            os.kill(os.getpid(), signal.SIGINT)
        return report(self, step, *args)

    run_dir = tmp_path / "run"
    with monkeypatch.context() as patch:
        patch.setattr(StepReport, "step_done", report_and_signal)
        stopped = fit.train(_averaging_config(shapes_directory), run_dir)
    assert (stopped.step, stopped.stopped_by) == (3, signal.SIGINT)
    assert f"gfl-train --run_dir={run_dir}" in RunDirectory(run_dir).log_file.read_text()

    resumed = fit.train(None, run_dir)
    assert (resumed.step, resumed.stopped_by, resumed.best_step) == (TOTAL_STEPS, None, whole.best_step)
    assert "Going on from step 3" in RunDirectory(run_dir).log_file.read_text()
    for one, other in zip(resumed.model.get_weights(), whole.model.get_weights()):
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-7)
    for one, other in zip(resumed.model.optimizer.variables, whole.model.optimizer.variables):
        np.testing.assert_allclose(one.numpy(), other.numpy(), rtol=1e-4, atol=1e-6)
    # The mean over steps 3 and 4, of which one was made before the stop.
    assert _scalar_at(run_dir, "train/loss", 4) == pytest.approx(_scalar_at(whole_dir, "train/loss", 4), rel=1e-5)
    for name, stored in _evaluations(whole_dir).items():
        assert _evaluations(run_dir)[name]["metrics"] == pytest.approx(stored["metrics"], abs=1e-6)


@pytest.mark.one_stack
def test_epochs_of_a_small_data_set_and_an_end_by_patience(tiny_config, tmp_path, monkeypatch):
    """18 images in batches of 4 are 5 steps; an evaluation that finds nothing after one that does is no new best."""
    scores = iter([0.5, 0.4, 0.3, 0.2])
    result_of = coco.CocoEvaluator.result

    def with_scores(evaluator):
        result = result_of(evaluator)
        result.metrics["AP"] = next(scores)
        return result

    monkeypatch.setattr(coco.CocoEvaluator, "result", with_scores)
    tiny_config.train.update(epochs=4, min_steps_per_epoch=7, patience=2, checkpoint_every=4, ema_momentum=0.5)
    outcome = fit.train(tiny_config, tmp_path / "run")
    assert (outcome.step, outcome.total_steps, outcome.best_step, outcome.stopped_by) == (21, 28, 7, None)
    run = RunDirectory(tmp_path / "run")
    assert sorted(_evaluations(run.path)) == [f"step-{step:08d}.json" for step in (7, 14, 21)]
    assert "the last 2 evaluations were not the best" in run.log_file.read_text() and run.report_file.exists()
    assert "epoch 2.00" in run.log_file.read_text()
    assert fit.train(None, run.path).step == 21  # it stays ended
    config = run.read_config()
    config.train.patience = 0
    assert fit.train(config, run.path).step == 28


def test_a_finished_run_stays_as_it_is(whole_run):
    run_dir, outcome = whole_run
    before = {file: file.read_bytes() for file in run_dir.rglob("*.npz")}
    again = fit.train(None, run_dir)
    assert (again.step, again.stopped_by, again.best_ap) == (TOTAL_STEPS, None, outcome.best_ap)
    assert {file: file.read_bytes() for file in run_dir.rglob("*.npz")} == before


def test_another_config_is_an_error(whole_run, shapes_directory):
    run_dir, _ = whole_run
    config = _averaging_config(shapes_directory)
    config.train.learning_rate = 0.5
    config.train.log_every = 1  # harmless
    with pytest.raises(ValueError, match="config.train.learning_rate: 0.08 in the run, now 0.5") as error:
        fit.train(config, run_dir)
    assert "log_every" not in str(error.value)


def test_weights_of_the_config_are_left_out_only_where_a_checkpoint_brings_them(whole_run, tmp_path, monkeypatch):
    class Built(Exception):
        pass

    def build_detector(config, load_weights, say):
        say("so many tensors")
        raise Built(load_weights)

    monkeypatch.setattr(fit, "build_detector", build_detector)
    run_dir, _ = whole_run
    with pytest.raises(Built, match="False"):
        fit.train(None, run_dir)
    # Killed before its first checkpoint: it begins again, and may do so with another config.
    config = RunDirectory(run_dir).read_config()
    RunDirectory(tmp_path).start(config)
    config.train.learning_rate = 0.5
    with pytest.raises(Built, match="True"):
        fit.train(config, tmp_path)
    assert RunDirectory(tmp_path).log_file.read_text().endswith(" so many tensors\n")


def test_saving_a_checkpoint_says_nothing(whole_run, tmp_path, caplog):
    _, outcome = whole_run
    verbosity = absl_logging.get_verbosity()
    absl_logging.set_verbosity(absl_logging.INFO)
    try:
        Checkpoints(outcome.model, named_variables(outcome.model), tmp_path, keep=1).save()
    finally:
        absl_logging.set_verbosity(verbosity)
    assert not caplog.records


def _equal(one, other):
    return all(np.array_equal(a, b) for a, b in zip(one, other))


def _events(run_dir):
    events = EventAccumulator(str(RunDirectory(run_dir).logs), size_guidance={"tensors": 0})
    events.Reload()
    return events


def _scalars(run_dir):
    events = _events(run_dir)
    tags = [tag for tag in events.Tags()["tensors"] if tag != "detections"]
    return {tag: [float(tf.make_ndarray(event.tensor_proto)) for event in events.Tensors(tag)] for tag in tags}


def _scalar_at(run_dir, tag, step):
    found = [event for event in _events(run_dir).Tensors(tag) if event.step == step]
    return float(tf.make_ndarray(found[-1].tensor_proto))


def test_every_data_field_reaches_the_batches(tiny_config, tmp_path, monkeypatch):
    fields = dict(
        scale=(96, 64),
        short_side_range=(32, 64),
        long_side_range=(64, 96),
        num_sides=2,
        augmentations=({"name": "zoom", "factor": (0.5, 2.0)}, {"name": "flip", "probability": 0.125}),
    )
    tiny_config.data.update(fields)
    tiny_config.data.mixing_until = 0.5
    seen = {}

    class Seen(Exception):
        """Enough of the training."""

    def spy(dataset, batch_size, **arguments):
        seen.update(arguments)
        raise Seen

    monkeypatch.setattr(fit.pipeline, "training_batches", spy)
    with pytest.raises(Seen):
        fit.train(tiny_config, tmp_path / "run")
    fields["augmentations"] = (Zoom((0.5, 2.0)), Flip(0.125))
    fields["mixing_until"] = TOTAL_STEPS // 2
    assert {name: seen[name] for name in fields} == fields
