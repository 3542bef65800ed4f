"""Box deltas against hand-computed and the reference's values."""

import numpy as np
import pytest
import tensorflow as tf

from gfl_tf.ops import deltas

ANCHOR = tf.constant([[10.0, 20, 50, 40]])  # 40 x 20 around (30, 30)
STDDEVS = (0.1, 0.1, 0.2, 0.2)


def test_decode_by_hand():
    """Deltas 1, -2 of standard deviation 0.1: the centre moves by 0.1 x 40 and -0.2 x 20. Width x 2, height / 2."""
    values = [[1.0, -2, np.log(2) / 0.2, -np.log(2) / 0.2]]
    boxes = deltas.deltas_to_boxes(ANCHOR, tf.constant(values), STDDEVS)
    np.testing.assert_allclose(boxes, [[-6, 21, 74, 31]], rtol=1e-5)
    np.testing.assert_array_equal(deltas.deltas_to_boxes(ANCHOR, tf.zeros([1, 4]), STDDEVS), ANCHOR)


def test_an_array_of_the_callers_stays_as_it_is():
    values = np.ones([1, 4], np.float32)
    boxes = deltas.deltas_to_boxes(ANCHOR, values, STDDEVS)
    np.testing.assert_array_equal(boxes, deltas.deltas_to_boxes(ANCHOR, tf.ones([1, 4]), STDDEVS))
    np.testing.assert_array_equal(values, 1.0)


@pytest.mark.parametrize(
    "stddevs, expected",
    [((1, 1, 1, 1), [0.1, -0.2, np.log(2), -np.log(2)]), (STDDEVS, [1, -2, np.log(2) / 0.2, -np.log(2) / 0.2])],
)
def test_encode_by_hand(stddevs, expected):
    """A box 80 x 10 around (34, 26): 4 of 40 to the right, 4 of 20 up, twice as wide, half as high."""
    np.testing.assert_allclose(deltas.boxes_to_deltas(ANCHOR, tf.constant([[-6.0, 21, 74, 31]]), stddevs)[0], expected)


def test_decode_takes_back_what_encode_did():
    rng = np.random.default_rng(0)
    corners = rng.uniform(-100, 100, (2, 50, 2)).astype(np.float32)
    sizes = rng.uniform(1, 50, (2, 50, 2)).astype(np.float32)
    anchors, boxes = np.concatenate([corners, corners + sizes], axis=-1)
    encoded = deltas.boxes_to_deltas(anchors, boxes, STDDEVS)
    np.testing.assert_allclose(deltas.deltas_to_boxes(anchors, encoded, STDDEVS), boxes, atol=1e-3)


def test_a_box_without_area_has_finite_deltas():
    """Its sides count as 0.001 pixels."""
    encoded = deltas.boxes_to_deltas(ANCHOR, tf.constant([[30.0, 30, 30, 29]]), (1, 1, 1, 1))
    np.testing.assert_allclose(encoded, [[0, -0.5 / 20, np.log(1e-3 / 40), np.log(1e-3 / 20)]], rtol=1e-5)


@pytest.mark.parametrize("delta, factor", [(1000.0, 1000 / 16), (-1000.0, 16 / 1000)])
def test_sides_are_limited(delta, factor):
    boxes = deltas.deltas_to_boxes(ANCHOR, tf.constant([[0.0, 0, delta, delta]]), STDDEVS)
    np.testing.assert_allclose(boxes[:, 2:] - boxes[:, :2], [[40 * factor, 20 * factor]], rtol=1e-5)


def test_reference_values(shared):
    reference = np.load(shared / "reference" / "losses.npz")
    anchors = reference["delta_xywh/anchors"]
    for deltas_name, boxes_name in (("deltas", "decoded"), ("encoded", "gt")):
        encoded, boxes = (tf.constant(reference[f"delta_xywh/{name}"]) for name in (deltas_name, boxes_name))
        np.testing.assert_allclose(deltas.deltas_to_boxes(anchors, encoded, STDDEVS), boxes, rtol=1e-5, atol=1e-3)
    np.testing.assert_allclose(deltas.boxes_to_deltas(anchors, boxes, STDDEVS), encoded, rtol=1e-4, atol=1e-4)
