"""The codec between boxes and distances, worked out by hand."""

import numpy as np
import pytest

from gfl_tf.ops import distances


@pytest.mark.parametrize(
    "point, box, ltrb",
    [
        ((5, 4), (1, 2, 9, 5), (4, 2, 4, 1)),  # 5 - 1, 4 - 2, 9 - 5, 5 - 4
        ((1, 2), (1, 2, 9, 5), (0, 0, 8, 3)),  # on the corner
        ((0, 6), (1, 2, 9, 5), (-1, 4, 9, -1)),  # left of the box and below it
    ],
)
def test_codec(point, box, ltrb):
    point, box, ltrb = np.float32(point), np.float32(box), np.float32(ltrb)
    np.testing.assert_array_equal(distances.boxes_to_distances(point, box), ltrb)
    np.testing.assert_array_equal(distances.distances_to_boxes(point, ltrb), box)
