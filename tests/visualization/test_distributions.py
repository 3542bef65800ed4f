import numpy as np
import pytest

from gfl_tf.visualization import distributions

pytestmark = pytest.mark.one_stack

N = 16


def _one_hot(*bins):
    return np.eye(N + 1)[list(bins)]


def _columns(picture, colour, rows=slice(None), columns=slice(None)):
    """Columns of a part of the picture that hold a colour."""
    return np.flatnonzero((picture[rows, columns] == colour).all(axis=-1).any(axis=0))


QUARTERS = {
    "left": np.s_[:260, :360],
    "top": np.s_[:260, 360:],
    "right": np.s_[260:, :360],
    "bottom": np.s_[260:, 360:],
}


def test_moments_by_hand():
    probabilities = np.array([[0.5, 0.5, 0, 0], [0, 0, 1, 0], [0.25, 0.25, 0.25, 0.25]])
    mean, stddev = distributions.moments(probabilities, bin_px=8)
    np.testing.assert_allclose(mean, [4, 16, 12])
    np.testing.assert_allclose(stddev, [4, 0, 8 * np.sqrt(1.25)])


def test_each_side_has_its_own_plot_with_the_bar_at_its_bin():
    bins = (2, 6, 10, 14)
    picture = distributions.plot_distributions(_one_hot(*bins), bin_px=4)
    assert picture.shape == (520, 720, 3) and picture.dtype == np.uint8
    for bin_index, quarter in zip(bins, QUARTERS.values()):
        bar = _columns(picture[quarter], distributions._BAR)
        middle = (bar.min() + bar.max()) / 2
        share = (middle - 46) / (360 - 14 - 46)  # of the axis, between the margins
        assert abs(share - (bin_index + 0.5) / (N + 1)) < 0.01
        line = _columns(picture[quarter], distributions._EXPECTATION, slice(100, 200))
        assert abs(line.mean() - middle) < 2.5


def test_bars_are_as_high_as_their_probability():
    probabilities = _one_hot(4, 4, 4, 4)
    probabilities[1] = 0
    probabilities[1, [2, 12]] = 0.75, 0.25
    picture = distributions.plot_distributions(probabilities, bin_px=4)[QUARTERS["top"]]
    height = {}
    for bin_index in (2, 12):
        x = int(46 + (bin_index + 0.5) / (N + 1) * 300)
        height[bin_index] = (picture[:, x] == distributions._BAR).all(axis=-1).sum()
    assert abs(height[2] / height[12] - 3) < 0.15


def test_the_shading_is_one_standard_deviation_to_either_side():
    probabilities = _one_hot(8, 8, 8, 8)
    probabilities[0] = 0
    probabilities[0, [4, 12]] = 0.5
    picture = distributions.plot_distributions(probabilities, bin_px=2)
    shaded = _columns(picture[QUARTERS["left"]], distributions._SPREAD)
    bin_width = 300 / (N + 1)
    assert abs(shaded.min() - (46 + 4.5 * bin_width)) < bin_width
    assert abs(shaded.max() - (46 + 12.5 * bin_width)) < bin_width
    # A side that is sure has no shading beyond the width of its line.
    assert len(_columns(picture[QUARTERS["top"]], distributions._SPREAD)) <= 1


@pytest.mark.parametrize(
    "probabilities",
    [
        np.full((4, N + 1), 1 / (N + 1)),
        _one_hot(0, 0, N, N),
        np.full((4, 2), 0.5),
        np.full((4, 201), 1 / 201),
        np.full((4, N + 1), 1 / (N + 1), np.float16),
    ],
)
@pytest.mark.parametrize("bin_px", [0.01, 8, 128])
def test_degenerate_distributions_are_drawn(probabilities, bin_px):
    picture = distributions.plot_distributions(probabilities, bin_px, title="thing")
    assert picture.shape == (520, 720, 3)
    assert len(_columns(picture, distributions._EXPECTATION)) > 4


def test_errors_say_what_is_wrong():
    with pytest.raises(ValueError, match=r"must be \[4, n \+ 1\]"):
        distributions.plot_distributions(np.ones((3, 17)) / 17, 8)
    with pytest.raises(ValueError, match="softmax"):
        distributions.plot_distributions(np.zeros((4, 17)), 8)
    with pytest.raises(ValueError, match="softmax"):
        distributions.plot_distributions(np.full((4, 17), np.nan), 8)
    with pytest.raises(ValueError, match="bin_px"):
        distributions.plot_distributions(_one_hot(1, 1, 1, 1), 0)
    with pytest.raises(ValueError, match="box must be four"):
        distributions.plot_detection(np.zeros((50, 50, 3), np.uint8), [0, 0, np.inf, 5], _one_hot(1, 1, 1, 1), 8)


def test_a_detection_is_shown_beside_its_plots():
    image = np.zeros((100, 140, 3), np.uint8)
    image[30:70, 40:100] = (0, 0, 255)
    probabilities = _one_hot(5, 4, 10, 3)
    box = [40, 30, 100, 70]
    shown = distributions.plot_detection(image, box, probabilities, bin_px=4, name="cell", score=0.5)
    assert shown.shape == (520, 520 + 720, 3)
    crop = shown[:, :520]
    inside = (crop == (0, 0, 255)).all(axis=-1)
    outline = (crop == distributions._EXPECTATION).all(axis=-1)
    # The crop is centred on the box, and the outline runs around the blue rectangle.
    assert inside[260, 260]
    assert outline[260].any() and outline[:, 260].any()
    rows, columns = np.flatnonzero(outline.any(axis=1)), np.flatnonzero(outline.any(axis=0))
    blue_rows, blue_columns = np.flatnonzero(inside.any(axis=1)), np.flatnonzero(inside.any(axis=0))
    assert rows[0] <= blue_rows[0] and rows[-1] >= blue_rows[-1]
    assert columns[0] <= blue_columns[0] and columns[-1] >= blue_columns[-1]
    assert rows[-1] - rows[0] < 1.1 * (blue_rows[-1] - blue_rows[0])


@pytest.mark.parametrize("box", [[-20, -20, 30, 30], [90, 60, 200, 200], [10, 10, 10, 10], [500, 500, 600, 600]])
def test_boxes_at_the_border_outside_and_without_extent(box):
    image = np.full((100, 140, 3), 90, np.uint8)
    shown = distributions.plot_detection(image, box, _one_hot(1, 2, 3, 4), 8, name="x")
    assert shown.shape == (520, 1240, 3)
