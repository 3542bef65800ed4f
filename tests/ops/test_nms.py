"""Candidate selection, and suppression against a loop over boxes."""

import functools
import pathlib

import numpy as np
import pytest
import tensorflow as tf

from gfl_tf.ops import nms


def test_top_points():
    """Levels of 4, 2 and 1 points, the 2 best of each; the smaller level gives all it has."""
    scores = tf.constant([[0.1, 0.4, 0.3, 0.2, 0.6, 0.5, 0.0], [0.9, 0.0, 0.0, 0.8, 0.1, 0.2, 0.7]])
    index = nms.top_points(scores, tf.constant([4, 2, 1]), 2)
    assert [sorted(row) for row in index.numpy()] == [[1, 2, 4, 5, 6], [0, 3, 4, 5, 6]]


LINEAR = functools.partial(nms.linear_decay, iou_threshold=0.5)
GAUSSIAN = functools.partial(nms.gaussian_decay, sigma=0.5)


def hard(iou_threshold, max_detections=10):
    return functools.partial(nms.hard, iou_threshold=iou_threshold, max_detections=max_detections)


def soft(decay, min_score=1e-3, max_detections=10):
    return functools.partial(nms.soft, decay=decay, min_score=min_score, max_detections=max_detections)


def suppress_by_loop(boxes, scores, factor, min_score, max_detections, class_wise):
    """[(candidate, class, confidence), ...], best first; `factor`: of a score, from the IoU with a better box."""
    remaining = [[i, c, scores[i, c]] for i, c in np.argwhere(scores > 0)]
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
            if not class_wise or other[1] == best[1]:
                other[2] *= factor(ious[best[0], other[0]])
            if other[2] < min_score:
                remaining.remove(other)
    return kept


@pytest.mark.parametrize("class_wise", [True, False])
@pytest.mark.parametrize("kind", ["hard", "linear", "gaussian"])
@pytest.mark.parametrize("max_detections", [10, 200])
def test_suppress(class_wise, kind, max_detections):
    rng = np.random.default_rng(0)
    corner = rng.uniform(0, 70, (40, 2))
    boxes = np.concatenate([corner, corner + rng.uniform(5, 40, (40, 2))], axis=1).astype(np.float32)
    scores = rng.uniform(0, 1, (40, 3)).astype(np.float32)
    scores[scores < 0.3] = 0
    select, factor = {
        "hard": (hard(0.5, max_detections), lambda iou: float(iou <= 0.5)),
        "linear": (soft(LINEAR, 0.2, max_detections), lambda iou: 1 - iou if iou >= 0.5 else 1.0),
        "gaussian": (soft(GAUSSIAN, 0.2, max_detections), lambda iou: np.exp(-(iou**2) / 0.5)),
    }[kind]
    expected = suppress_by_loop(boxes, scores, factor, 0.2, max_detections, class_wise)
    candidate, classes, confidence = (t.numpy() for t in nms.suppress(boxes, scores, select, class_wise))
    assert list(zip(candidate, classes)) == [entry[:2] for entry in expected]
    np.testing.assert_allclose(confidence, [entry[2] for entry in expected], rtol=1e-5)
    if max_detections == 200:
        assert 3 < len(expected) < (scores > 0).sum()  # something was kept and something suppressed


# B covers half of A (IoU 1/2), C a quarter of A and half of B (IoU 1/4, 1/2).
BOXES = np.float32([[0, 0, 8, 8], [0, 0, 8, 4], [0, 0, 4, 4]])
SCORES = np.float32([0.8, 0.6, 0.5])


@pytest.mark.parametrize(
    "decay, min_score, expected",
    [
        # A halves B alone (1/2 is not below the threshold): 0.3. C, now ahead of B with 0.5, halves B again.
        pytest.param(LINEAR, 1e-3, {0: 0.8, 2: 0.5, 1: 0.6 / 2 / 2}, id="linear"),
        # 0.15 is below the minimum.
        pytest.param(LINEAR, 0.2, {0: 0.8, 2: 0.5}, id="linear-minimum"),
        # A lowers B by exp(-1/4 / 0.5) to 0.364 and C by exp(-1/16 / 0.5) to 0.441, which then is ahead of B.
        pytest.param(GAUSSIAN, 1e-3, {0: 0.8, 2: 0.5 * np.exp(-1 / 8), 1: 0.6 * np.exp(-1)}, id="gaussian"),
        pytest.param(GAUSSIAN, 0.3, {0: 0.8, 2: 0.5 * np.exp(-1 / 8)}, id="gaussian-minimum"),
        # A minimum that some scores never reach.
        pytest.param(GAUSSIAN, 0.55, {0: 0.8}, id="gaussian-high-minimum"),
    ],
)
def test_soft_by_hand(decay, min_score, expected):
    index, confidence = nms.soft(BOXES, SCORES, decay, min_score, 10)
    assert index.numpy().tolist() == list(expected)
    np.testing.assert_allclose(confidence, list(expected.values()), rtol=1e-6)


def test_soft_minimum_is_kept():
    """What is exactly at the minimum stays, as in the reference: 0.5 * (1 - 1/2) = 0.25."""
    boxes, scores = BOXES[:2], np.float32([0.75, 0.5])
    np.testing.assert_array_equal(nms.soft(boxes, scores, LINEAR, 0.25, 10)[1], [0.75, 0.25])


def test_soft_takes_the_first_of_equal_scores():
    """Equal from the start (1, 2) or after decay: 3 is halved by 1, to the score of 4."""
    boxes = np.float32([[50, 0, 58, 8], [0, 0, 8, 8], [20, 0, 28, 8], [0, 0, 8, 4], [70, 0, 78, 8]])
    index, confidence = nms.soft(boxes, np.float32([0.25, 0.75, 0.75, 0.5, 0.25]), LINEAR, 1e-3, 10)
    np.testing.assert_array_equal(index, [1, 2, 0, 3, 4])
    np.testing.assert_array_equal(confidence, [0.75, 0.75, 0.25, 0.25, 0.25])


@pytest.mark.parametrize("decay", [LINEAR, GAUSSIAN], ids=["linear", "gaussian"])
def test_soft_with_boxes_without_area(decay):
    """They overlap nothing, not even their like at the same place; a box twice over lowers its twin."""
    boxes = np.float32([[3, 3, 3, 3], [3, 3, 3, 3], [1, 1, 1, 9], [0, 0, 8, 8], [0, 0, 8, 8]])
    index, confidence = nms.soft(boxes, np.float32([0.5, 0.4, 0.3, 0.9, 0.8]), decay, 1e-3, 10)
    twin = 0.8 * decay(tf.constant([1.0])).numpy()
    if twin < 1e-3:
        np.testing.assert_array_equal(index, [3, 0, 1, 2])
        np.testing.assert_array_equal(confidence, np.float32([0.9, 0.5, 0.4, 0.3]))
    else:
        np.testing.assert_array_equal(index, [3, 0, 1, 2, 4])
        np.testing.assert_allclose(confidence, [0.9, 0.5, 0.4, 0.3, twin[0]], rtol=1e-6)


@pytest.mark.parametrize("select", [hard(0.6), soft(LINEAR), soft(GAUSSIAN)], ids=["hard", "linear", "gaussian"])
def test_no_more_than_there_is(select):
    """In one traced function for any number of candidates, none included."""

    @tf.function(input_signature=[tf.TensorSpec([None, 4]), tf.TensorSpec([None, 2])])
    def suppress(boxes, scores):
        return nms.suppress(boxes, scores, select)

    for count, scores in ((0, np.zeros((0, 2))), (1, np.zeros((1, 2))), (1, np.ones((1, 2))), (20, np.ones((20, 2)))):
        boxes = np.arange(count)[:, np.newaxis] * 10.0 + [0, 0, 5, 5]
        candidate, classes, confidence = suppress(tf.constant(boxes, tf.float32), tf.constant(scores, tf.float32))
        expected = min(int(scores.sum()), 10)
        assert candidate.shape == classes.shape == confidence.shape == (expected,)
        assert candidate.dtype == classes.dtype == tf.int32


# Kind: decay, minimum score and class-wise or not, as in data/make_soft_nms.py.
REFERENCE_KINDS = {
    "linear065": (functools.partial(nms.linear_decay, iou_threshold=0.65), 1e-3, True),
    "linear03": (functools.partial(nms.linear_decay, iou_threshold=0.3), 1e-3, True),
    "linear03_agnostic": (functools.partial(nms.linear_decay, iou_threshold=0.3), 0.05, False),
    "gaussian05": (functools.partial(nms.gaussian_decay, sigma=0.5), 1e-3, True),
    "gaussian03": (functools.partial(nms.gaussian_decay, sigma=0.3), 1e-3, True),
    "gaussian03_agnostic": (functools.partial(nms.gaussian_decay, sigma=0.3), 0.05, False),
}


@pytest.mark.parametrize("max_detections", [100, 400])
@pytest.mark.parametrize("kind", list(REFERENCE_KINDS))
def test_soft_nms_is_the_references(kind, max_detections):
    """mmcv's results on 400 boxes of 4 classes, in order; see data/make_soft_nms.py."""
    data = np.load(pathlib.Path(__file__).parent / "data" / "soft_nms.npz")
    decay, min_score, class_wise = REFERENCE_KINDS[kind]
    scores = data["scores"][:, np.newaxis] * np.eye(4, dtype=np.float32)[data["labels"]]
    select = soft(decay, min_score, max_detections)
    candidate, classes, confidence = nms.suppress(data["boxes"], scores, select, class_wise)
    keep = data[f"{kind}/keep"][:max_detections]
    np.testing.assert_array_equal(candidate, keep)
    np.testing.assert_array_equal(classes, data["labels"][keep])
    # Products of up to dozens of factors, the exponential of another library among them.
    np.testing.assert_allclose(confidence, data[f"{kind}/scores"][:max_detections], rtol=1e-5)


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
