"""The reliability of scores: a hand table, and scores that are what they claim."""

import numpy as np
import pytest

from gfl_tf.evaluation import scores
from gfl_tf.evaluation.matches import ScoredDetections

pytestmark = pytest.mark.one_stack


def test_hand_table():
    """Two bins: scores 0.2 and 0.4 with IoU 0 and 0.6, one right; 0.9 with IoU 0.8, right."""
    scored = ScoredDetections(np.array([0.2, 0.4, 0.9]), np.array([0, 0.6, 0.8]), np.array([False, True, True]))
    found = scores.summary(scored, num_bins=2)
    low, high = found["bins"]
    assert (low["count"], low["score"], low["iou"], low["precision"]) == pytest.approx((2, 0.3, 0.3, 0.5))
    assert (high["count"], high["score"], high["iou"], high["precision"]) == pytest.approx((1, 0.9, 0.8, 1.0))
    assert found["iou_error"] == pytest.approx(0.1 / 3)
    assert found["detection_error"] == pytest.approx((2 * 0.2 + 0.1) / 3)
    assert found["localization_error"] == pytest.approx((2 * abs(0.3 - 0.5 * 0.6) + abs(0.9 - 0.8)) / 3)
    assert found["correlation"] == pytest.approx(1.0)
    assert "|score - IoU| 0.033" in scores.text(found)


def test_scores_that_are_the_iou():
    iou = np.random.default_rng(0).uniform(0, 1, 10000)
    found = scores.summary(ScoredDetections(iou, iou, iou >= 0.5))
    assert found["iou_error"] < 1e-12 and found["correlation"] == pytest.approx(1)
    assert found["detection_error"] == pytest.approx(0.25, abs=0.01)  # a score of 0.75 is always right


def test_nothing():
    found = scores.summary(ScoredDetections(np.zeros(0), np.zeros(0), np.zeros(0, bool)))
    assert found["detections"] == 0 and found["iou_error"] == 0 and found["correlation"] is None
    assert "0 detections" in scores.text(found)
