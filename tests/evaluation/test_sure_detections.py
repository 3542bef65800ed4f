"""What is counted of sure detections, in tables by hand: confusions, sizes, mistakes."""

import numpy as np
import pytest

from gfl_tf.data.coco import CocoDataset, ImageRecord, LoadReport
from gfl_tf.evaluation import confusion, mistakes, sizes
from gfl_tf.evaluation.sure_detections import matched_images

pytestmark = pytest.mark.one_stack

CAT, DOG = 0, 1
LEFT, RIGHT, BOTTOM, CROWD = (0, 0, 40, 40), (50, 0, 90, 40), (0, 50, 10, 60), (50, 50, 90, 90)


def _images(objects, found, crowd=()):
    """`objects` and `found` of one image: (box, class) and (box, class, score)."""
    boxes, classes = np.float32([box for box, _ in objects]).reshape(-1, 4), np.int32([label for _, label in objects])
    crowds = np.float32(crowd).reshape(-1, 4)
    record = ImageRecord(
        7, "/7.jpg", 100, 100, boxes, classes, np.ones(len(boxes), "f4"), crowds, np.zeros(len(crowds), "i4")
    )
    detections = [
        {"image_id": 7, "category_id": 10 + label, "bbox": [x1, y1, x2 - x1, y2 - y1], "score": score}
        for (x1, y1, x2, y2), label, score in found
    ]
    return matched_images(CocoDataset([record], ("cat", "dog"), (10, 11), LoadReport()), detections)


@pytest.mark.parametrize(
    "objects, found, expected",
    [
        ([(LEFT, CAT)], [(LEFT, CAT, 0.9)], [[1, 0, 0], [0, 0, 0], [0, 0, 0]]),
        ([(LEFT, CAT)], [], [[0, 0, 1], [0, 0, 0], [0, 0, 0]]),
        ([(LEFT, CAT)], [(LEFT, DOG, 0.9)], [[0, 1, 0], [0, 0, 0], [0, 0, 0]]),
        ([(LEFT, CAT)], [(RIGHT, DOG, 0.9)], [[0, 0, 1], [0, 0, 0], [0, 1, 0]]),
        ([(LEFT, CAT)], [(LEFT, CAT, 0.29)], [[0, 0, 1], [0, 0, 0], [0, 0, 0]]),
        # Its own class comes first, though the other one is surer; that one is then of the background.
        ([(LEFT, CAT)], [(LEFT, DOG, 0.9), (LEFT, CAT, 0.4)], [[1, 0, 0], [0, 0, 0], [0, 1, 0]]),
        # Two objects in one place, found as one class twice.
        ([(LEFT, CAT), (LEFT, DOG)], [(LEFT, CAT, 0.9), (LEFT, CAT, 0.8)], [[1, 0, 0], [1, 0, 0], [0, 0, 0]]),
        # Of two for one object of another class, the surer one takes it.
        ([(LEFT, CAT)], [(LEFT, DOG, 0.5), ((0, 0, 40, 30), DOG, 0.9)], [[0, 1, 0], [0, 0, 0], [0, 1, 0]]),
        ([], [(CROWD, CAT, 0.9), (CROWD, DOG, 0.8)], [[0, 0, 0], [0, 0, 0], [0, 1, 0]]),
    ],
)
def test_confusion_matrix(objects, found, expected):
    images = _images(objects, found, crowd=[CROWD])
    assert confusion.matrix(images, 2).tolist() == expected
    assert confusion.matrix(images + images, 2).tolist() == (2 * np.array(expected)).tolist()


def test_the_most_frequent_confusions():
    counts = np.array([[9, 2, 0], [4, 9, 3], [0, 4, 0]])
    found = confusion.most_frequent(counts, ("cat", "dog"), most=3)
    assert found == [("dog", "cat", 4), ("background", "dog", 4), ("dog", "missed", 3)]
    assert len(confusion.most_frequent(counts, ("cat", "dog"))) == 4


def test_recall_of_each_size():
    """Sizes 40, 40 and 10; of the first two one is found, and the third by a box of another class."""
    images = _images([(LEFT, CAT), (RIGHT, DOG), (BOTTOM, DOG)], [(LEFT, CAT, 0.9), (BOTTOM, CAT, 0.9)])
    assert sizes.recall(images) == [
        {"size": "8-16", "objects": 1, "found": 0},
        {"size": "16-32", "objects": 0, "found": 0},
        {"size": "32-64", "objects": 2, "found": 1},
    ]
    assert sizes.recall(_images([], [])) == []


def test_the_surest_mistakes_come_first():
    found = [(LEFT, CAT, 0.9), (RIGHT, CAT, 0.5), (BOTTOM, DOG, 0.8), (CROWD, CAT, 0.95)]
    images = _images([(LEFT, CAT)], found, crowd=[CROWD])
    assert [each.row for each in mistakes.most_confident(images, 20)] == [2, 1]
    assert [each.row for each in mistakes.most_confident(images, 1)] == [2]
