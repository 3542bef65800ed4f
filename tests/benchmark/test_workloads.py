"""The work that is timed does what it says."""

import json

import numpy as np
import pytest

from gfl_tf.benchmark import peak, workloads
from gfl_tf.benchmark.workloads import Case, Workload

pytestmark = pytest.mark.one_stack


def test_each_work_runs(tiny_gfl):
    workload = Workload(tiny_gfl, Case(64, 96, 2, 3))
    assert workload.images.shape == (2, 64, 96, 3)
    assert set(workload.losses()()) == set(tiny_gfl.output)
    assert workload.decode()()["boxes"].shape[0] == 2
    before = [value.numpy() for value in tiny_gfl.trainable_variables]
    assert np.isfinite(workload.train_step()()["loss"])
    assert all((old == new.numpy()).all() for old, new in zip(before, tiny_gfl.trainable_variables))


def test_from_a_jpeg(tiny_gfl):
    found = Workload(tiny_gfl, Case(64, 96)).from_jpeg()()
    boxes = found["boxes"].numpy()[found["classes"].numpy() >= 0]
    assert len(boxes) and np.max(boxes[:, [1, 3]]) <= 32 and np.max(boxes[:, [0, 2]]) <= 48


def test_a_crowd(tiny_gfl):
    before = tiny_gfl.prediction_decoder
    workload = Workload(tiny_gfl, Case(256, 256)).crowd()
    candidates = tiny_gfl.candidates(tiny_gfl(workload.on_device), np.array([256, 256]))
    tiny_gfl.prediction_decoder = before  # other tests have it too
    assert np.count_nonzero(candidates["scores"]) == pytest.approx(workloads.PAIRS, abs=2)


@pytest.mark.parametrize("boxes", [0, 5])
def test_labels(boxes):
    labels = workloads.random_labels(np.random.default_rng(0), Case(64, 96, 2, boxes), 3)
    found = labels["boxes"].numpy()
    assert found.shape == (2, boxes or 8, 4) and labels["classes"].shape == (2, boxes or 8)
    if not boxes:
        assert (found == -1).all() and (labels["classes"].numpy() == -1).all()
        return
    assert (found[..., 2:] > found[..., :2]).all()
    assert found.min() >= 0 and found[..., 2].max() <= 96 and found[..., 3].max() <= 64


def test_memory_grows_with_the_cases(tiny_artifact):
    cases = [dict(height=64, width=64, batch_size=size, boxes=1) for size in (1, 8)]
    config = json.loads(json.dumps(tiny_artifact.config.to_dict()))
    request = dict(config=config, weights=None, precision="float32", work="forward")
    memory = peak.answer({**request, "cases": cases, "num_classes": [None, None]})
    assert 0 < memory.rest <= memory.peaks[0] <= memory.peaks[1]
