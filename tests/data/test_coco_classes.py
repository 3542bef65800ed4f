"""Which categories are classes: order, classes that a file lacks, root categories."""

import pytest

from gfl_tf.data import coco_classes


def choose(rows, used=(), class_names=None):
    """`rows` of (id, name) or (id, name, supercategory)."""
    fields = ("id", "name", "supercategory")
    categories = {row[0]: dict(zip(fields, row)) for row in rows}
    return coco_classes.choose(categories, set(used), class_names, "x.json")


@pytest.mark.parametrize(
    "ids, expected",
    [([90, 3, -1], (-1, 3, 90)), ([2.5, 1, 10**20], (1, 2.5, 10**20)), (["b", "10", "a"], ("b", "10", "a"))],
)
def test_order(ids, expected):
    names, found = choose([(key, f"name {key}") for key in ids])
    assert found == expected and names == tuple(f"name {key}" for key in expected)


def test_a_number_is_a_name():
    assert choose([(1, 5), (2, "cat")], class_names=["cat", "5"]) == (("cat", "5"), (2, 1))


def test_a_class_that_the_file_lacks_has_no_id():
    assert choose([(1, "cat")], class_names=["cat", "dog"]) == (("cat", "dog"), (1, None))


@pytest.mark.parametrize(
    "rows, class_names, words",
    [
        ([(1, "cat"), (2, "dog")], ["Cat", "horse"], "class_names has Cat, horse, none of which .* x.json.*cat, dog"),
        ([(1, "cat")], ["cat", "cat"], "names a class twice"),
        ([(1, "cat"), (2, "cat")], None, "categories 1 and 2 are both named 'cat'"),
        ([(1, "cat", "cat"), (2, "cat", "none")], None, "categories 1 and 2"),
        ([], None, "no categories"),
    ],
)
def test_refused(rows, class_names, words):
    with pytest.raises(ValueError, match=words):
        choose(rows, {1, 2}, class_names)


ROBOFLOW = [(0, "cells", "none"), (1, "RBC", "cells"), (2, "WBC", "cells")]
SAME_NAME = [(0, "helmet", "none"), (1, "helmet", "helmet")]


@pytest.mark.parametrize(
    "rows, used, expected",
    [(ROBOFLOW, {1}, (1, 2)), (ROBOFLOW, (), (1, 2)), (SAME_NAME, {1}, (1,)), (SAME_NAME, (), (1,))],
)
def test_an_unused_root_is_no_class(rows, used, expected, caplog):
    assert choose(rows, used)[1] == expected
    assert len(caplog.records) == 1 and f"'{rows[0][1]}' (id 0)" in caplog.text


@pytest.mark.parametrize(
    "rows, used",
    [
        (ROBOFLOW, {0, 1}),
        ([(1, "person", "person"), (2, "car", "vehicle")], ()),  # COCO's own: nobody else's supercategory
        ([(1, "a", None), (2, "b", ["a"]), (3, "c", 1)], ()),
    ],
)
def test_what_is_no_unused_root_is_a_class(rows, used, caplog):
    assert choose(rows, used)[1] == tuple(row[0] for row in rows) and not caplog.records


def test_class_names_may_have_the_root(caplog):
    assert choose(ROBOFLOW, {1}, ["cells", "RBC"]) == (("cells", "RBC"), (0, 1))
    assert choose(SAME_NAME, {1}, ["helmet"]) == (("helmet",), (1,))
    assert not caplog.records
