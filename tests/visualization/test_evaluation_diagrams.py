"""What is drawn, read back from the axes."""

import numpy as np
import pytest
from matplotlib.figure import Figure

from gfl_tf.visualization import evaluation_diagrams

pytestmark = pytest.mark.one_stack


@pytest.fixture
def axes():
    return Figure().subplots()


def _lines(axes):
    return {line.get_label(): line.get_xydata().tolist() for line in axes.get_lines()}


def test_precision_and_recall_of_the_classes_that_occur(axes):
    curves = {"cat": np.ones(101), "dog": np.linspace(1, 0, 101), "bird": np.full(101, -1.0)}
    evaluation_diagrams.precision_recall(axes, curves)
    lines = _lines(axes)
    assert set(lines) == {"cat", "dog", "mean of the classes"}
    assert lines["dog"][25] == [0.25, 0.75] and lines["mean of the classes"][50] == [0.5, 0.75]


def test_of_many_classes_only_the_mean_has_a_name(axes):
    evaluation_diagrams.precision_recall(axes, {str(number): np.ones(101) for number in range(80)})
    assert [text.get_text() for text in axes.get_legend().get_texts()] == ["mean of the classes"]
    assert len(axes.get_lines()) == 81


def test_reliability_of_two_runs_in_one_diagram(axes):
    bins = [{"count": 0, "score": 0.0, "iou": 0.0, "precision": 0.0}]
    bins += [{"count": 3, "score": 0.55, "iou": 0.4, "precision": 0.5}]
    for label in ("one", "other"):
        evaluation_diagrams.reliability(axes, {"bins": bins}, label)
    lines = _lines(axes)
    assert set(lines) == {"one mean IoU", "one precision", "other mean IoU", "other precision", "as claimed"}
    assert lines["one mean IoU"] == [[0.55, 0.4]] and lines["other precision"] == [[0.55, 0.5]]


def test_coverage(axes):
    intervals = [{"level": 0.5, "coverage": 0.6, "error": 0.1}, {"level": 0.9, "coverage": 0.8, "error": 0.05}]
    evaluation_diagrams.coverage(axes, {"intervals": intervals})
    assert axes.get_lines()[0].get_xydata().tolist() == [[0.5, 0.6], [0.9, 0.8]]


def test_cells_of_a_confusion_matrix(axes):
    """Rows are objects, columns what they were found as; shades are shares of a row."""
    evaluation_diagrams.confusion(axes, np.array([[3, 1], [2, 0]]), ("cat",))
    assert {(text.get_text(), text.get_position()) for text in axes.texts} == {
        ("3", (0, 0)), ("1", (1, 0)), ("2", (0, 1))
    }  # fmt: skip
    assert [label.get_text() for label in axes.get_xticklabels()] == ["cat", "missed"]
    assert [label.get_text() for label in axes.get_yticklabels()] == ["cat", "background"]
    assert axes.images[0].get_array().tolist() == [[0.75, 0.25], [1.0, 0.0]]


def test_recall_of_sizes(axes):
    rows = [{"size": "8-16", "objects": 4, "found": 1}, {"size": "16-32", "objects": 0, "found": 0}]
    evaluation_diagrams.sizes(axes, rows)
    assert [bar.get_height() for bar in axes.patches] == [4, 0, 1, 0]
    assert [text.get_text() for text in axes.texts] == ["25%"]


def test_training_curves(axes):
    evaluation_diagrams.training_curves(axes, {"loss": ([10, 20], [2.0, 1.0])}, "loss")
    assert _lines(axes) == {"loss": [[10, 2.0], [20, 1.0]]} and axes.get_legend() is None
