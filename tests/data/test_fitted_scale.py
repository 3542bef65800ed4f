"""The scale that is chosen for data sets of known box sizes."""

import numpy as np
import pytest

from gfl_tf.data.coco import CocoDataset, ImageRecord, LoadReport
from gfl_tf.data.fitted_scale import fitted_scale

LIMITS = (256, 1024)


def _dataset(sizes, box_side, count=20):
    """Images of (height, width), each with `count` square boxes."""
    boxes = np.tile(np.float32([0, 0, box_side, box_side]), (count, 1))
    classes, nothing = np.zeros(count, np.int32), np.zeros([0, 4], np.float32)
    records = [
        ImageRecord(i, f"{i}.jpg", *size, boxes, classes, boxes.prod(axis=1), nothing, np.zeros(0, np.int32))
        for i, size in enumerate(sizes)
    ]
    return CocoDataset(records, ("thing",), (1,), LoadReport())


@pytest.mark.parametrize(
    "size, box_side, expected",
    [
        ((480, 640), 40, (320, 256)),  # half size gives boxes of 20 px; 240 is rounded to a multiple of 32
        ((640, 480), 40, (320, 256)),  # upright images
        ((480, 640), 10, (1024, 768)),  # 20 px would need 1280: the upper limit
        ((480, 640), 400, (256, 192)),  # the lower limit
        ((100, 100), 2, (256, 256)),  # enlarged twice at most, but to the lower limit
        ((300, 300), 10, (608, 608)),
        ((20, 2000), 20, (1024, 32)),  # a strip: the short side is at least 32
    ],
)
def test_boxes_get_their_size_within_the_limits(size, box_side, expected):
    assert fitted_scale(_dataset([size] * 3, box_side), LIMITS) == expected


def test_a_few_small_boxes_do_not_decide():
    dataset = _dataset([(480, 640)] * 3, 40, count=100)
    for record in dataset.images:
        record.boxes[:4, 2:] = 3
    assert fitted_scale(dataset, LIMITS) == (320, 256)
    for record in dataset.images:
        record.boxes[:6, 2:] = 20
    assert fitted_scale(dataset, LIMITS) == (640, 480)


def test_images_of_several_sizes():
    """The long side's share of a box counts: 40 of 640 and 80 of 1280 are the same."""
    dataset = _dataset([(480, 640), (960, 1280)], 40)
    dataset.images[1].boxes[:, 2:] = 80
    assert fitted_scale(dataset, LIMITS) == (320, 256)
