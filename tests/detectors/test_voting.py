"""Variance voting as a choice of the decoder."""

import numpy as np
import pytest
import tensorflow as tf

import gfl_tf
from gfl_tf.serving import export

VOTING = gfl_tf.PredictionDecoder(voting_sigma=0.02, max_detections=5)


@pytest.mark.parametrize("nms", ["hard", "soft_linear"])
def test_detections_of_each_kind_are_voted(nms):
    """Two boxes of IoU 0.8, the second twice as sure, with two classes, of which the second has one; and one elsewhere.

    Soft-NMS keeps the second box too, at last. Its own weight is four times that of the first.
    """
    candidates = {
        "boxes": tf.constant([[[0.0, 0, 10, 10], [0, 0, 8, 10], [50, 0, 60, 10]]]),
        "scores": tf.constant([[[0.9, 0.8], [0.7, 0.0], [0.6, 0.0]]]),
        "edge_stddev": tf.constant([[[2.0] * 4, [1] * 4, [1] * 4]]),
    }
    before = VOTING.changed(nms=nms, voting_sigma=0.0).suppress(candidates)
    after = VOTING.changed(nms=nms).suppress(candidates)
    overlap = np.exp(-(0.2**2) / 0.02)
    first, second = (10 + 8 * 4 * overlap) / (1 + 4 * overlap), (8 * 4 + 10 * overlap) / (4 + overlap)
    expected = [[0, 0, first, 10], [0, 0, 10, 10], [50, 0, 60, 10], [0, 0, second, 10], [-1] * 4]
    if nms == "hard":
        expected[3] = [-1] * 4
    np.testing.assert_allclose(after.pop("boxes")[0], expected, rtol=1e-6)
    del before["boxes"]
    for name, value in before.items():  # scores and spread, of padding too
        np.testing.assert_array_equal(after[name], value)


def test_a_detector_without_distributions_is_refused(build):
    model = build(gfl_tf.FCOS)
    refused = pytest.raises(ValueError, match="voting_sigma is 0.02, .* DiracDistances states no spread .* set it to 0")
    with refused:
        model.prediction_decoder = VOTING
    assert not model.prediction_decoder.voting_sigma
    with refused:
        build(gfl_tf.FCOS, prediction_decoder=VOTING)


def test_an_export_is_refused_before_it_begins(build, tmp_path):
    with pytest.raises(ValueError, match="DiracDistances states no spread"):
        export.export(build(gfl_tf.FCOS), (64, 64), tmp_path, "m", export.Options(voting_sigma=0.02))
    assert not list(tmp_path.iterdir())
