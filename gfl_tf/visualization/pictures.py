"""Small pictures of examples, as JPEG data URIs."""

import collections.abc
import os

import numpy as np
from PIL import Image, ImageOps

from gfl_tf.visualization import pages
from gfl_tf.visualization.cropping import around, fitted
from gfl_tf.visualization.detections import draw_box

SIDE_PX = 240
COLOUR = (255, 0, 90)


def data_uri(
    path: str | os.PathLike,
    boxes: collections.abc.Sequence[tuple[collections.abc.Sequence[float], tuple[int, int, int]]] = (),
    turned: bool = False,
    side_px: int = SIDE_PX,
) -> str | None:
    """An image file, or what is around some boxes of it, with these drawn; None where it cannot be decoded.

    Args:
        path: of the image.
        boxes: pairs (xyxy in pixels, RGB colour), the last on top. A box may be degenerate, or outside the image.
        turned: whether EXIF's orientation is applied, as the boxes are annotated after it.
        side_px: longer side of the picture.
    """
    try:
        with Image.open(path) as image:
            picture = _to_rgb(ImageOps.exif_transpose(image) if turned else image)
    except Exception:  # of damaged bytes Pillow raises nearly anything
        return None
    return pages.jpeg_uri(_with_boxes(picture, boxes, side_px) if boxes else fitted(picture, side_px))


def _to_rgb(image):
    if image.mode.startswith("I"):  # 16 bits
        return Image.fromarray((np.asarray(image, np.float32) / 256).astype(np.uint8)).convert("RGB")
    return image.convert("RGB")


def _with_boxes(picture, boxes, side_px):
    corners = np.array([box for box, _ in boxes], np.float64).reshape(-1, 2, 2)
    corners = np.concatenate([corners.min(axis=1), corners.max(axis=1)], axis=1)
    window = around(np.concatenate([corners[:, :2].min(axis=0), corners[:, 2:].max(axis=0)]), picture.size)
    cut = fitted(picture.crop(tuple(map(int, window))), side_px)
    factor = cut.width / (window[2] - window[0])
    for box, (_, colour) in zip(corners, boxes):
        draw_box(cut, (box - np.tile(window[:2], 2)) * factor, colour, 3)
    return cut
