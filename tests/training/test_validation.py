"""Evaluations during a run: which weights are the best, and what is said where nothing can be scored."""

import contextlib
import json
import types

import ml_collections
import numpy as np
import pytest
import tensorflow as tf

from gfl_tf.data.coco import CocoDataset, ImageRecord, LoadReport
from gfl_tf.evaluation import coco
from gfl_tf.training import validation
from gfl_tf.training.run_dir import RunDirectory


class Run(RunDirectory):
    """Notes at which evaluation the best weights were saved."""

    def __init__(self, path):
        super().__init__(path)
        self.evaluation.mkdir(exist_ok=True)
        self.saved = []

    def save_weights(self, model, name, writes):
        assert writes
        self.saved.append((name, model.step))


def dataset_of(num_boxes):
    boxes = np.tile(np.float32([[1, 2, 3, 4]]), [num_boxes, 1])
    nothing = np.zeros([0, 4], np.float32)
    labels = np.zeros(num_boxes, np.int32)
    record = ImageRecord(1, "a.png", 40, 60, boxes, labels, labels + 4.0, nothing, labels[:0])
    return CocoDataset([record], ("cat",), (1,), LoadReport("val.json"))


@pytest.fixture
def evaluations(tmp_path, monkeypatch):
    """Function: the AP of each evaluation, and the number of boxes -> (`Validation`, `Run`, what was said)."""

    def make(scores, num_boxes, start_step=None):
        model = types.SimpleNamespace(detect=lambda images: images, pad_value=(0, 0, 0), step=0)
        config = ml_collections.ConfigDict({"train": {"evaluation_batch_size": 1, "sample_images": 0}})
        config.data = {"scale": (60, 40), "cache": False}
        said, stop = [], types.SimpleNamespace(signal=None)
        progress = types.SimpleNamespace(say=said.append, draw=lambda *_: None)
        run = Run(tmp_path)
        dataset = dataset_of(num_boxes)
        made = validation.Validation(model, dataset, config, run, progress, stop, contextlib.nullcontext, start_step)
        for model.step, score in enumerate(scores, start=1):
            result = coco.CocoResult(dict.fromkeys(coco.METRICS, score), {"cat": score}, [], 1)
            found = types.SimpleNamespace(found={}, result=lambda result=result: result)
            monkeypatch.setattr(coco, "collect", lambda *_, found=found: found)
            made.evaluate(model.step)
        return made, run, said

    return make


@pytest.mark.parametrize(
    "scores, saved, best",
    [
        ([0.0, 0.0, 0.0], [1, 2, 3], (0.0, 3)),
        ([0.25, 0.5, 0.5, 0.25], [1, 2, 3], (0.5, 3)),
        ([0.5, 0.25], [1], (0.5, 1)),
        ([], [], (None, None)),
    ],
)
def test_the_newest_of_equals_is_the_best(evaluations, scores, saved, best):
    made, run, said = evaluations(scores, num_boxes=1)
    assert run.saved == [("best", step) for step in saved] and made.best() == best
    assert [step for step, line in enumerate(said, start=1) if line.endswith("(best so far)")] == saved


def test_evaluations_of_steps_that_are_made_again_are_made_again(evaluations):
    """After the checkpoint of step 3 was damaged; the best weights are still those of step 2."""
    evaluations([0.5, 0.75, 0.25], num_boxes=1)
    made, _, _ = evaluations([], num_boxes=1, start_step=1)
    assert [made.is_done(step) for step in (1, 2, 3)] == [True, False, False]
    assert made.best() == (0.75, 2) and made.since_best() == 0
    made, run, _ = evaluations([0.25, 0.375, 0.125], num_boxes=1, start_step=0)
    assert run.saved == [("best", 2)] and made.best() == (0.375, 2) and made.since_best() == 1


def test_nothing_to_find_is_said_once_and_gets_no_score(evaluations, monkeypatch):
    monkeypatch.setattr(tf.summary, "scalar", lambda *_, **__: pytest.fail("a curve of what is no score"))
    made, run, said = evaluations([-1.0, -1.0], num_boxes=0)
    assert said == [
        "val.json has no box to find: there is no AP, and the best weights are the newest.",
        "evaluation at step 1: AP -  AP50 -  AP75 -",
        "evaluation at step 2: AP -  AP50 -  AP75 -",
    ]
    assert run.saved == [("best", 1), ("best", 2)] and made.best() == (-1.0, 2)
    assert json.loads((run.evaluation / "step-00000002.json").read_text())["metrics"]["AP"] == -1.0
