"""The fit of a calibration, on data whose true spread is known: what it claims holds on other data."""

import dataclasses

import numpy as np
import pytest
import tensorflow as tf

from gfl_tf.evaluation import calibration as calibrations
from gfl_tf.evaluation import edges as measures
from tests.evaluation.test_edges import edges_of, normal_edges

pytestmark = pytest.mark.one_stack


def calibrated(calibration, edges):
    found = calibration(tf.constant(edges.stddev, tf.float32), tf.constant(edges.boxes, tf.float32))
    values = {name: np.float64(found[name]) for name in ("edge_interval", "box_interval")}
    return dataclasses.replace(edges, stddev=np.float64(found["edge_stddev"]), **values)


@pytest.mark.parametrize("stated_factor", [0.3, 1.0, 4.0])
def test_claims_hold_on_other_data(stated_factor):
    calibration = calibrations.fit(normal_edges(3000, stated_factor))
    edges = calibrated(calibration, normal_edges(5000, stated_factor, seed=1))
    found = measures.summary(edges, calibration.levels, ["a", "b"])
    for interval in (*found["intervals"], *found["box_intervals"]):
        # Of 2,000 detections that the factors are from, and of 5,000 here: 3 standard errors.
        assert interval["coverage"] == pytest.approx(interval["level"], abs=0.035)
    for third in found["groups"]["size"].values():
        for level, share in third["coverage"].items():
            assert share == pytest.approx(float(level), abs=0.05)
    for interval in found["intervals"]:
        assert interval["score"] < min(interval["constant_score"], interval["proportional_score"])
        # One width for all leaves out the unsure edges at low levels, and so is narrower there.
        if interval["level"] >= 0.8:
            assert interval["width"] < min(interval["constant_width"], interval["proportional_width"])
    assert found["spread_error"] < 0.1


def test_never_less_than_claimed_on_average():
    """The guarantee: over many draws of few images, the mean coverage is at least what is claimed."""
    shares = []
    for seed in range(60):
        calibration = calibrations.fit(normal_edges(60, seed=seed), (0.8,))
        edges = calibrated(calibration, normal_edges(300, seed=1000 + seed))
        shares.append(measures.summary(edges, (0.8,), ["a", "b"])["box_intervals"][0]["coverage"])
    assert 0.79 < np.mean(shares) < 0.85, "0.8 to 0.8 + 1 / 41, and noise"


def test_spread_never_falls():
    """Where less is found at more stated spread, both bins get the mean."""
    stddev = np.repeat(np.arange(1.0, 11.0), 8)[:, np.newaxis] * np.ones(4)
    errors = stddev.copy()
    errors[stddev == 5], errors[stddev == 6] = 6, 5
    stated, found = calibrations.spread(edges_of(errors, stddev))
    np.testing.assert_allclose(stated, [1, 2, 3, 4, (61 / 2) ** 0.5, 7, 8, 9, 10])
    np.testing.assert_allclose(found, stated)


def test_a_constant_spread():
    edges = edges_of(np.random.default_rng(0).normal(size=[300, 4]), np.ones([300, 4]))
    stated, found = calibrations.spread(edges)
    assert stated == (1.0,) and found[0] == pytest.approx(1, abs=0.1)


def test_groups_are_as_many_as_the_data_carry():
    assert len(calibrations.fit(normal_edges(300)).size_limits) == 2
    assert len(calibrations.fit(normal_edges(80)).size_limits) == 0


def test_too_few():
    with pytest.raises(ValueError, match="30 detections find an object, 10 and 20 in .*; intervals of 0.95 take 19 in"):
        calibrations.fit(normal_edges(30))
    calibrations.fit(normal_edges(30), (0.5, 0.9))
