"""The numbers of the analyses, by hand."""

import numpy as np
import pytest

from gfl_tf.evaluation.analyses import (
    class_and_quality,
    points,
    quality_correlation,
    quality_labels,
    regression_targets,
    top_probabilities,
)
from gfl_tf.evaluation.analyses.class_and_quality import Instances


def test_quality_correlation():
    """Deviations of the predicted (-0.4, 0, 0.4) and of the real IoU (-0.2, -0.1, 0.3): the products sum to 0.2, the
    squares to 0.32 and 0.14."""
    predicted, iou = np.array([0.1, 0.5, 0.9]), np.array([0.4, 0.5, 0.9])
    numbers = quality_correlation.measure(predicted, iou, {"class_score": -predicted})
    assert numbers["correlation"] == pytest.approx(0.2 / (0.32 * 0.14) ** 0.5)
    assert numbers["correlation_of_class_score"] == pytest.approx(-numbers["correlation"])
    assert (numbers["positives"], numbers["mean_predicted"], numbers["mean_iou"]) == (3, pytest.approx(0.5), 0.6)
    assert [row["count"] for row in numbers["bins"]] == [1, 1, 1]
    assert numbers["points"] == {"predicted": [0.1, 0.5, 0.9], "iou": [0.4, 0.5, 0.9]}


def test_a_prediction_that_does_not_vary_has_no_correlation():
    assert quality_correlation.measure(np.full(3, 0.5), np.array([0.1, 0.2, 0.3]))["correlation"] is None


def test_class_and_quality():
    """The median positive's quality is 0.6: two of four negatives are above, one of them above 0.9."""
    positives = Instances(np.array([0.2, 0.4, 0.6]), np.array([0.4, 0.6, 0.8]))
    negatives = Instances(np.zeros(4), np.array([0.1, 0.5, 0.7, 0.95]))
    numbers = class_and_quality.measure(positives, negatives)
    assert numbers["correlation_of_positives"] == pytest.approx(1.0)
    assert (numbers["high_quality_negatives"], numbers["negatives_above_positives"]) == (0.25, 0.5)
    assert numbers["mean_quality_of_negatives"] == pytest.approx(0.5625)


def test_negatives_are_drawn_of_negatives_alone():
    values = np.arange(100) / 100
    drawn = class_and_quality.sample(values, -values, values >= 0.9, np.random.default_rng(0))
    assert sorted(drawn.class_score) == list(values[90:]) and list(drawn.quality) == list(-drawn.class_score)


def test_top_probabilities():
    """The means of the four sides: first 0.9 and 0.5, second 0.1 and 0.3, both together 0.5 and 0.4."""
    top = np.zeros([2, 4, 2])
    top[0], top[1] = (0.9, 0.1), ([0.7, 0.3], [0.3, 0.3], [0.4, 0.3], [0.6, 0.3])
    numbers = top_probabilities.measure(top, np.array([0.8, 0.6]))
    assert numbers["mean_top1"] == pytest.approx(0.7)
    assert numbers["points"]["top1"] == [0.9, 0.5]
    assert numbers["correlation_of_top1"] == pytest.approx(1) and numbers["correlation_of_top2"] == pytest.approx(-1)
    assert numbers["correlation_of_mean"] == pytest.approx(1)


def test_regression_targets():
    """A place of stride 8 at (16, 16) in a box from (12, 0) to (32, 40): 0.5, 2, 2 and 3 strides. One of stride 16 at
    (32, 32) in a box from (0, 0) to (64, 64): 2 strides four times."""
    numbers = regression_targets.measure(
        np.array([[16, 16], [32, 32]]), np.array([8, 16]), np.array([[12, 0, 32, 40], [0, 0, 64, 64]]), reach=2.5
    )
    assert numbers["bins"] == [
        {"from": 0, "to": 1, "8 px": 1, "16 px": 0},
        {"from": 1, "to": 2, "8 px": 0, "16 px": 0},
        {"from": 2, "to": 3, "8 px": 2, "16 px": 4},
        {"from": 3, "to": 4, "8 px": 1, "16 px": 0},
    ]
    assert (numbers["median"], numbers["largest"], numbers["beyond_reach"]) == (2, 3, 1 / 8)
    assert "reach" not in regression_targets.measure(np.zeros([1, 2]), np.ones(1), np.array([[-1, -1, 1, 1]]))


def test_quality_labels():
    numbers = quality_labels.measure(np.array([0.3, 0.8, 1.0]), np.array([0.01, 0.02, 0.5]))
    assert (numbers["median_iou"], numbers["median_centerness"]) == (0.8, 0.02)
    assert (numbers["iou_below_0.4"], numbers["centerness_below_0.4"]) == pytest.approx((1 / 3, 2 / 3))
    assert numbers["bins"][0] == {"from": 0.0, "iou": 0, "centerness": 2} and numbers["bins"][-1]["iou"] == 1


def test_points_are_some_of_many_and_belong_together():
    values = np.arange(5000) / 5000
    some = points.some(100, one=values, two=2 * values)
    assert len(some["one"]) == 100 and some["one"] == sorted(some["one"]) == [two / 2 for two in some["two"]]
    assert some == points.some(100, one=values, two=2 * values)
