"""The box losses; their overlaps are those of `tests/ops/test_boxes.py`."""

import numpy as np
import pytest
import tensorflow as tf

from gfl_tf import losses

PULLING = [losses.giou_loss, losses.diou_loss, losses.ciou_loss]
by_loss = pytest.mark.parametrize("loss", [losses.iou_loss, *PULLING], ids=lambda loss: loss.__name__)


def test_by_hand():
    """IoU 2 / 14; hull 18, of which 4 are empty; centres sqrt(5) apart, the hull's diagonal sqrt(45); of one shape."""
    boxes = [[0, 0, 4, 2]], [[2, 1, 6, 3]]
    np.testing.assert_allclose(losses.iou_loss(*boxes), [np.log(14 / 2)], rtol=1e-6)
    np.testing.assert_allclose(losses.giou_loss(*boxes), [1 - 2 / 14 + 4 / 18], rtol=1e-6)
    for loss in (losses.diou_loss, losses.ciou_loss):
        np.testing.assert_allclose(loss(*boxes), [1 - 2 / 14 + 5 / 45], rtol=1e-6)


@by_loss
def test_unreduced_float32(loss):
    value = loss(tf.ones([2, 3, 4], tf.float16), tf.ones([2, 3, 4], tf.float16))
    assert value.shape == (2, 3) and value.dtype == tf.float32


@by_loss
@pytest.mark.parametrize(
    "target, prediction",
    [
        ((0, 0, 0, 0), (0, 0, 0, 0)),
        ((5, 5, 5, 5), (0, 0, 0, 0)),
        ((0, 0, 4, 2), (0, 0, 0, 0)),
        ((0, 0, 4, 2), (1, 1, 1, 1)),
        ((0, 0, 4, 2), (3, 1, 1, 0)),  # inside out
        ((0, 0, 4, 2), (3, 0, 1, 1)),  # inside out on one axis
        ((0, 0, 4, 2), (0, 0, 4, 2)),
        ((0, 0, 1e-20, 1e-20), (0, 0, 1e-20, 1e-20)),
        ((0, 0, 1e6, 1e6), (1e6, 1e6, 1e6, 1e6)),
    ],
)
def test_degenerate_boxes_are_finite(loss, target, prediction):
    leaves = tf.constant([target], tf.float32), tf.constant([prediction], tf.float32)
    with tf.GradientTape() as tape:
        tape.watch(leaves)
        value = loss(*leaves)
    assert np.isfinite(value).all()
    assert np.isfinite(tape.gradient(value, leaves)).all()


@pytest.mark.parametrize("loss", PULLING, ids=lambda loss: loss.__name__)
def test_disjoint_boxes_are_pulled_together(loss):
    """What they add to IoU: a gradient where nothing overlaps."""
    prediction = tf.constant([[6.0, 0, 8, 2]])
    with tf.GradientTape() as tape:
        tape.watch(prediction)
        value = loss([[0.0, 0, 4, 2]], prediction)
    x1_gradient = tape.gradient(value, prediction)[0, 0]
    assert x1_gradient > 0  # minimizing moves the near side towards the target
