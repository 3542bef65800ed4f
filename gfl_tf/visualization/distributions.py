"""Pictures of the learned distributions of a box's four sides, as in the figures of GFL and GFLv2.

GFL predicts for each side not a distance but a distribution over distances (GFL, section 3.2). A sharp
peak is an edge the network is sure of; a wide or two-peaked distribution is one it is not.
"""

import collections.abc
import math

import numpy as np
from PIL import Image, ImageDraw

from gfl_tf.evaluation.edges import SIDES
from gfl_tf.visualization import detections

_PAPER, _INK, _FAINT = (255, 255, 255), (40, 40, 40), (222, 222, 222)
_BAR, _EXPECTATION = (86, 134, 196), (205, 62, 40)
_SPREAD = (248, 222, 214)
_TEXT, _SMALL = 15, 12
_WIDTH, _HEIGHT = 720, 520  # of the four plots, in pixels


def plot_distributions(
    probabilities: np.ndarray,
    bin_px: float,
    title: str = "",
) -> np.ndarray:
    """Plots the distributions of the four distances from a point to the sides of its box.

    The red line is the expectation, which is the predicted distance; the shading is one standard
    deviation to either side. All four plots share the scale of probabilities.

    Args:
        probabilities: float [4, n + 1], of the left, top, right and bottom side; each row sums to 1.
        bin_px: distance in pixels from one bin to the next: bin width times stride.
        title: written above the plots.

    Returns:
        uint8 [520, 720, 3], RGB.

    Raises:
        ValueError: if the probabilities are not four distributions, or `bin_px` is not positive.
    """
    probabilities = np.asarray(probabilities, np.float64)
    if probabilities.ndim != 2 or probabilities.shape[0] != 4 or probabilities.shape[1] < 2:
        raise ValueError(f"probabilities must be [4, n + 1], got {list(probabilities.shape)}")
    if not np.all(probabilities >= 0) or not np.allclose(probabilities.sum(axis=1), 1, atol=1e-2):
        raise ValueError("each row of probabilities must be a distribution: apply softmax to the logits first")
    if not bin_px > 0:
        raise ValueError(f"bin_px must be positive, got {bin_px}")

    picture = Image.new("RGB", (_WIDTH, _HEIGHT), _PAPER)
    header = 0
    if title:
        header = _TEXT + 14
        ImageDraw.Draw(picture).text((_WIDTH / 2, 8), title, _INK, detections.font(_TEXT + 2), anchor="mt")
    top_value = _round_up(probabilities.max())
    panel = _WIDTH // 2, (_HEIGHT - header) // 2
    for side in range(4):
        corner = (side % 2 * panel[0], header + side // 2 * panel[1])
        _plot_side(picture, corner, panel, SIDES[side], probabilities[side], bin_px, top_value)
    return np.asarray(picture)


def plot_detection(
    image: np.ndarray,
    box: collections.abc.Sequence[float] | np.ndarray,
    probabilities: np.ndarray,
    bin_px: float,
    name: str = "",
    score: float | None = None,
    point: collections.abc.Sequence[float] | np.ndarray | None = None,
) -> np.ndarray:
    """Shows a detection: the part of the picture around its box beside its four distributions.

    Args:
        image: uint8 [height, width, 3], RGB.
        box: float [4], xyxy in pixels of the picture.
        probabilities: float [4, n + 1], as in `plot_distributions`.
        bin_px: pixels of the picture from one bin to the next: bin width times stride over the resize factor.
        name: of the class.
        score: of the detection, or None.
        point: float [2], (x, y) in the picture: the point the distances are measured from; shown if given.

    Returns:
        uint8 [h, w, 3], RGB.

    Raises:
        ValueError: as `plot_distributions`, and if the image or the box has another shape.
    """
    box = np.asarray(box, np.float64)
    if box.shape != (4,) or not np.isfinite(box).all():
        raise ValueError(f"box must be four finite numbers xyxy, got {box}")
    title = name if score is None else f"{name} {score:.2f}".strip()
    plots = plot_distributions(probabilities, bin_px, title)
    _, stddev = moments(probabilities, bin_px)
    crop = _crop(detections.checked_image(image), box, stddev, point, side=plots.shape[0])
    return np.concatenate([crop, plots], axis=1)


def moments(probabilities: np.ndarray, bin_px: float) -> tuple[np.ndarray, np.ndarray]:
    """Expectation and standard deviation in pixels of distributions [..., n + 1]; both [...]."""
    probabilities = np.asarray(probabilities, np.float64)
    values = np.arange(probabilities.shape[-1]) * bin_px
    mean = probabilities @ values
    variance = (probabilities * (values - mean[..., None]) ** 2).sum(axis=-1)
    return mean, np.sqrt(variance)


def _crop(image, box, stddev, point, side):
    """A square part of the picture around the box, enlarged to `side` pixels, with what is known drawn in."""
    centre = (box[:2] + box[2:]) / 2
    half = max(0.72 * (box[2:] - box[:2]).max(), 8.0)
    corner = np.floor(centre - half)
    span = math.ceil(2 * half)
    part = Image.new("RGB", (span, span), _FAINT)
    # Pillow's crop fills what lies outside the picture with black; only the part inside is pasted.
    low = np.clip(corner, 0, (image.shape[1], image.shape[0])).astype(int)
    high = np.clip(corner + span, 0, (image.shape[1], image.shape[0])).astype(int)
    if (high > low).all():
        part.paste(Image.fromarray(image[low[1] : high[1], low[0] : high[0]]), tuple(int(n) for n in low - corner))
    factor = side / span
    part = part.resize((side, side), Image.Resampling.BICUBIC)
    moved = (box - np.tile(corner, 2)) * factor
    thickness = max(2, detections.line_width(part.size))
    detections.draw_band(part, moved, stddev * factor, _EXPECTATION)
    detections.draw_box(part, moved, _EXPECTATION, thickness)
    if point is not None:
        x, y = (np.asarray(point, np.float64) - corner) * factor
        ImageDraw.Draw(part).ellipse([x - 5, y - 5, x + 5, y + 5], fill=_EXPECTATION, outline=_PAPER, width=2)
    return np.asarray(part)


def _plot_side(picture, corner, size, name, probabilities, bin_px, top_value):
    """One bar plot into the rectangle at `corner` (x, y) of `size` (width, height)."""
    draw = ImageDraw.Draw(picture)
    mean, stddev = (float(value) for value in moments(probabilities, bin_px))
    left, top = corner[0] + 46, corner[1] + 30
    right, bottom = corner[0] + size[0] - 14, corner[1] + size[1] - 40
    furthest = (len(probabilities) - 0.5) * bin_px

    def to_x(distance):
        return left + (distance + 0.5 * bin_px) / (furthest + 0.5 * bin_px) * (right - left)

    def to_y(probability):
        return bottom - probability / top_value * (bottom - top)

    draw.rectangle([max(to_x(mean - stddev), left), top, min(to_x(mean + stddev), right), bottom], fill=_SPREAD)
    for tick in np.linspace(0, top_value, 5):
        draw.line([left, to_y(tick), right, to_y(tick)], _FAINT)
        draw.text((left - 6, to_y(tick)), f"{tick:.3g}", _INK, detections.font(_SMALL), anchor="rm")
    margin = 0.12 * (to_x(bin_px) - to_x(0))
    for index, probability in enumerate(probabilities):
        x1, x2 = to_x((index - 0.5) * bin_px) + margin, to_x((index + 0.5) * bin_px) - margin
        if bottom - to_y(probability) >= 0.5:
            draw.rectangle([x1, to_y(probability), max(x1, x2 - 1), bottom], fill=_BAR)
    draw.line([left, bottom, right, bottom], _INK)
    step = _tick_step(furthest)
    for tick in np.arange(0, furthest, step):
        draw.line([to_x(tick), bottom, to_x(tick), bottom + 4], _INK)
        draw.text((to_x(tick), bottom + 6), f"{tick:g}", _INK, detections.font(_SMALL), anchor="mt")
    draw.line([to_x(mean), top, to_x(mean), bottom], _EXPECTATION, 2)
    draw.text((right, bottom + 21), "distance in pixels", _INK, detections.font(_SMALL), anchor="rt")
    draw.text((left, top - 9), name, _INK, detections.font(_TEXT), anchor="ls")
    draw.text((right, top - 9), f"{mean:.1f} ± {stddev:.1f} px", _EXPECTATION, detections.font(_TEXT), anchor="rs")


def _round_up(value):
    """The next of 0.05, 0.1, 0.2, 0.4, 0.6, 0.8, 1.0 that holds the value."""
    return next((top for top in (0.05, 0.1, 0.2, 0.4, 0.6, 0.8) if value <= top), 1.0)


def _tick_step(span):
    """A step of 1, 2 or 5 times a power of ten that gives at most eight ticks on a span."""
    magnitude = 10.0 ** math.floor(math.log10(span / 8))
    return next(magnitude * factor for factor in (1, 2, 5, 10) if span / (magnitude * factor) <= 8)
