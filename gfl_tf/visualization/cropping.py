"""Parts of pictures, and small pictures."""

import numpy as np
from PIL import Image

MARGIN_PX = 48  # that is shown around a box at least


def around(box: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """int xyxy, the part of a picture of `size` (width, height) that shows a box with what is around it.

    The box may be degenerate; where it lies far outside, the part is the whole picture.
    """
    box = np.concatenate([np.minimum(box[:2], box[2:]), np.maximum(box[:2], box[2:])])
    margin = max(MARGIN_PX, *(box[2:] - box[:2]))
    window = np.clip(box + margin * np.array([-1, -1, 1, 1]), 0, np.array(size * 2)).round().astype(int)
    return window if (window[2:] - window[:2]).min() >= 1 else np.array([0, 0, *size])


def fitted(picture: Image.Image, side_px: int) -> Image.Image:
    """A picture whose longer side becomes `side_px`."""
    factor = side_px / max(picture.size)
    return picture.resize([max(1, round(side * factor)) for side in picture.size], Image.Resampling.BICUBIC)
