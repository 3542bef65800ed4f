"""Which detection finds which object, and what is collected of them."""

import numpy as np
import pytest

from gfl_tf.data.coco import ImageRecord
from gfl_tf.evaluation.matches import FALSE, IN_CROWD, Matches, iou, match

pytestmark = pytest.mark.one_stack

BOXES = np.float32([[0, 0, 10, 10], [20, 0, 40, 20]])


def record(boxes=BOXES, classes=(0, 1), crowd_boxes=(), crowd_classes=()):
    return ImageRecord(
        id=7,
        path="a.jpg",
        height=50,
        width=100,
        boxes=np.float32(boxes).reshape(-1, 4),
        classes=np.int32(classes),
        areas=np.ones(len(boxes), np.float32),
        crowd_boxes=np.float32(crowd_boxes).reshape(-1, 4),
        crowd_classes=np.int32(crowd_classes),
    )


def found(boxes, classes, scores):
    return {"boxes": np.float32(boxes).reshape(-1, 4), "classes": np.float32(classes), "confidence": np.float32(scores)}


def test_the_surest_takes_the_object():
    detections = found([[0, 0, 10, 8], [0, 0, 10, 10], [20, 0, 40, 20]], [0, 0, 0], [0.6, 0.9, 0.8])
    result = match(record(), detections)
    np.testing.assert_array_equal(result.objects, [FALSE, 0, FALSE])  # taken; found; of another class
    np.testing.assert_allclose(result.iou, [0.8, 1, 0])


def test_an_overlap_of_a_half_is_enough():
    detections = found([[0, 0, 10, 5], [20, 0, 40, 9.9]], [0, 1], [0.5, 0.5])
    np.testing.assert_array_equal(match(record(), detections).objects, [0, FALSE])


def test_inside_a_crowd_it_is_neither():
    crowd = record(boxes=[], classes=[], crowd_boxes=[[50, 0, 100, 50]], crowd_classes=[1])
    result = match(crowd, found([[60, 10, 70, 20], [60, 10, 70, 20]], [1, 0], [0.5, 0.5]))
    np.testing.assert_array_equal(result.objects, [IN_CROWD, FALSE])
    np.testing.assert_array_equal(result.iou, [0, 0])


def test_nothing():
    assert not len(match(record(), found([], [], [])).objects)
    np.testing.assert_array_equal(match(record([], []), found([[0, 0, 1, 1]], [0], [1])).objects, [FALSE])


def test_lengths_are_in_pixels_of_the_input():
    """An image of 50 x 100 that is 100 x 300 in the network's input: x times 3, y times 2."""
    matches = Matches()
    detections = found([[0, 0, 10, 8], [60, 0, 70, 10]], [0, 1], [0.9, 0.3])
    detections["edge_stddev"] = np.float32([[1, 2, 3, 4], [1, 1, 1, 1]])
    detections["point_strides"] = np.float32([8, 16])
    matches.add(3, record(), detections, (100, 300))
    edges, scored = matches.edges(), matches.scored()
    np.testing.assert_allclose(edges.boxes, [[0, 0, 30, 16]])
    np.testing.assert_allclose(edges.truth, [[0, 0, 30, 20]])
    np.testing.assert_allclose(edges.errors, [[0, 0, 0, 4]])
    np.testing.assert_allclose(edges.stddev, [[3, 4, 9, 8]])
    np.testing.assert_allclose(edges.lengths, [[30, 16, 30, 16]])
    np.testing.assert_allclose(edges.sizes, [480**0.5])
    assert (edges.images, edges.classes, edges.strides) == (3, 0, 8)
    np.testing.assert_array_equal(scored.is_right, [True, False])
    np.testing.assert_allclose(scored.iou, [0.8, 0])


def test_a_detector_without_spread():
    matches = Matches()
    matches.add(0, record(), found([[0, 0, 10, 8]], [0], [0.9]), (50, 100))
    assert matches.edges() is None and len(matches.scored().scores) == 1


def test_overlaps_do_not_depend_on_the_order_in_memory():
    """Boxes of served tensors lie column by column. A box of 2 x 2 in one of 4 x 2: 4 / 8."""
    boxes = np.float32([[0, 0, 2, 2], [0, 0, 4, 2]])
    for ordered in (boxes, np.asfortranarray(boxes)):
        np.testing.assert_allclose(iou(ordered, np.asfortranarray(boxes)), [[1, 0.5], [0.5, 1]])
