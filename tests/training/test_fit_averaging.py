"""A whole small training with stochastic weight averaging, and the same training stopped and killed along the way."""

import os
import signal

import numpy as np
import pytest

from gfl_tf.config_files import load_config
from gfl_tf.training import fit
from gfl_tf.training.averaging import WeightAverage
from gfl_tf.training.report import StepReport
from gfl_tf.training.run_dir import RunDirectory, load_run

# 1 epoch of 18 images in batches of 4, then 2 cycles of one epoch.
MAIN_STEPS, TOTAL_STEPS = 5, 15


@pytest.fixture(scope="module")
def config(shapes_directory):
    """With batch normalization in training."""
    config = load_config(os.path.join(os.path.dirname(__file__), "tiny.py"))
    config.data.directory = str(shapes_directory)
    config.model.backbone.freeze_batch_norm = False
    config.train.update(epochs=1, milestones=())
    config.train.swa_epochs = 2
    config.train.swa_learning_rate = 0.04
    config.train.swa_bn_batches = 2
    return config


@pytest.fixture(scope="module")
def whole_run(config, tmp_path_factory):
    """(run directory, outcome, trainable weights at the ends of the cycles) of an uninterrupted training."""
    recorded = []
    end_cycle = WeightAverage.end_cycle

    def record(self, *arguments):
        recorded.append([weight.numpy() for weight in self._weights])
        end_cycle(self, *arguments)

    run_dir = tmp_path_factory.mktemp("averaging") / "run"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(WeightAverage, "end_cycle", record)
        outcome = fit.train(config, run_dir)
    return run_dir, outcome, recorded


def _trainable(model):
    return [weight.numpy() for weight in model.trainable_variables]


def _statistics(model):
    return [weight.numpy() for weight in model.non_trainable_variables if "moving" in weight.name]


def _assert_close(found, expected, rtol=1e-6, atol=1e-7):
    assert len(found) == len(expected) > 0
    for one, other in zip(found, expected):
        np.testing.assert_allclose(one, other, rtol=rtol, atol=atol)


def _equal(one, other):
    return all(map(np.array_equal, one, other))


def test_steps_and_report(whole_run):
    run_dir, outcome, recorded = whole_run
    assert (outcome.step, outcome.total_steps, len(recorded)) == (TOTAL_STEPS, TOTAL_STEPS, 2)
    log = RunDirectory(run_dir).log_file.read_text()
    assert "15 steps: 1 + 2 epochs of 5, batch 4" in log
    assert "weight averaging in the last 2 epochs: 2 times a learning rate from 0.01 to 0.0001" in log
    assert "weights averaged at step 10: 1 of 2" in log and "weights averaged at step 15: 2 of 2" in log
    # Batch 4 of 16: the peak is 0.01. Step 6 is logged, the first of a cycle, and step 8, its third of 5.
    assert "step 6/15  epoch 1.20" in log and log.count("lr 0.01 ") == 1
    third = 0.01 * (0.01 + 0.99 * (1 + np.cos(0.4 * np.pi)) / 2)
    assert f"lr {third:.3g} " in log
    evaluated = sorted(file.name for file in RunDirectory(run_dir).evaluation.glob("*.json"))
    assert evaluated == ["step-00000005.json", "step-00000010.json", "step-00000015.json"]


def test_last_weights_are_the_mean_of_the_cycle_ends(whole_run):
    run_dir, outcome, recorded = whole_run
    last, _ = load_run(run_dir, "last")
    _assert_close(_trainable(last), [np.mean(pair, axis=0) for pair in zip(*recorded)])
    # The model that comes back has the weights and statistics of its last step.
    assert _equal(_trainable(outcome.model), recorded[-1])
    assert not _equal(_statistics(outcome.model), _statistics(last))


def test_best_weights_are_averaged_where_the_best_step_is(whole_run):
    run_dir, outcome, recorded = whole_run
    best = _trainable(load_run(run_dir, "best")[0])
    averages = {10: recorded[0], 15: [np.mean(pair, axis=0) for pair in zip(*recorded)]}
    matching = [step for step, average in averages.items() if all(map(np.allclose, best, average))]
    assert matching == ([] if outcome.best_step == MAIN_STEPS else [outcome.best_step])


def test_a_finished_run_stays_as_it_is(whole_run):
    run_dir, outcome, _ = whole_run
    before = {file: file.read_bytes() for file in run_dir.rglob("*.npz")}
    again = fit.train(None, run_dir)
    assert (again.step, again.stopped_by, again.best_ap) == (TOTAL_STEPS, None, outcome.best_ap)
    assert {file: file.read_bytes() for file in run_dir.rglob("*.npz")} == before


def test_stopped_and_killed_equals_uninterrupted(whole_run, config, tmp_path, monkeypatch):
    """Stopped inside the first cycle, killed inside the second: the average is the same."""
    whole_dir, whole, _ = whole_run
    run_dir = tmp_path / "run"
    step_done = StepReport.step_done

    class Killed(Exception):
        pass

    def train_until(at, kill=False):
        def report_and_stop(self, step, *arguments):
            if step == at and kill:
                raise Killed
            if step == at:
                os.kill(os.getpid(), signal.SIGTERM)
            return step_done(self, step, *arguments)

        with monkeypatch.context() as patch:
            patch.setattr(StepReport, "step_done", report_and_stop)
            return fit.train(config, run_dir)

    assert train_until(7).step == 7
    with pytest.raises(Killed):
        train_until(13, kill=True)
    resumed = fit.train(None, run_dir)
    log = RunDirectory(run_dir).log_file.read_text()
    assert "Going on from step 7" in log and "Going on from step 10" in log
    assert (resumed.step, resumed.best_step) == (TOTAL_STEPS, whole.best_step)
    for which in ("last", "best"):
        found, expected = load_run(run_dir, which)[0], load_run(whole_dir, which)[0]
        _assert_close(found.get_weights(), expected.get_weights(), rtol=1e-5, atol=1e-6)
    _assert_close(resumed.model.get_weights(), whole.model.get_weights(), rtol=1e-5, atol=1e-6)
