"""Box deltas against hand-computed and the reference's values."""

import numpy as np
import pytest
import tensorflow as tf

from gfl_tf.ops import deltas

ANCHOR = tf.constant([[10.0, 20, 50, 40]])  # 40 x 20 around (30, 30)


def test_decode_by_hand():
    """Deltas 1, -2 of standard deviation 0.1: the centre moves by 0.1 x 40 and -0.2 x 20. Width x 2, height / 2."""
    values = [[1.0, -2, np.log(2) / 0.2, -np.log(2) / 0.2]]
    np.testing.assert_allclose(deltas.deltas_to_boxes(ANCHOR, tf.constant(values)), [[-6, 21, 74, 31]], rtol=1e-5)
    np.testing.assert_array_equal(deltas.deltas_to_boxes(ANCHOR, tf.zeros([1, 4])), ANCHOR)


@pytest.mark.parametrize("delta, factor", [(1000.0, 1000 / 16), (-1000.0, 16 / 1000)])
def test_sides_are_limited(delta, factor):
    boxes = deltas.deltas_to_boxes(ANCHOR, tf.constant([[0.0, 0, delta, delta]]))
    np.testing.assert_allclose(boxes[:, 2:] - boxes[:, :2], [[40 * factor, 20 * factor]], rtol=1e-5)


def test_reference_values(shared):
    reference = np.load(shared / "reference" / "losses.npz")
    anchors = reference["delta_xywh/anchors"]
    for deltas_name, boxes_name in (("deltas", "decoded"), ("encoded", "gt")):
        decoded = deltas.deltas_to_boxes(anchors, tf.constant(reference[f"delta_xywh/{deltas_name}"]))
        np.testing.assert_allclose(decoded, reference[f"delta_xywh/{boxes_name}"], rtol=1e-5, atol=1e-3)
