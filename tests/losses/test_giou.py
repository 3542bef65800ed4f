"""GIoU loss; its values are those of `tests/ops/test_boxes.py`."""

import numpy as np
import pytest
import tensorflow as tf

from gfl_tf import losses


def test_by_hand():
    """IoU 2 / 14, hull 18: 1 - 2 / 14 + 4 / 18."""
    value = losses.giou_loss([[0, 0, 4, 2]], [[2, 1, 6, 3]])
    np.testing.assert_allclose(value, [1 - 2 / 14 + 4 / 18], rtol=1e-6)


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
def test_degenerate_boxes_are_finite(target, prediction):
    leaves = tf.constant([target], tf.float32), tf.constant([prediction], tf.float32)
    with tf.GradientTape() as tape:
        tape.watch(leaves)
        value = losses.giou_loss(*leaves)
    assert np.isfinite(value).all()
    assert np.isfinite(tape.gradient(value, leaves)).all()


def test_disjoint_boxes_are_pulled_together():
    """What GIoU adds to IoU: a gradient where nothing overlaps."""
    prediction = tf.constant([[6.0, 0, 8, 2]])
    with tf.GradientTape() as tape:
        tape.watch(prediction)
        value = losses.giou_loss([[0.0, 0, 4, 2]], prediction)
    x1_gradient = tape.gradient(value, prediction)[0, 0]
    assert x1_gradient > 0  # minimizing moves the near side towards the target
