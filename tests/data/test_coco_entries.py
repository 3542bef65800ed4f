"""The fields of COCO entries: what is taken, what is refused by name; the encodings of a file."""

import json
import math

import numpy as np
import pytest

from gfl_tf.data import coco_entries
from gfl_tf.data.coco import load_coco

NAN, INFINITY = math.nan, math.inf
GOOD = {
    "images": {"id": 7, "file_name": "a.jpg", "height": 40, "width": 60},
    "categories": {"id": 3, "name": "cat"},
    "annotations": {"id": 5, "image_id": 7, "category_id": 3, "bbox": [1, 2, 3, 4]},
}


def content_with(kind, **changes):
    return {key: [{**entry, **changes} if key == kind else entry] for key, entry in GOOD.items()}


def written_and_read(content, path):
    """As JSON has it, NaN and Infinity among it."""
    path.write_text(json.dumps(content))
    return load_coco(path, images_dir=None)


@pytest.mark.parametrize("value, is_crowd", [(0, 0), (1, 1), ("0", 0), ("1", 1), (False, 0), (True, 1), (None, 0)])
def test_iscrowd(value, is_crowd):
    record = load_coco(content_with("annotations", iscrowd=value), None).images[0]
    assert (len(record.boxes), len(record.crowd_boxes)) == (1 - is_crowd, is_crowd)


@pytest.mark.parametrize("value", ["False", "true", "", "2", 2, -1, 0.5, NAN, [], [1], {}])
def test_iscrowd_that_is_neither(value, tmp_path):
    with pytest.raises(ValueError, match="x.json: annotation 5 has iscrowd .*; it must be 0 or 1"):
        written_and_read(content_with("annotations", iscrowd=value), tmp_path / "x.json")


@pytest.mark.parametrize(
    "kind, field, values",
    [
        ("image", "file_name", [12, None, "", [], "a\0b", "\ud800.jpg"]),
        ("image", "height", [0, -3, 1.5, "40", True, None, NAN, INFINITY, 2**40, 10**400, [40]]),
        ("image", "width", ["60", NAN, -INFINITY, False]),
        ("category", "name", [None, "", True, NAN, ["cat"], {}]),
        ("annotation", "bbox", [["1", "2", "3", "4"], [True, 0, 5, 5], [1, 2, 3], [1, 2, None, 4], "1234", None, {}]),
        ("annotation", "image_id", [[7], {}, None, True, NAN]),
        ("annotation", "category_id", [[3], None, False, INFINITY]),
    ],
)
def test_a_wrong_value_is_refused_with_its_entry_and_field(kind, field, values, tmp_path):
    entry_id = {"image": "7", "category": "3", "annotation": "5"}[kind]
    plural = "categories" if kind == "category" else f"{kind}s"
    for value in values:
        with pytest.raises(ValueError, match=rf"x.json: {kind} {entry_id}( \(a.jpg\))? has {field} .*; it must be "):
            written_and_read(content_with(plural, **{field: value}), tmp_path / "x.json")


@pytest.mark.parametrize("kind", ["image", "category", "annotation"])
@pytest.mark.parametrize("value", [None, [], True, NAN, 10**400])
def test_a_wrong_id_is_refused_with_its_place(kind, value):
    plural = "categories" if kind == "category" else f"{kind}s"
    with pytest.raises(ValueError, match=f"the annotations: {kind} number 0 of the list has id .*; it must be "):
        load_coco(content_with(plural, id=value), None)


@pytest.mark.parametrize("entry", [None, 3, "text", ["id"]])
def test_an_entry_that_is_no_object(entry):
    with pytest.raises(ValueError, match="image number 0 of the list has no 'id'"):
        load_coco({**content_with("images"), "images": [entry]}, None)


@pytest.mark.parametrize("same", [(7, 7), (7, 7.0), ("a", "a")])
def test_ids_are_unique(same):
    images = [{**GOOD["images"], "id": image_id} for image_id in same]
    with pytest.raises(ValueError, match=f"image id {same[1]!r} occurs twice"):
        coco_entries.checked(images, coco_entries.IMAGE, "image", "x.json")


def test_whole_sizes_may_be_floats():
    record = load_coco(content_with("images", height=40.0), None).images[0]
    assert record.height == 40 and isinstance(record.height, int)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-32"])
def test_encodings(encoding, tmp_path):
    text = json.dumps(content_with("categories", name="Schlüssel"), ensure_ascii=False)
    (tmp_path / "x.json").write_bytes(text.encode(encoding))
    assert load_coco(tmp_path / "x.json", None).class_names == ("Schlüssel",)


@pytest.mark.parametrize("text", [b"", b'{"images": "\xfc"}', b"[" * 100_000, b"9" * 5000, b"\xff\xfe{"])
def test_files_that_are_no_json(text, tmp_path):
    (tmp_path / "x.json").write_bytes(text)
    with pytest.raises(ValueError, match="x.json (is not valid JSON|holds a int)"):
        load_coco(tmp_path / "x.json", None)


@pytest.mark.parametrize("area", [5, 5.5, 1e9])
def test_areas_are_taken(area, caplog):
    dataset = load_coco(content_with("annotations", area=area), None)
    assert dataset.images[0].areas == [np.float32(area)] and "area" not in caplog.text


@pytest.mark.parametrize("area", ["", "12", [], [3], {}, True, 0, -1, NAN, INFINITY, 1e11, 10**400])
def test_an_area_that_is_none_is_that_of_the_box(area, tmp_path, caplog):
    content = content_with("annotations", area=area)
    content["annotations"].append({**GOOD["annotations"], "id": 6, "area": area})
    dataset = written_and_read(content, tmp_path / "x.json")
    np.testing.assert_array_equal(dataset.images[0].areas, [12, 12])
    assert len(caplog.records) == 1
    assert "x.json: 2 annotations have an area that is no number above 0" in caplog.text
    assert "The first is 5." in caplog.text


def test_no_area_is_no_fault(caplog):
    for content in (content_with("annotations"), content_with("annotations", area=None)):
        assert load_coco(content, None).images[0].areas == [12] and not caplog.records


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("bbox", [[10**400, 0, 5, 5], [1e308, 0, 1e308, 5], [0, 0, 10**400, 5], [-INFINITY, 0, 5, 5]])
def test_numbers_too_large_are_degenerate(bbox, tmp_path):
    assert written_and_read(content_with("annotations", bbox=bbox), tmp_path / "x.json").report.boxes <= 1


@pytest.mark.filterwarnings("error")
def test_a_box_of_large_numbers_that_meets_the_image():
    record = load_coco(content_with("annotations", bbox=[-1e308, 10, 1.5e308, 1e308]), None).images[0]
    np.testing.assert_array_equal(record.boxes, [[0, 10, 60, 40]])
