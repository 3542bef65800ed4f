"""Annotations that a detector doubts: scores worked out by hand."""

import numpy as np
import pytest

from gfl_tf.commands import review as command
from gfl_tf.data.coco import CocoDataset, ImageRecord, LoadReport
from gfl_tf.evaluation.review import KINDS, Review

pytestmark = pytest.mark.one_stack


def dataset(boxes, classes, crowd_boxes=()):
    record = ImageRecord(
        id=7,
        path="a.jpg",
        height=100,
        width=100,
        boxes=np.float32(boxes).reshape(-1, 4),
        classes=np.int32(classes),
        areas=np.ones(len(boxes), np.float32),
        crowd_boxes=np.float32(crowd_boxes).reshape(-1, 4),
        crowd_classes=np.zeros(len(crowd_boxes), np.int32),
    )
    return CocoDataset([record], ("cat", "dog", "cow"), (1, 2, None), LoadReport())


def found(boxes, classes, scores, **others):
    values = {"boxes": np.float32(boxes).reshape(-1, 4), "classes": np.float32(classes)}
    return {**values, "confidence": np.float32(scores), **{name: np.float32(each) for name, each in others.items()}}


def reviewed(data, detections, level=None):
    review = Review(data, level)
    review.add(0, data.images[0], detections)
    return review


MOVED = dataset([[50, 10, 90, 50]], [0])  # its right side is 10 px beyond the detection's


def test_side_outside_the_interval():
    """1.96 standard deviations of 2 px are 3.92 px: 0.9 (1 - 3.92 / 10) = 0.547, 6.08 px outside."""
    (one,) = reviewed(MOVED, found([[50, 10, 80, 50]], [0], [0.9], edge_stddev=[[2, 2, 2, 2]])).findings
    assert (one.image, one.kind, one.annotation, one.box, one.label) == (0, "edges", 0, (50, 10, 80, 50), 0)
    assert one.score == pytest.approx(0.9 * (1 - 0.392), abs=1e-5)
    assert one.reason == "right edge 6 px outside the 95% interval"


def test_sides_within_their_intervals_are_no_finding():
    assert not reviewed(MOVED, found([[50, 10, 80, 50]], [0], [0.9], edge_stddev=[[1, 1, 6, 1]])).findings


def test_the_widest_interval_of_a_calibrated_detector_counts():
    """0.9 (1 - 5 / 10), whatever the standard deviation."""
    half = [[[1, 1, 1, 1], [2, 2, 5, 2]]]
    detections = found([[50, 10, 80, 50]], [0], [0.9], edge_stddev=[[9, 9, 9, 9]], edge_interval=half)
    (one,) = reviewed(MOVED, detections, level=0.9).findings
    assert one.score == pytest.approx(0.45) and one.reason == "right edge 5 px outside the 90% interval"


def test_the_worst_side_counts_and_all_are_named():
    """Left 10 and right 10 px off, half-widths 1.96 and 3.92 px: 0.5 (1 - 0.196)."""
    detections = found([[60, 10, 80, 50]], [0], [0.5], edge_stddev=[[1, 1, 2, 1]])
    (one,) = reviewed(MOVED, detections).findings
    assert one.score == pytest.approx(0.5 * 0.804, abs=1e-5)
    assert one.reason == "left edge 8 px, right edge 6 px outside the 95% interval"


def test_without_a_spread_the_overlap_counts():
    """IoU 30 / 40: 0.9 (1 - 0.75)."""
    (one,) = reviewed(MOVED, found([[50, 10, 80, 50]], [0], [0.9])).findings
    assert one.kind == "edges" and one.score == pytest.approx(0.225) and "an IoU of 0.75" in one.reason


def test_another_class():
    """0.8 less the 0.2 of the annotated class."""
    boxes = [[50, 10, 90, 50]] * 2
    (one,) = reviewed(MOVED, found(boxes, [1, 0], [0.8, 0.2], edge_stddev=np.ones([2, 4]))).findings
    assert (one.kind, one.annotation, one.label) == ("class", 0, 1) and one.score == pytest.approx(0.6)
    assert one.reason == "dog is found here with a score of 0.80, cat with 0.20"


def test_missing_and_spurious():
    """Nothing overlaps the dog; the half box beside the cat has an IoU of 0.25 with it."""
    data = dataset([[0, 0, 20, 20], [60, 60, 80, 80]], [0, 1])
    boxes = [[0, 0, 20, 20], [60, 0, 80, 20], [0, 0, 10, 10]]
    findings = reviewed(data, found(boxes, [0, 1, 0], [0.9, 0.7, 0.4])).findings
    assert [(each.kind, each.annotation) for each in findings] == [
        ("missing", None),
        ("missing", None),
        ("spurious", 1),
    ]
    np.testing.assert_allclose([each.score for each in findings], [0.7, 0.4 * 0.75, 1], rtol=1e-6)
    assert findings[0].reason == "dog is found with a score of 0.70, and not annotated"
    assert findings[2].box is None and findings[2].reason == "nothing is found here"


def test_scores_are_shares_of_the_cases_with_a_smaller_doubt():
    """Of 4 annotations two are moved, the second less, and two are not found; two of 5 detections are not annotated."""
    truth = np.float32([[0, 0, 20, 20], [30, 0, 50, 20], [60, 0, 80, 20], [0, 60, 20, 80]])
    boxes = [[0, 0, 14, 20], [30, 0, 47, 20], [60, 60, 80, 80], [30, 60, 50, 80], [0, 0, 14, 20]]
    detections = found(boxes, [0] * 5, [0.8, 0.8, 0.6, 0.5, 0.2], edge_stddev=np.ones([5, 4]))
    review = reviewed(dataset(truth, [0] * 4), detections)
    scores = {"edges": [0.75, 0.5], "missing": [0.75, 0.5], "spurious": [0.5, 0.5]}
    for kind, wanted in scores.items():
        np.testing.assert_allclose([each.score for each in review.ranking([kind])], wanted)
    ranking = review.ranking()
    assert [each.score for each in ranking] == [0.75] * 2 + [0.5] * 4
    assert {each.kind for each in ranking[:2]} == {"edges", "missing"} and ranking[2].kind == "spurious"


def test_weak_detections_say_that_an_object_is_there_and_no_more():
    assert not reviewed(MOVED, found([[50, 10, 80, 50], [0, 0, 20, 20]], [1, 1], [0.29, 0.29])).findings


def test_inside_a_crowd_nothing_is_missing():
    assert not reviewed(dataset([], [], [[0, 0, 100, 100]]), found([[10, 10, 20, 20]], [1], [0.9])).findings


def test_a_class_that_the_file_does_not_have_is_not_asked_for():
    assert not reviewed(dataset([], []), found([[10, 10, 20, 20]], [2], [0.9])).findings


def test_nothing():
    review = reviewed(dataset([], []), found([], [], []))
    assert not review.findings and not review.ranking()


def test_the_moved_box_comes_first():
    """Of 30 boxes that are found with errors of the stated 2 px, one has its top side moved by a third."""
    rng = np.random.default_rng(0)
    left, top = np.meshgrid(np.arange(6) * 100.0, np.arange(5) * 100.0)
    truth = np.stack([left, top, left + 60, top + 60], axis=-1).reshape(-1, 4) + 10
    detections = found(truth + rng.normal(0, 2, [30, 4]), [0] * 30, rng.uniform(0.7, 0.9, 30))
    truth[17, 1] += 20
    review = reviewed(dataset(truth, [0] * 30), {**detections, "edge_stddev": np.full([30, 4], 2.0)})
    first = review.ranking()[0]
    assert first.annotation == 17 and first.reason.startswith("top edge")


def test_the_command_knows_the_kinds():
    """It names them without importing TensorFlow."""
    assert command.KINDS == tuple(KINDS)
