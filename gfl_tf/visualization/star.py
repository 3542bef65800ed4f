"""Pictures of VarifocalNet's star-shaped box features: where the nine points of a box are sampled.

The head reads the features of a predicted box, distances (l, t, r, b) from a point (x, y), at nine places: the point
itself, its projections onto the sides, and the corners (VarifocalNet, section 4.3), in the order of a 3x3 kernel:

    0 (x - l, y - t)    1 (x, y - t)    2 (x + r, y - t)
    3 (x - l, y)        4 (x, y)        5 (x + r, y)
    6 (x - l, y + b)    7 (x, y + b)    8 (x + r, y + b)

The pictures take the points from the offsets that the layer itself uses. The one in docs/ is drawn by

    python -m gfl_tf.visualization.star docs/star.jpg
"""

import collections.abc
import sys

import numpy as np
import tensorflow as tf
from PIL import Image, ImageDraw

from gfl_tf.data import shape_scenes
from gfl_tf.layers.star import star_offsets
from gfl_tf.visualization import detections

_INITIAL, _REFINED = (220, 40, 40), (40, 80, 235)
_POINT, _KERNEL = (255, 221, 51), (150, 150, 150)
_INK, _PAPER = (20, 20, 20), (255, 255, 255)
_KERNEL_STEPS = np.stack(np.meshgrid((-1, 0, 1), (-1, 0, 1)), axis=-1).reshape(9, 2)  # (x, y) in cells, row-major
_LEAST_RADIUS = 6  # of a disc in which a number can be read


def draw_star(
    image: np.ndarray,
    point_px: collections.abc.Sequence[float] | np.ndarray,
    distances_px: collections.abc.Sequence[float] | np.ndarray,
    stride: float,
    refined_distances_px: collections.abc.Sequence[float] | np.ndarray | None = None,
    enlarge: float = 1.0,
) -> np.ndarray:
    """Draws the sampling points of one box onto a picture, as in figure 1 of the paper.

    The initial box is red, the refined one blue; the nine points are yellow, with their numbers; grey dots are where
    an ordinary 3x3 convolution at the same place would read. Points of a small box are drawn smaller, those of a tiny
    one without numbers. What lies outside the picture is cut off.

    Args:
        image: uint8 [height, width, 3], RGB; left as it is.
        point_px: float [2], (x, y) in pixels of the picture: the point the distances are measured from.
        distances_px: float [4], initial distances to the left, top, right and bottom side in pixels.
        stride: pixels from one cell of the feature map to the next.
        refined_distances_px: float [4], the refined distances, or None.
        enlarge: factor by which the picture is enlarged before drawing.

    Returns:
        uint8 [round(height * enlarge), round(width * enlarge), 3], RGB.

    Raises:
        ValueError: if an array has another shape than this, a number is not finite, or the stride is not positive.
    """
    image = detections.checked_image(image)
    positions = star_positions(point_px, distances_px, stride) * enlarge
    boxes = [(distances_px, _INITIAL)]
    if refined_distances_px is not None:
        boxes.append((_checked("refined_distances_px", refined_distances_px, 4), _REFINED))
    picture = detections.enlarge_image(image, enlarge)
    unit = detections.line_width(picture.size)
    radius = int(np.clip(0.35 * enlarge * np.min(distances_px), 2, 4 * unit + 2))
    for distances, colour in boxes:
        corners = np.tile(point_px, 2) + np.asarray(distances) * (-1, -1, 1, 1)
        _draw_box(picture, corners * enlarge, colour, unit)
    for x, y in positions:
        _draw_ray(picture, positions[4], (x, y), unit)
    for letter, number in (("l", 3), ("t", 1), ("r", 5), ("b", 7)):
        _draw_letter(picture, positions[4], positions[number], letter, 6 * unit)
    for x, y in kernel_positions(point_px, stride) * enlarge:
        _draw_disc(picture, x, y, min(unit + 2, radius), _KERNEL, _PAPER)
    for number, (x, y) in enumerate(positions):
        _draw_disc(picture, x, y, radius, _POINT, _INK, str(number) if radius >= _LEAST_RADIUS else "")
    return np.asarray(picture)


def star_positions(
    point_px: collections.abc.Sequence[float] | np.ndarray,
    distances_px: collections.abc.Sequence[float] | np.ndarray,
    stride: float,
) -> np.ndarray:
    """Where the nine points are sampled: float64 [9, 2], (x, y) in pixels.

    They are the ordinary kernel points moved by the layer's offsets; arguments and errors as in `draw_star`.
    """
    distances_px = _checked("distances_px", distances_px, 4)
    kernel = kernel_positions(point_px, stride)
    offsets = star_offsets(tf.constant(distances_px / stride, tf.float32, [1, 1, 1, 4]))
    return kernel + offsets.numpy().astype(np.float64).reshape(9, 2)[:, ::-1] * stride


def kernel_positions(point_px: collections.abc.Sequence[float] | np.ndarray, stride: float) -> np.ndarray:
    """Where an ordinary 3x3 convolution reads: float64 [9, 2], (x, y) in pixels; arguments as in `draw_star`."""
    if not (np.isfinite(stride) and stride > 0):
        raise ValueError(f"stride must be positive, got {stride}")
    return _checked("point_px", point_px, 2) + _KERNEL_STEPS * stride


def draw_example() -> np.ndarray:
    """The picture in docs/, uint8 [h, w, 3]: part of a generated scene, with made-up distances of a point of P5."""
    rng = np.random.default_rng(56)
    scene = shape_scenes.sample_scene(rng, (384, 512))
    image = shape_scenes.paint_scene(rng, scene)
    boxes = [record["bbox"] for record in shape_scenes.annotate_scene(scene)]
    left, top, width, height = max(boxes, key=lambda box: box[2])
    stride = 32
    x, y = (int(value // stride) * stride for value in (left + 0.5 * width, top + 0.6 * height))
    true_px = np.array([x - left, y - top, left + width - x, top + height - y])
    crop_x, crop_y = max(left - 100, 0), max(top - 40, 0)
    picture = draw_star(
        image[crop_y : top + height + 40, crop_x : left + width + 100],
        (x - crop_x, y - crop_y),
        true_px * (0.8, 1.2, 0.85, 0.8),
        stride,
        true_px * (1.02, 0.98, 1.0, 1.03),
        enlarge=2.25,
    )
    legend = [("initial box", _INITIAL), ("its sampling points", _POINT), ("an ordinary 3x3 kernel's", _KERNEL)]
    return _with_line(picture, [*legend, ("refined box", _REFINED)])


def _with_line(picture, entries):
    """The picture above a line of (text, RGB colour of a dot in front of it or None)."""
    size = int(np.clip(picture.shape[1] / 50, 12, 24))
    line = Image.new("RGB", (picture.shape[1], 2 * size), _PAPER)
    draw, x = ImageDraw.Draw(line), size
    for text, colour in entries:
        if colour is not None:
            _draw_disc(line, x, size, size // 2, colour, _INK)
            x += size
        draw.text((x, size), text, _INK, detections.font(size), anchor="lm")
        x += detections.font(size).getlength(text) + 2 * size
    return np.concatenate([picture, np.asarray(line)], axis=0)


def _draw_box(picture, corners, colour, thickness):
    low, high = corners[:2], corners[2:]
    if (high > 0).all() and (low < picture.size).all():
        detections.draw_box(picture, corners, colour, thickness)


def _draw_ray(picture, start, end, width):
    if np.abs([*start, *end]).max() < 100 * max(picture.size):  # Pillow's whole numbers have 32 bits
        ImageDraw.Draw(picture).line([*start, *end], _POINT, width)


def _draw_letter(picture, start, end, letter, size):
    """Writes the name of a distance beside the last third of its line, if the line is long enough."""
    line = np.asarray(end) - start
    length = np.linalg.norm(line)
    if 6 * size < length < 4 * max(picture.size):
        x, y = start + 0.7 * line + line[::-1] * (1, -1) * size / length
        draw = ImageDraw.Draw(picture)
        draw.text((x, y), letter, _INK, detections.font(2 * size), "mm", stroke_width=2, stroke_fill=_PAPER)


def _draw_disc(picture, x, y, radius, colour, outline, text=""):
    """A filled circle, with a text in it, if any of it is in the picture."""
    if -radius < x < picture.width + radius and -radius < y < picture.height + radius:
        draw = ImageDraw.Draw(picture)
        draw.ellipse([x - radius, y - radius, x + radius, y + radius], colour, outline)
        if text:
            draw.text((x, y), text, _INK, detections.font(max(8, round(1.5 * radius))), anchor="mm")


def _checked(name, values, size):
    values = np.asarray(values, np.float64)
    if values.shape != (size,) or not np.isfinite(values).all():
        raise ValueError(f"{name} must be {size} finite numbers, got {values.tolist()}")
    return values


if __name__ == "__main__":
    Image.fromarray(draw_example()).save(sys.argv[1], quality=88)
