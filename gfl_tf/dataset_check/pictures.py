"""Small pictures of examples, as JPEG data URIs."""

import numpy as np
from PIL import Image, ImageOps

from gfl_tf.visualization import pages
from gfl_tf.visualization.cropping import around, fitted
from gfl_tf.visualization.detections import draw_box

SIDE_PX = 240
COLOUR = (255, 0, 90)


def data_uri(path: str, box: tuple = (), turned: bool = False) -> str | None:
    """An image file, or what is around a box of it, with the box drawn; None where it cannot be decoded.

    Args:
        path: of the image.
        box: xyxy in pixels; (): none. It may be degenerate, or outside the image.
        turned: whether EXIF's orientation is applied, as the box is annotated after it.
    """
    try:
        with Image.open(path) as image:
            picture = _to_rgb(ImageOps.exif_transpose(image) if turned else image)
    except Exception:  # of damaged bytes Pillow raises nearly anything
        return None
    return pages.jpeg_uri(_with_box(picture, np.array(box, np.float64)) if box else fitted(picture, SIDE_PX))


def _to_rgb(image):
    if image.mode.startswith("I"):  # 16 bits
        return Image.fromarray((np.asarray(image, np.float32) / 256).astype(np.uint8)).convert("RGB")
    return image.convert("RGB")


def _with_box(picture, box):
    box = np.concatenate([np.minimum(box[:2], box[2:]), np.maximum(box[:2], box[2:])])
    window = around(box, picture.size)
    cut = fitted(picture.crop(tuple(map(int, window))), SIDE_PX)
    factor = cut.width / (window[2] - window[0])
    draw_box(cut, (box - np.tile(window[:2], 2)) * factor, COLOUR, 3)
    return cut
