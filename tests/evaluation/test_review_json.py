"""Findings as COCO JSON."""

import numpy as np
import pytest

from gfl_tf.data.coco import load_coco
from gfl_tf.evaluation import review_json
from gfl_tf.evaluation.review import Finding

pytestmark = pytest.mark.one_stack

CONTENT = {
    "images": [{"id": n, "file_name": f"{n}.jpg", "height": 100, "width": 200, "tag": n} for n in (3, 5, 8)],
    "annotations": [
        {"id": 11, "image_id": 5, "category_id": 2, "bbox": [0, 0, 0, 5]},  # has no width, and is no box of the record
        {"id": 12, "image_id": 5, "category_id": 2, "bbox": [0, 0, 50, 50], "iscrowd": 1},
        {"id": 13, "image_id": 5, "category_id": 2, "bbox": [1, 2, 30, 40], "colour": "red"},
        {"id": 14, "image_id": 3, "category_id": 1, "bbox": [5, 5, 10, 10]},
        {"id": 15, "image_id": 5, "category_id": 1, "bbox": [9, 9, 10, 10]},
    ],
    "categories": [{"id": 1, "name": "cat"}, {"id": 2, "name": "dog"}],
}


def test_annotations():
    dataset = load_coco(CONTENT, None)
    findings = [
        Finding(1, "edges", 0.9, "left", 1, (9.0, 8.0, 20.0, 30.0), 1),
        Finding(1, "missing", 0.5, "new", None, (50.0, 50.0, 60.0, 70.0), 0),
        Finding(0, "spurious", 0.25, "nothing", 0),
    ]
    result = review_json.of_annotations(CONTENT, dataset, findings)
    assert [image["tag"] for image in result["images"]] == [5, 3] and result["categories"] == CONTENT["categories"]
    assert [each["id"] for each in result["annotations"]] == [15, 16, 14, 11, 12, 13]
    first, new, needless, *others = result["annotations"]
    suggested = {"box": [9.0, 8.0, 11.0, 22.0], "category_id": 2}
    assert first["review"] == {"rank": 1, "kind": "edges", "score": 0.9, "reason": "left", **suggested}
    assert first["bbox"] == [9, 9, 10, 10], "as it was"
    assert (new["image_id"], new["category_id"], new["bbox"], new["area"]) == (5, 1, [50.0, 50.0, 10.0, 20.0], 200.0)
    assert needless["review"]["box"] is None and needless["review"]["category_id"] is None
    assert others == CONTENT["annotations"][:3]
    again = load_coco(result, None)
    np.testing.assert_allclose(again.images[0].boxes[-1], [1, 2, 31, 42])


def test_images():
    content = {**CONTENT, "annotations": []}
    result = review_json.of_images(content, load_coco(content, None), [Finding(2, "none", 0.0, "nothing is found")])
    assert [image["id"] for image in result["images"]] == [8] and result["images"][0]["review"]["kind"] == "none"
    assert load_coco(result, None).num_boxes == 0
