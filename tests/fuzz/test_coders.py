"""Box coders: finite boxes, losses and gradients of finite outputs, place by place, and the way back."""

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given
from hypothesis import strategies as st

from gfl_tf.boxes.distributions import GaussianDistribution, GeneralDistribution
from gfl_tf.boxes.points import AnchorDeltas, DiracDistances
from gfl_tf.ops import deltas, distances
from gfl_tf.ops.grid import GridSpec, Places
from tests.fuzz import values

pytestmark = pytest.mark.one_stack

CODERS = [
    DiracDistances(),
    DiracDistances(activation="relu"),
    DiracDistances(activation="none", unit="pixel"),
    AnchorDeltas(delta_weight=1.0),
    GeneralDistribution(num_bins=4),
    GeneralDistribution(num_bins=1, bin_width=0.5),
    GaussianDistribution(),
]
PLACES = GridSpec(levels=(3, 4)).on((64, 96)).places
# Beyond, an exponential function in float32 is infinite.
LIMIT = 20.0


def outputs(coder):
    return values.arrays((values.COUNT, coder.num_outputs), -LIMIT, LIMIT)


indices = st.lists(st.integers(0, len(PLACES.strides) - 1), min_size=values.COUNT, max_size=values.COUNT)


@pytest.mark.parametrize("coder", CODERS, ids=str)
@given(data=st.data(), index=indices, order=values.orders())
def test_decoding(coder, data, index, order):
    output, places = data.draw(outputs(coder)), PLACES.at(np.array(index))
    boxes = coder.decode(output, places).numpy()
    assert boxes.shape == (values.COUNT, 4) and np.isfinite(boxes).all()
    assert all(np.isfinite(value).all() for value in coder.extras(output, places).values())
    in_order = coder.decode(output[order], places.at(order)).numpy()
    np.testing.assert_allclose(in_order, boxes[order], rtol=1e-5, atol=1e-3)
    if getattr(coder, "activation", "") != "none":
        assert (boxes[:, :2] <= boxes[:, 2:]).all()


@pytest.mark.parametrize("coder", CODERS, ids=str)
@given(data=st.data(), index=indices, x=st.integers(-8, 8), y=st.integers(-8, 8))
def test_decoding_elsewhere(coder, data, index, x, y):
    """Places that are so many strides further away have boxes as much further away."""
    output, places = data.draw(values.arrays((values.COUNT, coder.num_outputs), -4, 4)), PLACES.at(np.array(index))
    shift = np.float32([x, y, x, y]) * places.strides.numpy()[:, np.newaxis]
    moved = Places(places.points_px + shift[:, :2], places.strides, places.anchors + shift)
    np.testing.assert_allclose(coder.decode(output, moved), coder.decode(output, places) + shift, rtol=1e-5, atol=1e-2)


@pytest.mark.parametrize("coder", [coder for coder in CODERS if coder.loss_name], ids=str)
@given(data=st.data(), index=indices, target=values.boxes(-200, 200))
def test_losses_are_finite(coder, data, index, target):
    output, places = data.draw(outputs(coder)), PLACES.at(np.array(index))
    loss = values.check_finite(lambda output: coder.loss(output, tf.constant(target), places), output)
    assert loss.shape == (values.COUNT,)


@given(index=indices, boxes=values.whole_boxes(-64, 192))
def test_distances_there_and_back(index, boxes):
    points = PLACES.at(np.array(index)).points_px
    np.testing.assert_array_equal(
        distances.distances_to_boxes(points, distances.boxes_to_distances(points, boxes)), boxes
    )


@given(index=indices, boxes=values.whole_boxes(-64, 192))
def test_deltas_there_and_back(index, boxes):
    anchors = PLACES.at(np.array(index)).anchors
    sides = boxes[:, 2:] - boxes[:, :2]
    boxes[:, 2:] += np.where(sides < 3, 3, 0).astype(np.float32)  # smaller ones are not encoded in full
    found = deltas.deltas_to_boxes(
        anchors, deltas.boxes_to_deltas(anchors, boxes, (0.1, 0.1, 0.2, 0.2)), (0.1, 0.1, 0.2, 0.2)
    )
    np.testing.assert_allclose(found, boxes, atol=1e-2)
