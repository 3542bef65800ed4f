"""The picture of the first batch."""

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from gfl_tf.data.pipeline import convert_xyxy
from gfl_tf.training import first_batch
from gfl_tf.visualization import detections as drawing

BOXES = np.float32([[[100, 60, 300, 200], [-1, -1, -1, -1]]])


def _batch(count, bounding_box_format="xyxy"):
    images = tf.fill([count, 320, 640, 3], 127.6)
    boxes = tf.repeat(convert_xyxy(tf.constant(BOXES), bounding_box_format, (320, 640)), count, axis=0)
    return images, {"boxes": boxes, "classes": tf.repeat([[1.0, -1.0]], count, axis=0)}


@pytest.mark.parametrize("bounding_box_format", ["xyxy", "xywh", "rel_yxyx", "center_xywh"])
def test_boxes_and_names_are_drawn(bounding_box_format):
    drawn = first_batch.draw(_batch(1, bounding_box_format), bounding_box_format, ("cat", "dog"))
    grey = np.full((320, 640, 3), 128, np.uint8)
    np.testing.assert_array_equal(drawn, drawing.draw_ground_truth(grey, BOXES[0, :1], [1], ("cat", "dog")))
    assert tuple(drawn[100, 100]) == drawing.class_colour(1)


@pytest.mark.parametrize("count, rows, columns", [(1, 1, 1), (3, 1, 3), (5, 2, 4), (12, 2, 4)])
def test_at_most_eight_images(count, rows, columns):
    drawn = first_batch.draw(_batch(count), "xyxy", ("cat", "dog"))
    assert drawn.shape == (rows * 324 - 4, columns * 644 - 4, 3)


def test_file(tmp_path):
    first_batch.write(tmp_path / "first_batch.jpg", np.full((20, 30, 3), 128, np.uint8))
    with Image.open(tmp_path / "first_batch.jpg") as picture:
        assert (picture.format, picture.size) == ("JPEG", (30, 20))
