"""Agreement of hand-made detections, against numbers worked out by hand."""

import json
import math

import numpy as np
import pytest
from PIL import Image

from gfl_tf.serving import agreement, runners


def found(*rows):
    """Detections of rows (x1, y1, x2, y2, score, class)."""
    table = np.asarray(rows, np.float32).reshape(-1, 6)
    return {"boxes": table[:, :4], "confidence": table[:, 4], "classes": table[:, 5].astype(np.int32)}


REFERENCE = found(
    (10, 10, 50, 50, 0.9, 0),
    (60, 60, 80, 80, 0.8, 0),
    (20, 20, 90, 90, 0.6, 1),
    (0, 0, 90, 90, 0.2, 1),  # below the threshold of 0.3
)
CANDIDATE = found(
    (11, 10, 51, 50, 0.88, 0),  # IoU 39 * 40 / (2 * 40 * 40 - 39 * 40) = 0.951
    (62, 60, 82, 80, 0.85, 0),  # IoU 18 * 20 / (2 * 20 * 20 - 18 * 20) = 0.818
    (0, 0, 90, 90, 0.2, 1),  # IoU 0.6 with the reference's of 0.6
)
# Class 0: at the 7 thresholds to 0.8 both are right. At 0.85, 0.9 and 0.95 the first alone is: precision 1 to recall
# 0.5, which is 51 of the 101 points. Class 1: right at 0.5, 0.55 and 0.6 (70 * 70 / 8100 = 0.605).
AP = np.mean([(7 + 3 * 51 / 101) / 10, 3 / 10])


def test_numbers_worked_out_by_hand():
    result = agreement.measure([REFERENCE], [CANDIDATE], [(100, 100)])
    assert (result.num_images, result.num_reference) == (1, 3)
    np.testing.assert_allclose([result.ap, result.ap50, result.ap75], [AP, 1, 0.5], rtol=1e-9)
    assert result.found == 1 / 3
    np.testing.assert_allclose([result.mean_score, result.max_score], 0.02, rtol=1e-5)
    assert (result.mean_box_px, result.max_box_px) == (1, 1)
    assert result.reference_truth_ap is None and result.candidate_truth_ap is None


def test_a_model_agrees_with_itself():
    results = [REFERENCE, found(), CANDIDATE]
    result = agreement.measure(results, results, [(100, 100)] * 3)
    assert (result.ap, result.ap50, result.ap75, result.found) == pytest.approx((1, 1, 1, 1))
    assert (result.max_score, result.max_box_px) == (0, 0)
    assert (result.num_images, result.num_reference) == (3, 5)


def test_mean_and_largest_difference():
    candidate = found((10, 10.5, 50, 50, 0.8, 0), (60, 60, 80, 80.25, 0.825, 0), (20, 20, 90, 90, 0.6, 1))
    result = agreement.measure([REFERENCE], [candidate], [(100, 100)])
    assert result.found == 1
    np.testing.assert_allclose([result.mean_score, result.max_score], [0.125 / 3, 0.1], rtol=1e-5)
    np.testing.assert_allclose([result.mean_box_px, result.max_box_px], [0.25, 0.5])


@pytest.mark.parametrize(
    ["candidate", "ap50"],
    [
        # A wrong one of the highest score halves the precision of one right one; three right ones of four.
        (found((10, 10, 50, 50, 0.5, 0), (60, 10, 90, 30, 0.9, 0)), 0.5),
        # One of another class is not the same thing, however well its box fits.
        (found((10, 10, 50, 50, 0.9, 1)), 0.0),
        # Outside the image there is nothing to be right or wrong about.
        (found((10, 10, 50, 50, 0.9, 0), (100, 10, 120, 20, 0.99, 0)), 1.0),
    ],
)
def test_wrong_detections(candidate, ap50):
    reference = found((10, 10, 50, 50, 0.9, 0))
    result = agreement.measure([reference], [candidate], [(100, 100)])
    assert result.ap50 == pytest.approx(ap50)


def test_counterparts_are_one_to_one():
    expected = found((0, 0, 100, 100, 0.9, 0), (0, 0, 100, 99, 0.8, 0), (0, 0, 100, 98, 0.7, 1))
    only = found((0, 0, 100, 99.2, 0.9, 0))
    assert agreement.counterparts(expected, only) == [(1, 0)]
    # The one that fits a pair's rest second best gets it, and the third is of a class of its own.
    both = found((0, 0, 100, 99.2, 0.9, 0), (0, 0, 100, 98.9, 0.5, 0), (0, 0, 100, 98, 0.4, 2))
    assert sorted(agreement.counterparts(expected, both)) == [(0, 0), (1, 1)]
    assert agreement.counterparts(expected, found()) == agreement.counterparts(found(), expected) == []


def test_nothing_in_common():
    result = agreement.measure([REFERENCE], [found()], [(100, 100)])
    assert (result.ap, result.found) == (0, 0)
    assert math.isnan(result.max_score) and math.isnan(result.max_box_px)
    with pytest.raises(ValueError, match="finds nothing with a score above 0.95 in 1 images"):
        agreement.measure([REFERENCE], [REFERENCE], [(100, 100)], score_threshold=0.95)


def test_boxes_without_area_are_no_ground_truth():
    reference = found((10, 10, 50, 50, 0.9, 0), (30, 30, 30, 60, 0.8, 0))
    result = agreement.measure([reference], [reference], [(100, 100)])
    assert (result.num_reference, result.ap, result.found) == (1, pytest.approx(1), 1)


@pytest.fixture
def pictures(tmp_path):
    """A folder of two pictures of 100 x 120, grey 0 and 1, and the COCO file of them and a third."""
    folder = tmp_path / "pictures"
    folder.mkdir()
    for number in range(2):
        Image.fromarray(np.full([100, 120, 3], number, np.uint8)).save(folder / f"{number}.png")
    images = [{"id": 7 + i, "file_name": f"somewhere/{i}.png", "height": 100, "width": 120} for i in range(3)]
    boxes = [(7, 5, [10, 10, 40, 40]), (8, 9, [20, 20, 70, 70]), (9, 9, [20, 20, 70, 70])]
    annotations = [
        {"id": i, "image_id": image, "category_id": category, "bbox": bbox, "area": bbox[2] * bbox[3], "iscrowd": 0}
        for i, (image, category, bbox) in enumerate(boxes)
    ]
    categories = [{"id": 5, "name": "a"}, {"id": 9, "name": "b"}]
    content = {"images": images, "annotations": annotations, "categories": categories}
    (tmp_path / "truth.json").write_text(json.dumps(content))
    return tmp_path


@pytest.fixture
def exports(monkeypatch):
    """Exports "good", which is right on the two pictures, and "half", which finds what is in the first alone."""
    first, second = found((10, 10, 50, 50, 0.9, 0)), found((20, 20, 90, 90, 0.6, 1))
    answers = {"good": [first, second], "half": [first, found()]}
    monkeypatch.setattr(runners, "load", lambda path: lambda image: answers[path][image[0, 0, 0]])
    monkeypatch.setattr(runners, "model_file", lambda path: None)


def test_annotations_without_boxes_on_the_images(pictures, exports):
    content = json.loads((pictures / "truth.json").read_text())
    content["annotations"] = content["annotations"][2:]
    (pictures / "truth.json").write_text(json.dumps(content))
    with pytest.raises(ValueError, match="truth.json has no box on these images"):
        agreement.compare_exports("good", ["half"], [pictures / "pictures"], pictures / "truth.json")


def test_exports_with_annotations(pictures, exports):
    results = agreement.compare_exports("good", ["good", "half"], [pictures / "pictures"], pictures / "truth.json")
    assert list(results) == ["good", "half"]
    good, half = results.values()
    assert (good.ap, good.found, good.reference_truth_ap, good.candidate_truth_ap) == pytest.approx((1, 1, 1, 1))
    assert (half.ap, half.found, half.reference_truth_ap, half.candidate_truth_ap) == pytest.approx((0.5, 0.5, 1, 0.5))
    lines = agreement.table(results).splitlines()
    assert lines[0] == "2 images, 2 detections of the reference."
    cells = [[cell.strip() for cell in line.split("|")[1:-1]] for line in lines[2:6]]
    differences = ["score mean", "score max", "box mean", "box max"]
    assert cells[0] == ["candidate", "AP", "AP50", "AP75", "found", *differences, "true AP", "change"]
    assert cells[3] == ["half", "50.0", "50.0", "50.0", "50.0", "0.0000", "0.0000", "0.00", "0.00", "50.00", "-50.00"]
    assert len({len(line) for line in lines[2:6]}) == 1


def test_exports_without_annotations(pictures, exports):
    results = agreement.compare_exports("half", ["good"], [pictures / "pictures" / "0.png"])
    assert results["good"].candidate_truth_ap is None
    assert "true AP" not in agreement.table(results)


def test_images_must_be_those_of_the_annotations(pictures, exports):
    def compare():
        agreement.compare_exports("good", ["half"], [pictures / "pictures"], pictures / "truth.json")

    content = json.loads((pictures / "truth.json").read_text())
    content["images"][1]["width"] = 90
    (pictures / "truth.json").write_text(json.dumps(content))
    with pytest.raises(ValueError, match="1.png is 100 x 120 .* of another size in"):
        compare()
    (pictures / "pictures" / "0.png").rename(pictures / "pictures" / "new.png")
    with pytest.raises(ValueError, match="truth.json has no image .*new.png"):
        compare()
    (pictures / "pictures" / "new.png").write_bytes(b"not an image")
    with pytest.raises(ValueError, match="new.png is no JPEG, PNG"):
        agreement.compare_exports("good", ["half"], [pictures / "pictures"])


def test_images_of_the_same_name(pictures, exports):
    (pictures / "more").mkdir()
    (pictures / "more" / "1.png").write_bytes((pictures / "pictures" / "1.png").read_bytes())
    folders = [pictures / "pictures", pictures / "more"]
    assert agreement.compare_exports("good", ["half"], folders)["half"].num_images == 3
    with pytest.raises(ValueError, match="several of the name 1.png"):
        agreement.compare_exports("good", ["half"], folders, pictures / "truth.json")

    content = json.loads((pictures / "truth.json").read_text())
    content["images"][0]["file_name"] = "elsewhere/1.png"
    (pictures / "truth.json").write_text(json.dumps(content))
    with pytest.raises(ValueError, match="several of the name 1.png"):
        agreement.compare_exports("good", ["half"], [pictures / "pictures" / "1.png"], pictures / "truth.json")


def test_classes_are_those_of_the_exports(pictures, exports, monkeypatch):
    monkeypatch.chdir(pictures)

    def name_classes(export, names):
        (pictures / export / "assets.extra").mkdir(parents=True, exist_ok=True)
        (pictures / export / "assets.extra" / "class_names.json").write_text(json.dumps(names))

    def compare():
        return agreement.compare_exports("good", ["half"], ["pictures"], "truth.json")["half"]

    name_classes("good", ["b", "a"])  # class 0 is "b" now, and what was right is wrong
    assert compare().reference_truth_ap == 0
    name_classes("good", ["a", "b"])
    assert compare().reference_truth_ap == pytest.approx(1)
    name_classes("half", ["a", "c"])
    with pytest.raises(ValueError, match="half has the classes a, c, good has a, b"):
        compare()
