"""Grid points, the distance codec and suppression against the reference."""

import functools

import numpy as np
import pytest

from gfl_tf.ops import distances, nms
from gfl_tf.ops.grid import GridSpec


@pytest.mark.parametrize("height, width", [(256, 320), (640, 640), (1088, 1088)])
def test_points_and_anchors(shared, height, width):
    """Both stand at the cell's corner: the reference's anchors have side 8 x stride around our points."""
    reference = np.load(shared / "reference" / "atss.npz")
    expected = np.concatenate([reference[f"anchors/{height}x{width}/P{i}"] for i in range(3, 8)])
    places = GridSpec().on((height, width)).places
    np.testing.assert_array_equal(places.anchors, expected)
    np.testing.assert_array_equal((places.anchors[:, :2] + places.anchors[:, 2:]) / 2, places.points_px)


def test_distance_codec(shared):
    reference = np.load(shared / "reference" / "losses.npz")
    encoded = distances.boxes_to_distances(reference["bbox2distance/points"], reference["bbox2distance/boxes"])
    np.testing.assert_allclose(encoded, reference["bbox2distance/out_nomax"], rtol=1e-5, atol=1e-5)
    decoded = distances.distances_to_boxes(reference["distance2bbox/points"], reference["distance2bbox/dist"])
    np.testing.assert_allclose(decoded, reference["distance2bbox/out"], rtol=1e-5, atol=1e-5)


def linear_soft(iou_threshold):
    decay = functools.partial(nms.linear_decay, iou_threshold=iou_threshold)
    return functools.partial(nms.soft, decay=decay, min_score=1e-3)


SUPPRESSIONS = {
    "nms06": functools.partial(nms.hard, iou_threshold=0.6),
    "nms03": functools.partial(nms.hard, iou_threshold=0.3),
    "soft065": linear_soft(0.65),
    "soft03": linear_soft(0.3),
}


@pytest.mark.parametrize("kind", list(SUPPRESSIONS))
def test_suppression(shared, kind):
    """400 boxes of 4 classes: which stay, in order, and their scores."""
    reference = np.load(shared / "reference" / "ops.npz")
    scores = reference["nms/scores"][:, np.newaxis] * np.eye(4, dtype=np.float32)[reference["nms/labels"]]
    select = functools.partial(SUPPRESSIONS[kind], max_detections=400)
    candidate, classes, confidence = nms.suppress(reference["nms/boxes"], scores, select)
    keep = reference[f"nms/{kind}/keep"]
    np.testing.assert_array_equal(candidate, keep)
    np.testing.assert_array_equal(classes, reference["nms/labels"][keep])
    np.testing.assert_allclose(confidence, reference[f"nms/{kind}/dets"][:, 4], rtol=1e-6)
