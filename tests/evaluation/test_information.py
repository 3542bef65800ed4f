"""Which unlabelled images come first: scores worked out by hand."""

import numpy as np
import pytest

from gfl_tf.evaluation.information import Information

pytestmark = pytest.mark.one_stack


def test_order():
    """The mean of 0.4 and 0.8 leaves 0.4, and 0.5 leaves 0.5; 0.1 does not count."""
    information = Information()
    for index, scores in enumerate(([], [0.4, 0.8], [0.5, 0.1], [0.9], [0.2])):
        information.add(index, None, {"confidence": np.float32(scores)})
    found = information.ranking()
    assert [each.image for each in found] == [2, 1, 3, 0, 4]
    assert [each.score for each in found] == pytest.approx([0.5, 0.4, 0.1, 0, 0])
    assert found[1].reason == "detections: 2, with a mean score of 0.60"
    assert found[3].kind == "none" and "nothing is found" in found[3].reason
