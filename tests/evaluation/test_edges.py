"""The measures of stated spread and intervals: hand tables, and data whose calibration is known."""

import numpy as np
import pytest

from gfl_tf.evaluation import edges as measures
from gfl_tf.evaluation.matches import MatchedEdges

pytestmark = pytest.mark.one_stack


def edges_of(errors, stddev, sizes=None, images=None, intervals=None):
    """Detections whose sides lie by `errors` outside their objects."""
    errors, stddev = np.asarray(errors, float), np.asarray(stddev, float)
    count = len(errors)
    sizes = np.full(count, 40.0) if sizes is None else np.asarray(sizes, float)
    boxes = np.stack([0 * sizes, 0 * sizes, sizes, sizes], axis=1)
    nothing = np.zeros([count, 0, 4])
    return MatchedEdges(
        boxes=boxes,
        truth=boxes + errors * (1, 1, -1, -1),
        stddev=stddev,
        scores=np.linspace(0.05, 0.95, count),
        iou=np.full(count, 0.8),
        classes=np.arange(count) % 2,
        images=np.arange(count) if images is None else images,
        strides=np.full(count, 8.0),
        edge_interval=nothing if intervals is None else intervals,
        box_interval=nothing if intervals is None else intervals,
    )


def normal_edges(count, stated_factor=1.0, seed=0):
    """Errors that are normal, with a spread from 1 to 8 px, of which `stated_factor` times as much is stated."""
    rng = np.random.default_rng(seed)
    spread = np.exp(rng.uniform(0, np.log(8), [count, 4]))
    return edges_of(rng.normal(size=spread.shape) * spread, spread * stated_factor, rng.uniform(20, 200, count))


def test_normal_factor():
    np.testing.assert_allclose([measures.normal_factor(level) for level in (0.5, 0.95)], [0.67449, 1.95996], rtol=1e-5)


def test_coverage_and_its_error():
    assert measures.coverage(np.array([1.0, 2.0, 3.0, 4.0]), np.array([1.0, 1.0, 5.0, 4.0])) == 0.75
    assert measures.binomial_error(0.5, 100) == 0.05


def test_interval_score():
    """Widths 4 and 2; the second error lies 3 outside: 4 and 2 + 2 / 0.1 x 3."""
    assert measures.interval_score(np.array([1.0, 4.0]), np.array([2.0, 1.0]), 0.9) == pytest.approx((4 + 62) / 2)


def test_spread_error():
    """Two bins: stated 1, found 2, and stated 4, found 3: (1 / 1 + 1 / 4) / 2."""
    errors, stddev = np.array([[2.0, 2.0, 3.0, 3.0]]), np.array([[1.0, 1.0, 4.0, 4.0]])
    assert measures.spread_error(errors, stddev, num_bins=2) == pytest.approx(0.625)
    assert measures.spread_error(*normal(40000)) < 0.03
    assert measures.spread_error(*normal(40000, 2.0)) == pytest.approx(0.5, abs=0.02)


def normal(count, stated_factor=1.0):
    edges = normal_edges(count, stated_factor)
    return edges.errors, edges.stddev


def test_rank_correlation():
    assert measures.rank_correlation(np.array([1.0, 2, 3]), np.array([2.0, 4, 80])) == pytest.approx(1)
    assert measures.rank_correlation(np.array([1.0, 2, 3]), np.array([3.0, 2, 1])) == pytest.approx(-1)
    # Ranks 1, 2.5, 2.5, 4 and 1, 2, 3, 4.
    assert measures.rank_correlation(np.array([1.0, 5, 5, 7]), np.array([1.0, 2, 3, 4])) == pytest.approx(
        4.5 / 22.5**0.5
    )
    assert measures.rank_correlation(np.ones(3), np.arange(3.0)) is None


def test_summary_of_what_is_normal():
    found = measures.summary(normal_edges(5000), None, ["a", "b"])
    assert found["matched"] == 5000 and not found["calibrated"] and not found["box_intervals"]
    for interval in found["intervals"]:
        assert interval["coverage"] == pytest.approx(interval["level"], abs=0.01)
        # The spread differs by a factor of 8, and is known: intervals that follow it are narrower and score better.
        assert interval["score"] < min(interval["constant_score"], interval["proportional_score"])
    assert found["intervals"][-1]["width"] < found["intervals"][-1]["constant_width"]
    assert found["spread_error"] < 0.05 and found["rank_correlation"] > 0.4
    groups = found["groups"]
    assert list(groups) == ["size", "stride", "class", "score"]
    assert list(groups["size"]) == list(measures.THIRDS) and list(groups["class"]) == ["a", "b"]
    assert list(groups["stride"]) == ["8"] and len(groups["score"]) == 10
    assert sum(group["matched"] for group in groups["score"].values()) == 5000
    assert groups["size"]["small third"]["coverage"]["0.9"] == pytest.approx(0.9, abs=0.02)


def test_summary_of_too_wide_a_spread():
    found = measures.summary(normal_edges(5000, stated_factor=2), None, ["a", "b"])
    by_level = {interval["level"]: interval["coverage"] for interval in found["intervals"]}
    assert by_level[0.5] == pytest.approx(0.823, abs=0.01) and by_level[0.95] > 0.999  # of 0.674 and 1.96 x 2
    assert "| 50% | 82." in measures.table(found) and "not calibrated" in measures.table(found)


def test_summary_of_intervals():
    intervals = np.broadcast_to([[[1.0] * 4, [3.0] * 4]], [4, 2, 4])
    edges = edges_of([[0, 0, 0, 0], [2, 0, 0, 0], [2, 2, 2, 2], [4, 0, 0, 0]], np.ones([4, 4]), intervals=intervals)
    found = measures.summary(edges, (0.5, 0.9), ["a", "b"])
    assert [interval["coverage"] for interval in found["intervals"]] == [10 / 16, 15 / 16]
    assert [interval["coverage"] for interval in found["box_intervals"]] == [1 / 4, 3 / 4]
    assert found["calibrated"] and "(calibrated)" in measures.table(found)
    assert not found["groups"]["size"], "groups of a few say nothing"


def test_nothing_was_found():
    found = measures.summary(edges_of(np.zeros([0, 4]), np.zeros([0, 4])), None, ["a"])
    assert found["matched"] == 0 and "nothing is known" in measures.table(found)
