"""Edges of a detection by hand: point (50, 40), bins of 8 pixels, box (38, 32, 58, 60)."""

import numpy as np
import pytest

from gfl_tf.visualization.stated_edges import stated

pytestmark = pytest.mark.one_stack

FOUND = {
    "boxes": np.array([[38.0, 32.0, 58.0, 60.0]]),
    "points": np.array([[50.0, 40.0]]),
    "bin_px": np.array([8.0]),
    "edge_stddev": np.array([[4.0, 0.0, 0.0, 2.0]]),
    # Distances 12, 8, 8 and 20 pixels.
    "probabilities": np.array([[[0, 0.5, 0.5, 0], [0, 1, 0, 0], [0, 1, 0, 0], [0, 0, 0.5, 0.5]]]),
    "edge_interval": np.array([[[1.0, 1, 1, 1], [5.0, 6, 7, 8], [9.0, 9, 9, 9]]]),
}


@pytest.mark.parametrize("levels", [None, (0.5, 0.85, 0.99)])
def test_edges_lie_where_their_distributions_do(levels):
    (edges,) = stated(FOUND, levels)
    assert [edge["side"] for edge in edges] == ["left", "top", "right", "bottom"]
    for edge, at in zip(edges, FOUND["boxes"][0]):
        places = edge["first"] + edge["step"] * np.arange(4)
        assert edge["at"] == at == pytest.approx(np.dot(places, edge["probabilities"]))


def test_intervals():
    (edges,) = stated(FOUND, None)
    assert edges[0]["interval"] == pytest.approx(1.645 * 4, abs=0.01) and "90% within ±6.6" in edges[0]["text"]
    (edges,) = stated(FOUND, (0.5, 0.85, 0.99))  # the nearest to 0.9
    assert [edge["interval"] for edge in edges] == [5, 6, 7, 8] and "85% within ±5.0" in edges[0]["text"]
