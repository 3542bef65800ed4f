"""Pictures of the star-shaped sampling points: where they lie, and that they are the layer's own."""

from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from gfl_tf.visualization import star

pytestmark = pytest.mark.one_stack

GREY = 128
POINT, DISTANCES = (200, 150), (120, 90, 150, 110)
# Section 4.3, by hand: (x, y) of the points 0 to 8 for POINT and DISTANCES.
TABLE = [(80, 60), (200, 60), (350, 60), (80, 150), (200, 150), (350, 150), (80, 260), (200, 260), (350, 260)]


def _picture(height=300, width=400):
    return np.full((height, width, 3), GREY, np.uint8)


def _is(drawn, colour):
    return (drawn == colour).all(axis=-1)


def _disc_centre(drawn, expected, reach=14):
    """The middle of the dark outline near the expected place."""
    x, y = expected
    rows, columns = np.nonzero(_is(drawn[y - reach : y + reach + 1, x - reach : x + reach + 1], star._INK))
    return columns.min() + columns.max(), rows.min() + rows.max()


@pytest.mark.parametrize("stride", [8, 32, 100])
def test_points_lie_at_centre_sides_and_corners_whatever_the_stride(stride):
    np.testing.assert_allclose(star.star_positions(POINT, DISTANCES, stride), TABLE, atol=1e-4)


def test_points_come_from_the_offsets_of_the_layer(monkeypatch):
    moved = np.zeros((9, 2))  # (dy, dx) in cells
    moved[5] = 2, -1
    monkeypatch.setattr(star, "star_offsets", lambda distances: tf.constant(moved.reshape(1, 1, 1, 18), tf.float32))
    expected = np.array([(92, 92), (100, 92), (108, 92), (92, 100), (100, 100), (108, 100)] + [(92, 108)] * 3)
    expected[5] += (-8, 16)
    expected[6:, 0] = 92, 100, 108
    np.testing.assert_allclose(star.star_positions((100, 100), DISTANCES, 8), expected)


def test_discs_and_dots_are_drawn_where_the_points_are():
    drawn = star.draw_star(_picture(), POINT, DISTANCES, stride=24)
    for place in TABLE:
        assert _disc_centre(drawn, place) == (28, 28), place
        assert _is(drawn, star._POINT)[place[1] - 4, place[0] - 3]
    dots = [(x, y) for y in (126, 150, 174) for x in (176, 200, 224) if (x, y) != POINT]
    assert all(_is(drawn, star._KERNEL)[y, x] for x, y in dots)
    assert _is(drawn, star._KERNEL).sum() < 8 * 30


def test_initial_box_is_red_and_refined_box_blue():
    refined = (130, 80, 140, 120)
    bare = star.draw_star(_picture(), POINT, DISTANCES, 16)
    drawn = star.draw_star(_picture(), POINT, DISTANCES, 16, refined)
    assert not _is(bare, star._REFINED).any()
    for picture in (bare, drawn):
        assert _is(picture, star._INITIAL)[100, 80] and _is(picture, star._INITIAL)[60, 140]
        assert _is(picture, star._INITIAL)[200, 349] and _is(picture, star._INITIAL)[259, 300]
    rows, columns = np.nonzero(_is(drawn, star._REFINED))
    assert [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1] == [70, 70, 340, 270]


def test_enlarged_pictures_carry_enlarged_stars():
    drawn = star.draw_star(_picture(150, 200), (100, 75), (60, 45, 75, 55), 12, enlarge=2)
    np.testing.assert_array_equal(drawn, star.draw_star(_picture(), POINT, DISTANCES, 24))


def test_the_given_picture_is_not_changed():
    image = _picture()
    star.draw_star(image, POINT, DISTANCES, 8, DISTANCES)
    assert (image == GREY).all()


def test_stars_are_cut_off_at_the_border():
    drawn = star.draw_star(_picture(), (0, 150), (50, 90, 150, 400), 16, (1e9, 1e9, 1e9, 1e9))
    assert drawn.shape == (300, 400, 3)
    assert _disc_centre(drawn, (150, 60)) == (28, 28)
    assert _is(drawn, star._POINT)[145:156, :2].sum() >= 12, "half a disc at the left border"
    corner = star.draw_star(_picture(), (400, 300), (100, 100, 100, 100), 16)
    assert _is(corner, star._POINT)[296, 397]
    assert (corner[:195, :195] == GREY).all()


@pytest.mark.parametrize("point", [(-500, 100), (100, 900), (1e12, -1e12)])
def test_a_star_outside_the_picture_leaves_it_as_it_is(point):
    np.testing.assert_array_equal(star.draw_star(_picture(), point, (9, 9, 9, 9), 8, (5, 5, 5, 5)), _picture())


def test_points_of_small_boxes_do_not_hide_them():
    assert _disc_centre(star.draw_star(_picture(), POINT, (9, 9, 9, 9), 8), (191, 141), reach=4) == (8, 8)
    drawn = star.draw_star(_picture(), POINT, (9, 9, 9, 9), 8)
    assert _is(drawn, star._INITIAL)[141, 196]


def test_extreme_boxes_and_pictures():
    assert (star.draw_star(_picture(), POINT, (0, 0, 0, 0), 8, (0, 0, 0, 0)) != GREY).any()
    star.draw_star(_picture(), POINT, (1e12, 1e12, 1e12, 1e12), 8)
    assert star.draw_star(_picture(3, 2), (1, 1), (1, 1, 1, 1), 128).shape == (3, 2, 3)


def test_errors_name_what_does_not_fit():
    with pytest.raises(ValueError, match="distances_px must be 4 finite numbers"):
        star.draw_star(_picture(), POINT, (1, 2, 3), 8)
    with pytest.raises(ValueError, match="distances_px must be 4 finite numbers"):
        star.draw_star(_picture(), POINT, (1, 2, 3, np.nan), 8)
    with pytest.raises(ValueError, match="refined_distances_px must be 4 finite numbers"):
        star.draw_star(_picture(), POINT, DISTANCES, 8, [DISTANCES])
    with pytest.raises(ValueError, match="point_px must be 2 finite numbers"):
        star.draw_star(_picture(), (1, np.inf), DISTANCES, 8)
    with pytest.raises(ValueError, match="stride must be positive, got 0"):
        star.draw_star(_picture(), POINT, DISTANCES, 0)
    with pytest.raises(ValueError, match="uint8"):
        star.draw_star(_picture() / 255, POINT, DISTANCES, 8)


def test_the_picture_in_docs_is_what_the_code_draws():
    stored = np.asarray(Image.open(Path(__file__).parents[2] / "docs" / "star.jpg").convert("RGB"), np.float32)
    drawn = star.draw_example()
    assert stored.shape == drawn.shape
    height, width = (side // 4 * 4 for side in drawn.shape[:2])
    cells = (stored - drawn)[:height, :width].reshape(height // 4, 4, width // 4, 4, 3).mean(axis=(1, 3))
    # What JPEG changes in 4 x 4 pixels is 15 grey levels here; points moved by a twentieth of the distances make 89.
    assert np.percentile(np.abs(cells), 99.5) < 40
