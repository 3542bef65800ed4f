"""A picture of the first batch of a run, with its boxes as the model gets them."""

import os
import typing

import numpy as np
import tensorflow as tf
from PIL import Image

from gfl_tf import files
from gfl_tf.compat import keras_cv
from gfl_tf.visualization import detections as drawing

MAX_IMAGES = 8
COLUMNS = 4


def draw(
    batch: tuple[tf.Tensor, dict[str, tf.Tensor]], bounding_box_format: str, class_names: typing.Sequence[str]
) -> np.ndarray:
    """The first `MAX_IMAGES` images of a training batch, padding included, as uint8 [height, width, 3], RGB.

    Args:
        batch: (images, labels), see `gfl_tf.data.pipeline`.
        bounding_box_format: of its boxes.
        class_names: of its classes.
    """
    images, labels = batch
    boxes = keras_cv.bounding_box.convert_format(
        labels["boxes"], source=bounding_box_format, target="xyxy", images=images, dtype=tf.float32
    )
    pictures = []
    for image, own_boxes, classes in zip(images.numpy()[:MAX_IMAGES], boxes.numpy(), labels["classes"].numpy()):
        picture = np.uint8(np.clip(np.round(image), 0, 255))
        enlarge = drawing.legible(picture)
        pictures.append(drawing.draw_ground_truth(picture, own_boxes, classes, class_names, enlarge))
    return drawing.grid(pictures, COLUMNS)


def write(path: str | os.PathLike, picture: np.ndarray) -> None:
    """Writes a picture as a JPEG file."""
    with files.replacing(path, "wb") as file:
        Image.fromarray(picture).save(file, "JPEG", quality=90)
