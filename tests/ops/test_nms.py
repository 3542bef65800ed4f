"""Candidate selection, and suppression against a loop over boxes."""

import numpy as np
import pytest
import tensorflow as tf

from gfl_tf.ops import nms


def test_top_points():
    """Levels of 4, 2 and 1 points, the 2 best of each; the smaller level gives all it has."""
    scores = tf.constant([[0.1, 0.4, 0.3, 0.2, 0.6, 0.5, 0.0], [0.9, 0.0, 0.0, 0.8, 0.1, 0.2, 0.7]])
    index = nms.top_points(scores, tf.constant([4, 2, 1]), 2)
    assert [sorted(row) for row in index.numpy()] == [[1, 2, 4, 5, 6], [0, 3, 4, 5, 6]]


def suppress_by_loop(boxes, scores, score_threshold, iou_threshold, max_detections, soft_sigma, class_wise):
    """[(candidate, class, confidence), ...], best first."""
    remaining = [[i, c, scores[i, c]] for i, c in np.argwhere(scores > score_threshold)]
    top_left = np.maximum(boxes[:, np.newaxis, :2], boxes[np.newaxis, :, :2])
    bottom_right = np.minimum(boxes[:, np.newaxis, 2:], boxes[np.newaxis, :, 2:])
    intersections = np.maximum(bottom_right - top_left, 0).prod(axis=-1)
    areas = (boxes[:, 2:] - boxes[:, :2]).prod(axis=-1)
    ious = intersections / (areas[:, np.newaxis] + areas - intersections)
    kept = []
    while remaining and len(kept) < max_detections:
        best = max(remaining, key=lambda entry: entry[2])
        remaining.remove(best)
        kept.append(tuple(best))
        for other in list(remaining):
            overlap = ious[best[0], other[0]]
            if class_wise and other[1] != best[1]:
                continue
            if soft_sigma:
                other[2] *= np.exp(-(overlap**2) / (2 * soft_sigma))
                if other[2] <= score_threshold:
                    remaining.remove(other)
            elif overlap > iou_threshold:
                remaining.remove(other)
    return kept


@pytest.mark.parametrize("class_wise", [True, False])
@pytest.mark.parametrize("soft_sigma", [0.0, 0.5, 0.1])
@pytest.mark.parametrize("max_detections", [10, 200])
def test_suppress(class_wise, soft_sigma, max_detections):
    rng = np.random.default_rng(0)
    corner = rng.uniform(-10, 60, (40, 2))
    boxes = np.concatenate([corner, corner + rng.uniform(5, 40, (40, 2))], axis=1).astype(np.float32)
    scores = rng.uniform(0, 1, (40, 3)).astype(np.float32)
    arguments = (boxes, scores, 0.3, 0.5, max_detections, soft_sigma, class_wise)
    expected = suppress_by_loop(*arguments)
    candidate, classes, confidence = (t.numpy() for t in nms.suppress(*arguments))
    assert list(zip(candidate, classes)) == [entry[:2] for entry in expected]
    np.testing.assert_allclose(confidence, [entry[2] for entry in expected], rtol=1e-5)
    if max_detections == 200:
        assert 3 < len(expected) < (scores > 0.3).sum()  # something was kept and something suppressed


def test_soft_suppression_by_hand():
    """Two boxes of IoU 1/2, sigma 0.5: the weaker score 0.8 decays by exp(-(1/2)^2 / (2 * 0.5)) = exp(-1/4)."""
    boxes = tf.constant([[0.0, 0, 10, 10], [0, 0, 10, 5]])
    scores = tf.constant([[0.9], [0.8]])
    candidate, _, confidence = nms.suppress(boxes, scores, 0.05, 0.1, 10, soft_sigma=0.5)
    np.testing.assert_array_equal(candidate, [0, 1])
    np.testing.assert_allclose(confidence, [0.9, 0.8 * np.exp(-0.25)], rtol=1e-6)


def test_threshold_is_exclusive_and_nothing_left_is_fine():
    boxes = tf.constant([[0.0, 0, 10, 10]])
    for scores in ([[0.5]], [[0.1]]):
        candidate, classes, confidence = nms.suppress(boxes, tf.constant(scores), 0.5, 0.6, 10)
        assert candidate.shape == classes.shape == confidence.shape == (0,)


@pytest.mark.parametrize("k", [1, 2, 5, 100])
def test_top_pairs(k):
    """Levels of 4, 2 and 1 points: in each, the k largest of its points' scores, or all that there are."""
    scores = np.random.default_rng(0).permutation(2 * 7 * 3).reshape(2, 7, 3).astype(np.float32)
    is_best = nms.top_pairs(tf.constant(scores), tf.constant([4, 2, 1]), k).numpy()
    for level in (slice(0, 4), slice(4, 6), slice(6, 7)):
        for row, chosen in zip(scores[:, level], is_best[:, level]):
            assert sorted(row[chosen]) == sorted(row.ravel())[-k:]


def test_top_pairs_of_equal_scores():
    """Exactly k, also where more pairs tie: scores of exactly 1 are common in a sure model."""
    assert tf.reduce_sum(tf.cast(nms.top_pairs(tf.ones([1, 6, 4]), tf.constant([4, 2]), 3), tf.int32)) == 6
