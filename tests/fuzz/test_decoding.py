"""The decoder and its suppression: finite detections, best first, at most as many as wanted, in any order of places."""

import functools

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given
from hypothesis import strategies as st

from gfl_tf.detectors.decoder import PredictionDecoder
from gfl_tf.ops import boxes as box_ops
from tests.fuzz import values

pytestmark = pytest.mark.one_stack

CLASSES = 3
DECODERS = [
    PredictionDecoder(nms=nms, class_wise=class_wise, max_detections=4)
    for nms in ("hard", "soft_linear", "soft_gaussian")
    for class_wise in (True, False)
]
scores = values.arrays((values.COUNT, CLASSES), 0, 1)
# All different, so that no tie leaves a choice.
different_scores = st.permutations(range(1, values.COUNT * CLASSES + 1)).map(
    lambda ranks: (np.array(ranks, np.float32) / 32).reshape(values.COUNT, CLASSES)
)


@functools.cache
def _suppress(decoder):
    return tf.function(
        decoder.suppress_image,
        input_signature=[tf.TensorSpec([values.COUNT, 4]), tf.TensorSpec([values.COUNT, CLASSES])],
    )


def detections(decoder, boxes, scores):
    """(candidate, class, confidence) of each."""
    found = {name: value.numpy() for name, value in _suppress(decoder)(boxes, scores).items()}
    count = found.pop("num_detections")
    assert all((value[count:] == -1).all() for value in found.values())
    return tuple(found[name][:count] for name in ("candidate", "classes", "confidence"))


@pytest.mark.parametrize("decoder", DECODERS, ids=lambda decoder: f"{decoder.nms}-{decoder.class_wise}")
@given(boxes=values.boxes(0, 2000), scores=scores)
def test_detections(decoder, boxes, scores):
    candidate, classes, confidence = detections(decoder, boxes, scores)
    assert len(candidate) <= 4 and np.isfinite(confidence).all() and (np.diff(confidence) <= 0).all()
    pairs = list(zip(candidate, classes))
    assert len(set(pairs)) == len(pairs)
    assert (confidence <= scores[candidate, classes.astype(int)] + 1e-6).all()
    if decoder.nms == "hard":
        np.testing.assert_array_equal(confidence, scores[candidate, classes.astype(int)])
        ious = box_ops.iou(boxes[candidate][:, np.newaxis], boxes[candidate]).numpy()
        same = (classes[:, np.newaxis] == classes) | (not decoder.class_wise)
        others = same & ~np.eye(len(candidate), dtype=bool)
        assert (ious[others] <= decoder.iou_threshold + 1e-3).all()


@pytest.mark.parametrize("decoder", DECODERS, ids=lambda decoder: f"{decoder.nms}-{decoder.class_wise}")
@given(boxes=values.whole_boxes(), scores=different_scores, order=values.orders(), x=st.integers(0, 64))
def test_in_any_order_and_elsewhere(decoder, boxes, scores, order, x):
    if decoder.nms != "hard":  # decayed scores may be equal
        decoder = decoder.changed(max_detections=values.COUNT * CLASSES)
    candidate, classes, confidence = detections(decoder, boxes, scores)
    in_order = detections(decoder, boxes[order], scores[order])
    moved = detections(decoder, boxes + np.float32([x, x, x, x]), scores)
    for other, index in ((in_order, order[in_order[0]]), (moved, moved[0])):
        np.testing.assert_allclose(other[2], confidence, atol=1e-6)
        assert set(zip(index, other[1])) == set(zip(candidate, classes))


@given(scores=values.arrays((1, 24, CLASSES), 0, 1), boxes=values.boxes(0, 300, 24))
def test_candidates(scores, boxes):
    sizes = tf.constant([16, 8])
    for rule in ("points", "pairs"):
        decoder = PredictionDecoder(candidates=rule, candidates_per_level=5, score_threshold=0.3)
        index = decoder.select_points(tf.constant(scores.max(axis=-1)), sizes).numpy()
        assert index.shape == (1, 10) and len(np.unique(index)) == 10
        assert (index[0, :5] < 16).all() and (index[0, 5:] >= 16).all()
        of_points = tf.constant(scores[:, index[0]])
        chosen = decoder.select_pairs(tf.constant(boxes[index]), of_points, tf.constant([5, 5])).numpy()
        assert (of_points.numpy()[chosen] > 0.3).all()
        if rule == "pairs":
            assert chosen[:, :5].sum() <= 5 and chosen[:, 5:].sum() <= 5
