"""Requests that wait for each other."""

import numpy as np
import pytest

from gfl_tf.benchmark import waiting_line

pytestmark = pytest.mark.one_stack


def test_latencies_are_those_of_one_server():
    found = waiting_line.latencies([0.02, 0.05], rate=20.0)
    rng = np.random.default_rng(0)
    arrived = np.cumsum(rng.exponential(1 / 20.0, waiting_line.ARRIVALS))
    service = rng.choice([0.02, 0.05], waiting_line.ARRIVALS)
    free, expected = 0.0, []
    for start, seconds in zip(arrived, service):
        free = max(free, start) + seconds
        expected.append(free - start)
    np.testing.assert_allclose(found, expected, atol=1e-9)


def test_mean_wait_is_that_of_the_theory():
    """Pollaczek and Khinchine: of equal service times s at a load r, r s / (2 (1 - r)) beside s."""
    found = waiting_line.latencies([0.01], rate=50.0)
    assert found.mean() == pytest.approx(0.01 + 0.5 * 0.01 / (2 * 0.5), rel=0.05)


def test_highest_rate():
    rate = waiting_line.highest_rate([0.01], most=0.1)
    assert 50 < rate < 100, "no more than it answers without a pause"
    assert np.percentile(waiting_line.latencies([0.01], rate), 99) <= 0.1
    assert waiting_line.highest_rate([0.01], most=0.02) < rate
    assert waiting_line.highest_rate([0.2], most=0.1) == 0
