"""What the suppression takes from an object: a scene by hand."""

import numpy as np
import pytest

from gfl_tf.evaluation.analyses import suppression
from gfl_tf.evaluation.analyses.suppression import Boxes

# Two objects of class 0, 100 px wide and high, far from each other.
OBJECTS = np.array([[0, 0, 100, 100], [200, 0, 300, 100]], np.float64)
# Of the first: IoU 0.6, 0.9 and 0.5, and one of another class that fits; of the second: IoU 0.4, too little.
CANDIDATES = np.array([[0, 0, 100, 60], [0, 0, 100, 90], [0, 0, 100, 50], [0, 0, 100, 100], [200, 0, 300, 40]])
SCORES = np.array([[0.8, 0], [0.3, 0.1], [0.5, 0], [0, 0.9], [0.7, 0]])


@pytest.fixture
def first_and_second():
    before = suppression.of_candidates(CANDIDATES, SCORES)
    after = Boxes(CANDIDATES[[0, 4]], np.array([0, 0]), np.array([0.8, 0.7]))
    return suppression.of_image(OBJECTS, np.zeros(2, int), before, after)


def test_the_surest_box_is_kept_and_the_best_is_lost(first_and_second):
    first, second = first_and_second
    np.testing.assert_allclose(first.before.scores, [0.8, 0.5, 0.3])
    np.testing.assert_allclose(first.iou_before, [0.6, 0.5, 0.9])
    assert (first.best_iou, first.kept_iou, first.lost) == pytest.approx((0.9, 0.6, 0.3))
    assert (second.best_iou, second.kept_iou) == (0, 0)


def test_no_candidates_and_no_objects():
    nothing = suppression.of_candidates(np.zeros([0, 4]), np.zeros([0, 2]))
    (of_object,) = suppression.of_image(OBJECTS[:1], np.zeros(1, int), nothing, nothing)
    assert of_object.best_iou == of_object.kept_iou == 0
    assert suppression.of_image(np.zeros([0, 4]), np.zeros(0, int), nothing, nothing) == []


def test_numbers():
    """Of four objects one has no box; the others lose 0.3, nothing, and all."""
    numbers = suppression.measure(np.array([0.9, 0.8, 0.0, 0.7]), np.array([0.6, 0.8, 0.0, 0.0]))
    assert numbers == pytest.approx({
        "objects": 4, "found_before": 3, "mean_best_iou": 0.8, "mean_kept_iou": 1.4 / 3, "best_is_kept": 1 / 3,
        "clearly_lost": 2 / 3, "nothing_kept": 1 / 3,
    })  # fmt: skip
    assert suppression.measure(np.zeros(2), np.zeros(2)) == {"objects": 2, "found_before": 0}


def test_example_is_cut_out_of_the_image(first_and_second):
    """Its boxes reach to 100; a quarter more, 125, and the image ends at 110 px in height."""
    made = suppression.example("IMG", "cell", OBJECTS[0], first_and_second[0], np.zeros([110, 400, 3], np.uint8))
    assert made["pixels"].shape == (110, 125, 3) and made["object"] == [0, 0, 100, 100]
    assert [row["score"] for row in made["before"]] == pytest.approx([0.8, 0.5, 0.3])
    assert made["best"]["iou"] == pytest.approx(0.9) and len(made["after"]) == 1
