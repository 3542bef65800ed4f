"""F1 of single images, worked out by hand."""

import numpy as np
import pytest

from gfl_tf.data.coco import CocoDataset, ImageRecord, LoadReport
from gfl_tf.training import worst_images

BOX, OTHER, CROWD = (10, 10, 50, 50), (60, 10, 100, 50), (0, 60, 100, 100)


def _record(image_id=1, boxes=(BOX, OTHER), classes=(0, 1), crowd=()):
    def array(values):
        return np.float32(values).reshape(-1, 4)

    areas, crowd_classes = np.ones(len(boxes), np.float32), np.zeros(len(crowd), np.int32)
    return ImageRecord(
        image_id, f"/{image_id}.jpg", 100, 100, array(boxes), np.int32(classes), areas, array(crowd), crowd_classes
    )


def _detection(box, label=0, score=0.9, image_id=1):
    x1, y1, x2, y2 = box
    return {"image_id": image_id, "category_id": 10 + label, "bbox": [x1, y1, x2 - x1, y2 - y1], "score": score}


def _find(records, detections, **arguments):
    return worst_images.find(CocoDataset(records, ("cat", "dog"), (10, 11), LoadReport()), detections, **arguments)


@pytest.mark.parametrize(
    "detections, missed, false",
    [
        ([], 2, 0),
        ([_detection(BOX)], 1, 0),
        ([_detection(BOX), _detection(BOX, score=0.8)], 1, 1),  # found twice
        ([_detection(BOX, label=1)], 2, 1),  # another class
        ([_detection(BOX, score=0.29)], 2, 0),  # not sure enough
        ([_detection((10, 10, 50, 29))], 2, 1),  # IoU 0.475
        ([_detection((10, 10, 50, 31))], 1, 0),  # IoU 0.525
        ([_detection((10, 10, 50, 31), score=0.5), _detection(BOX)], 1, 1),  # the surer one takes the object
        ([_detection((10, 70, 20, 80))], 2, 0),  # in the crowd
        ([_detection((10, 70, 20, 80), label=1)], 2, 1),  # a crowd of others
    ],
)
def test_one_image(detections, missed, false):
    right = 2 - missed
    f1 = 2 * right / (2 * right + false + missed)
    found = _find([_record(crowd=(CROWD,))], detections)
    assert found == [{"file": "/1.jpg", "objects": 2, "missed": missed, "false": false, "f1": pytest.approx(f1)}]


def test_the_worst_first():
    records = [_record(1), _record(2), _record(3, (), ()), _record(4), _record(5, (BOX,), (0,))]
    detections = [_detection(BOX, image_id=1), _detection(BOX, image_id=3)]
    detections += [_detection(BOX, image_id=4), _detection(OTHER, label=1, image_id=4)]
    assert [image["file"] for image in _find(records, detections)] == ["/2.jpg", "/5.jpg", "/3.jpg", "/1.jpg"]
    assert [image["file"] for image in _find(records, detections, count=1)] == ["/2.jpg"]


def test_an_image_without_objects_and_detections_is_right():
    assert _find([_record(1, (), ())], []) == []
