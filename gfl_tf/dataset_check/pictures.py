"""Small pictures of examples, as JPEG data URIs."""

import base64
import io

import numpy as np
from PIL import Image, ImageOps

from gfl_tf.visualization.detections import draw_box

SIDE_PX = 240
MARGIN_PX = 48  # that is shown around a box at least
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
    picture = _with_box(picture, np.array(box, np.float64)) if box else _fitted(picture)
    file = io.BytesIO()
    picture.save(file, "JPEG", quality=80)
    return f"data:image/jpeg;base64,{base64.b64encode(file.getvalue()).decode()}"


def _to_rgb(image):
    if image.mode.startswith("I"):  # 16 bits
        return Image.fromarray((np.asarray(image, np.float32) / 256).astype(np.uint8)).convert("RGB")
    return image.convert("RGB")


def _with_box(picture, box):
    box = np.concatenate([np.minimum(box[:2], box[2:]), np.maximum(box[:2], box[2:])])
    margin = max(MARGIN_PX, *(box[2:] - box[:2]))
    limits = np.array(picture.size * 2)
    window = np.clip(box + margin * np.array([-1, -1, 1, 1]), 0, limits).round().astype(int)
    if (window[2:] - window[:2]).min() < 1:  # the box lies far outside
        window = np.array([0, 0, *picture.size])
    cut = _fitted(picture.crop(tuple(map(int, window))))
    factor = cut.width / (window[2] - window[0])
    draw_box(cut, (box - np.tile(window[:2], 2)) * factor, COLOUR, 3)
    return cut


def _fitted(picture):
    """Its longer side becomes `SIDE_PX`."""
    factor = SIDE_PX / max(picture.size)
    return picture.resize([max(1, round(side * factor)) for side in picture.size], Image.Resampling.BICUBIC)
