"""ATSS against the reference: the box of every point."""

import numpy as np
import pytest

from gfl_tf.assigners.atss import ATSSAssigner
from gfl_tf.ops.grid import GridSpec

CASES = ("img0", "img1", "img1_empty", "img1_odd_shape_250x280", "hard60", "large1088")


@pytest.fixture(scope="module")
def reference(shared):
    return dict(np.load(shared / "reference" / "atss.npz"))


def assigned_boxes(boxes, is_box, image_shape, canvas_shape):
    """[B, P]: the box of every point or -1. Each positive point must stand there once."""
    grid = GridSpec().on(canvas_shape, image_shape)
    assignment = ATSSAssigner()(boxes, np.where(is_box, 0, -1), grid)
    result = np.full((len(boxes), grid.size), -1)
    for image, (point, box, is_positive, _) in enumerate(zip(*(t.numpy() for t in assignment))):
        assert len(set(point[is_positive])) == is_positive.sum()
        result[image, point[is_positive]] = box[is_positive]
    return result


@pytest.mark.parametrize("case", CASES)
def test_every_point(reference, case):
    boxes = reference[f"{case}/gt"]
    padded = np.full((1, 64, 4), -1, np.float32)
    padded[0, : len(boxes)] = boxes
    is_box = np.arange(64)[np.newaxis] < len(boxes)
    result = assigned_boxes(
        padded, is_box, reference[f"{case}/img_shape"][np.newaxis], reference[f"{case}/image_hw_batch"]
    )
    np.testing.assert_array_equal(result[0], reference[f"{case}/assigned_gt"])


def test_images_of_a_batch_do_not_mix(reference):
    """Both images in one batch, boxes in the last slots: the same as alone."""
    boxes = np.full((2, 8, 4), -1, np.float32)
    is_box = np.zeros((2, 8), bool)
    shapes = []
    for image, case in enumerate(("img0", "img1_odd_shape_250x280")):
        gt = reference[f"{case}/gt"]
        boxes[image, 8 - len(gt) :], is_box[image, 8 - len(gt) :] = gt, True
        shapes.append(reference[f"{case}/img_shape"])
    result = assigned_boxes(boxes, is_box, np.stack(shapes), [256, 320])
    for image, case in enumerate(("img0", "img1_odd_shape_250x280")):
        expected = reference[f"{case}/assigned_gt"]
        first_slot = 8 - len(reference[f"{case}/gt"])
        np.testing.assert_array_equal(result[image], np.where(expected >= 0, expected + first_slot, -1))
