import numpy as np
import pytest
from PIL import Image

from gfl_tf.visualization import detections

pytestmark = pytest.mark.one_stack

GREY = 128


def _picture(height=200, width=300):
    return np.full((height, width, 3), GREY, np.uint8)


def _changed(drawn):
    return (drawn != GREY).any(axis=-1)


def _draw(boxes, stddev=None, image=None, classes=None, scores=None, names=("cat", "dog", "bird"), **options):
    count = len(boxes)
    classes = [0] * count if classes is None else classes
    scores = np.linspace(0.9, 0.5, count) if scores is None else scores
    found = {"boxes": boxes, "classes": classes, "confidence": scores, "edge_stddev": stddev}
    return detections.draw_detections(_picture() if image is None else image, found, names, **options)


def test_nothing_to_draw_leaves_the_picture_as_it_is():
    image = np.random.default_rng(0).integers(0, 256, (60, 80, 3), np.uint8)
    empty = np.zeros((0, 4))
    for boxes in (empty, []):
        np.testing.assert_array_equal(_draw(boxes, image=image), image)
    np.testing.assert_array_equal(_draw(empty, empty, image=image), image)
    padding = _draw([[5, 5, 30, 30]], image=image, classes=[-1], scores=[-1.0], names=["cat"])
    np.testing.assert_array_equal(padding, image)


def test_the_given_picture_is_not_changed():
    image = _picture()
    _draw([[50, 60, 150, 160]], [[3, 3, 3, 3]], image)
    assert (image == GREY).all()


def test_the_box_is_drawn_on_its_edges_in_the_colour_of_its_class():
    drawn = _draw([[50, 60, 150, 160]], classes=[1])
    colour = detections.class_colour(1)
    for y, x in ((60, 100), (159, 100), (100, 50), (100, 149), (60, 50), (159, 149)):
        assert tuple(drawn[y, x]) == colour
    assert not _changed(drawn)[62:157, 52:147].any()
    assert not _changed(drawn)[162:].any()


def test_the_band_reaches_one_standard_deviation_to_both_sides_of_each_edge():
    left, top, right, bottom = 4, 7, 10, 13
    bare, banded = _draw([[50, 60, 150, 160]]), _draw([[50, 60, 150, 160]], [[left, top, right, bottom]])
    band = (bare != banded).any(axis=-1)
    band |= _changed(bare)  # the line and the label lie on the band
    row, column = np.flatnonzero(band[100]), np.flatnonzero(band[:, 130])
    assert [row.min(), row.max() + 1] == [50 - left, 150 + right]
    assert [column.min(), column.max() + 1] == [60 - top, 160 + bottom]
    inner_row, inner_column = np.flatnonzero(~band[100, 50:150]), np.flatnonzero(~band[60:160, 130])
    assert [inner_row.min(), inner_row.max() + 1] == [left, 100 - right]
    assert [inner_column.min(), inner_column.max() + 1] == [top, 100 - bottom]


def test_the_band_is_translucent():
    image = np.random.default_rng(0).integers(0, 256, (200, 300, 3), np.uint8)
    drawn = _draw([[50, 60, 150, 160]], [[10, 10, 10, 10]], image)
    below, band = image[80:140, 53:58].astype(int).ravel(), drawn[80:140, 53:58].astype(int).ravel()
    assert (below != band).mean() > 0.9
    assert np.corrcoef(below, band)[0, 1] > 0.5


@pytest.mark.parametrize("stddev", [[0, 0, 0, 0], [500, 500, 500, 500], [80, 0, 80, 0]])
def test_extreme_standard_deviations(stddev):
    drawn = _draw([[50, 60, 150, 160]], [stddev])
    assert drawn.shape == (200, 300, 3)
    assert _changed(drawn)[100, 100] == (stddev[0] > 50)


@pytest.mark.parametrize(
    "box",
    [
        [0, 0, 40, 30],
        [270, 0, 300, 20],
        [0, 180, 30, 200],
        [250, 170, 300, 200],
        [0, 0, 300, 200],
        [-50, -50, 400, 300],
    ],
)
def test_labels_stay_inside_the_picture(box):
    height, width = 200, 300
    colour = detections.class_colour(0)
    drawn = _draw([box], names=["a fairly long name"])
    face = detections.font(10)
    label = (drawn == colour).all(axis=-1)
    # Rows of the label are filled over its whole width but for the letters: the text is complete only
    # if a filled block of the text's size lies in the picture.
    text_width, text_height = int(face.getlength("a fairly long name 0.90")), sum(face.getmetrics())
    block = [
        (y, x)
        for y in range(height - text_height + 1)
        for x in range(width - text_width + 1)
        if label[y, x : x + text_width].all()
    ]
    assert block, "no full row of a label was found"
    assert drawn.shape == (height, width, 3)


def test_a_name_wider_than_the_picture_is_shortened():
    drawn = _draw([[5, 20, 30, 40]], image=_picture(60, 50), names=["a name that never fits into fifty pixels"])
    assert drawn.shape == (60, 50, 3) and _changed(drawn).any()
    _draw([[0, 0, 3, 3]], image=_picture(4, 4))


def test_labels_of_neighbours_do_not_hide_each_other():
    one = _draw([[100, 80, 160, 120]], scores=[0.9])
    both = _draw([[100, 80, 160, 120], [102, 82, 162, 122]], scores=[0.9, 0.8])
    label = np.s_[67:78, 101:130]  # above the surer box: as it is without the other
    assert _changed(one)[label].mean() > 0.9
    np.testing.assert_array_equal(one[label], both[label])


def test_the_surest_detection_lies_on_top_whatever_the_order():
    boxes = [[50, 60, 150, 160], [50, 60, 150, 160]]
    for classes, scores in (((0, 1), (0.9, 0.3)), ((1, 0), (0.3, 0.9))):
        drawn = _draw(boxes, classes=classes, scores=scores)
        assert tuple(drawn[110, 50]) == detections.class_colour(0)


def test_boxes_outside_or_not_finite_are_left_out():
    drawn = _draw([[400, 10, 500, 50], [np.nan, 0, 10, 10], [-50, -50, -10, -10]])
    assert not _changed(drawn).any()


def test_a_single_class_and_integer_or_float_indices():
    first = _draw([[50, 60, 150, 160]], classes=np.array([0], np.int64), names=["cell"])
    second = _draw([[50, 60, 150, 160]], classes=np.array([0.0], np.float32), names=["cell"])
    np.testing.assert_array_equal(first, second)


def test_enlarged_pictures_carry_enlarged_boxes_and_bands():
    drawn = _draw([[20, 30, 60, 70]], [[2, 2, 2, 2]], image=_picture(100, 90), enlarge=2.5)
    assert drawn.shape == (250, 225, 3)
    row = np.flatnonzero(_changed(drawn)[120])
    assert [row.min(), row.max() + 1] == [45, 155]


def test_ground_truth_has_names_without_scores():
    image, boxes = _picture(), [[50, 60, 150, 160]]
    truth = detections.draw_ground_truth(image, boxes, [2], ["cat", "dog", "bird"])
    assert tuple(truth[110, 50]) == detections.class_colour(2)
    scored = _draw(boxes, image=image, classes=[2], scores=[0.5])
    assert _changed(truth)[:60].sum() < _changed(scored)[:60].sum()


def test_colours_are_stable_and_differ_between_classes():
    colours = np.array([detections.class_colour(i) for i in range(80)], int)
    assert len({tuple(colour) for colour in colours}) == 80
    gaps = np.abs(colours[:8, None] - colours[None, :8]).sum(axis=-1) + 999 * np.eye(8, dtype=int)
    assert gaps.min() > 60
    assert detections.class_colour(3) == detections.class_colour(np.int64(3))


def test_errors_name_what_does_not_fit():
    with pytest.raises(ValueError, match=r"class 3 has no name: class_names holds 3"):
        _draw([[0, 0, 9, 9]], classes=[3])
    with pytest.raises(ValueError, match=r"edge_stddev must be \[1, 4\]"):
        _draw([[0, 0, 9, 9]], [1, 2, 3, 4])
    with pytest.raises(ValueError, match=r"confidence must be \[2\]"):
        _draw([[0, 0, 9, 9]] * 2, scores=[0.5])
    with pytest.raises(ValueError, match=r"boxes must be \[n, 4\]"):
        _draw([[0, 0, 9]])
    with pytest.raises(ValueError, match="uint8"):
        _draw([[0, 0, 9, 9]], image=np.zeros((20, 20, 3), np.float32))


def test_grid_places_pictures_of_different_sizes():
    sizes = ((10, 20), (20, 10), (20, 20))
    images = [np.full((*size, 3), value, np.uint8) for size, value in zip(sizes, (10, 20, 30))]
    sheet = detections.grid(images, columns=2, gap=2, background=(255, 0, 0))
    assert sheet.shape == (42, 42, 3)
    np.testing.assert_array_equal(sheet[5:15, :20], 10)
    np.testing.assert_array_equal(sheet[:20, 27:37], 20)
    np.testing.assert_array_equal(sheet[22:, :20], 30)
    np.testing.assert_array_equal(sheet[22:, 22:], np.broadcast_to((255, 0, 0), (20, 20, 3)))
    assert detections.grid(images, columns=9).shape == (20, 68, 3)
    with pytest.raises(ValueError, match="grid needs pictures"):
        detections.grid([], 3)


def test_pictures_survive_a_file(tmp_path):
    drawn = _draw([[50, 60, 150, 160]], [[3, 3, 3, 3]])
    Image.fromarray(drawn).save(tmp_path / "a.png")
    np.testing.assert_array_equal(np.asarray(Image.open(tmp_path / "a.png")), drawn)
