"""Pictures of detections and of ground truth: boxes, names, scores and how sure each edge is."""

import collections.abc
import colorsys
import functools

import numpy as np
from PIL import Image, ImageDraw, ImageFont

LEGIBLE_PX = 640  # the longer side of a picture on which labels hide little
_BAND_OPACITY = 0.38
_LABEL_PADDING = 2


def draw_detections(
    image: np.ndarray, found: dict[str, np.ndarray], class_names: collections.abc.Sequence[str], enlarge: float = 1.0
) -> np.ndarray:
    """Draws detections onto a picture.

    Each box has the colour of its class and a label with name and score. With "edge_stddev", a translucent band reaches
    from one standard deviation outside to one inside of every side.

    Args:
        image: uint8 [height, width, 3], RGB; left as it is.
        found: the record of n detections (see `gfl_tf.detections`), in pixels of the picture: "boxes" may reach
            outside, negative "classes" are padding and skipped; without "confidence", labels have no score.
        class_names: sequence of str.
        enlarge: factor by which the picture is enlarged before drawing, so that small pictures hold
            legible labels.

    Returns:
        uint8 [round(height * enlarge), round(width * enlarge), 3], RGB.

    Raises:
        ValueError: if an array's shape does not fit, or a class has no name.
    """
    image = checked_image(image)
    boxes, scores, edge_stddev = (found.get(name) for name in ("boxes", "confidence", "edge_stddev"))
    boxes = np.asarray(boxes, np.float64)
    if boxes.size == 0:
        boxes = boxes.reshape(0, 4)
    if boxes.ndim != 2 or boxes.shape[1] != 4:
        raise ValueError(f"boxes must be [n, 4], got {list(boxes.shape)}")
    count = len(boxes)
    classes = _checked("classes", found["classes"], (count,)).astype(int)
    order = np.arange(count)
    if scores is not None:
        scores = _checked("confidence", scores, (count,))
        order = np.argsort(scores, kind="stable")  # the surest is drawn last, on top
    if edge_stddev is not None:
        edge_stddev = _checked("edge_stddev", edge_stddev, (count, 4)) * enlarge
    if count and classes.max() >= len(class_names):
        raise ValueError(f"class {classes.max()} has no name: class_names holds {len(class_names)}")

    picture = enlarge_image(image, enlarge)
    boxes = boxes * enlarge
    order = [i for i in order if classes[i] >= 0 and _touches(boxes[i], picture.size)]
    thickness = line_width(picture.size)
    for i in order:
        colour = class_colour(classes[i])
        if edge_stddev is not None:
            draw_band(picture, boxes[i], edge_stddev[i], colour)
        draw_box(picture, boxes[i], colour, thickness)
    placed = []
    for i in reversed(order):
        text = class_names[classes[i]] if scores is None else f"{class_names[classes[i]]} {scores[i]:.2f}"
        placed.append(_draw_label(picture, boxes[i], text, class_colour(classes[i]), placed))
    return np.asarray(picture)


def draw_ground_truth(
    image: np.ndarray,
    boxes: np.ndarray,
    classes: np.ndarray,
    class_names: collections.abc.Sequence[str],
    enlarge: float = 1.0,
) -> np.ndarray:
    """Draws annotated boxes with their names; all else as in `draw_detections`."""
    return draw_detections(image, {"boxes": boxes, "classes": classes}, class_names, enlarge)


def grid(
    images: collections.abc.Sequence[np.ndarray],
    columns: int,
    gap: int = 4,
    background: tuple[int, int, int] = (255, 255, 255),
) -> np.ndarray:
    """Lays pictures out row by row, as a contact sheet; each is centred in a cell of the largest size.

    Args:
        images: non-empty sequence of uint8 [height, width, 3], RGB, of any sizes.
        columns: number of pictures in a row.
        gap: pixels between cells.
        background: RGB colour of gaps and of what pictures leave of their cells.

    Returns:
        uint8 [rows * cell height + gaps, columns * cell width + gaps, 3], RGB.

    Raises:
        ValueError: if there is no picture, no column, or a picture that is not [height, width, 3].
    """
    images = [checked_image(image) for image in images]
    if not images or columns < 1:
        raise ValueError(f"grid needs pictures and columns, got {len(images)} and {columns}")
    columns = min(columns, len(images))
    rows = -(-len(images) // columns)
    height, width = np.max([image.shape[:2] for image in images], axis=0)
    sheet = np.empty((rows * (height + gap) - gap, columns * (width + gap) - gap, 3), np.uint8)
    sheet[:] = background
    for i, image in enumerate(images):
        top = i // columns * (height + gap) + (height - image.shape[0]) // 2
        left = i % columns * (width + gap) + (width - image.shape[1]) // 2
        sheet[top : top + image.shape[0], left : left + image.shape[1]] = image
    return sheet


def class_colour(index: int) -> tuple[int, ...]:
    """The RGB colour (0..255) of a class: the same for an index everywhere, far from its neighbours'."""
    hue = (0.58 + int(index) * 0.618034) % 1.0  # steps of the golden ratio never come close to a full turn
    lightness = (0.50, 0.62, 0.40)[int(index) // 8 % 3]
    return tuple(round(255 * channel) for channel in colorsys.hls_to_rgb(hue, lightness, 0.85))


def ink_on(colour: tuple[int, ...]) -> tuple[int, int, int]:
    """Black or white, as RGB (0..255): the one that can be read on a colour."""
    luminance = np.dot(colour, (0.299, 0.587, 0.114))
    return (0, 0, 0) if luminance > 130 else (255, 255, 255)


@functools.cache
def font(size: int) -> ImageFont.FreeTypeFont:
    """Pillow's own font in a size in pixels; the same on every machine."""
    return ImageFont.load_default(size=size)


def line_width(size: tuple[int, int]) -> int:
    """Thickness in pixels of a box in a picture of (width, height)."""
    return max(1, round(min(size) / 220))


def legible(image: np.ndarray) -> int:
    """The whole factor that brings a small picture's longer side to about `LEGIBLE_PX`; 1 for a larger one."""
    return max(1, round(LEGIBLE_PX / max(image.shape[:2])))


def enlarge_image(image: np.ndarray, factor: float) -> Image.Image:
    """A `PIL.Image` of uint8 [height, width, 3], enlarged by a factor."""
    picture = Image.fromarray(image)
    if factor == 1:
        return picture
    size = tuple(max(1, round(side * factor)) for side in picture.size)
    return picture.resize(size, Image.Resampling.BICUBIC)


def draw_box(picture: Image.Image, box: np.ndarray, colour: tuple[int, ...], thickness: int) -> None:
    """Draws the outline of a box xyxy onto a `PIL.Image`, centred on its edges but kept in the picture."""
    x1, y1, x2, y2 = _clipped(box, picture.size)
    outer, inner = thickness // 2, thickness - thickness // 2 - 1
    left, top = max(x1 - outer, 0), max(y1 - outer, 0)
    right, bottom = min(x2 - 1 + outer, picture.width - 1), min(y2 - 1 + outer, picture.height - 1)
    if right < left or bottom < top:
        return
    ImageDraw.Draw(picture).rectangle([left, top, right, bottom], outline=colour, width=outer + inner + 1)


def draw_band(picture: Image.Image, box: np.ndarray, stddev: np.ndarray, colour: tuple[int, ...]) -> None:
    """Draws one standard deviation to both sides of each edge onto a `PIL.Image`, translucent.

    Args:
        picture: `PIL.Image`, RGB; changed.
        box: float [4], xyxy.
        stddev: float [4], of the left, top, right and bottom edge in pixels of the picture.
        colour: RGB.
    """
    reach = np.asarray(stddev) * (-1, -1, 1, 1)
    outer, inner = _clipped(box + reach, picture.size), _clipped(box - reach, picture.size)
    if outer[2] <= outer[0] or outer[3] <= outer[1]:
        return
    opacity = Image.new("L", (outer[2] - outer[0], outer[3] - outer[1]), round(255 * _BAND_OPACITY))
    if inner[2] > inner[0] and inner[3] > inner[1]:
        opacity.paste(0, tuple(int(edge - outer[i % 2]) for i, edge in enumerate(inner)))
    picture.paste(Image.new("RGB", opacity.size, colour), (outer[0], outer[1]), opacity)


def _draw_label(picture, box, text, colour, placed):
    """Writes a label at the box where it hides no label of `placed`, if there is such a place; returns where."""
    size = int(np.clip(round(min(picture.size) / 26), 10, 28))
    face = font(size)
    room = picture.width - 2 * _LABEL_PADDING
    if face.getlength(text) > room:
        while len(text) > 1 and face.getlength(text + "…") > room:
            text = text[:-1]
        text += "…"
    ascent, descent = face.getmetrics()
    width = min(int(np.ceil(face.getlength(text))) + 2 * _LABEL_PADDING, picture.width)
    height = min(ascent + descent, picture.height)
    x1, y1, x2, y2 = _clipped(box, picture.size)
    corners = [(x1, y1 - height), (x1, y2), (x1, y1), (x2 - width, y1 - height), (x2 - width, y2), (x1, y2 - height)]
    spots = []
    for x, y in corners:
        if 0 <= y <= picture.height - height:
            x = min(max(x, 0), picture.width - width)
            spots.append((x, y, x + width, y + height))
    if not spots:  # a picture hardly higher than the label
        spots.append((0, 0, width, height))
    spot = next((s for s in spots if not any(_overlap(s, other) for other in placed)), spots[0])
    draw = ImageDraw.Draw(picture)
    draw.rectangle([spot[0], spot[1], spot[2] - 1, spot[3] - 1], fill=colour)
    place = (spot[0] + _LABEL_PADDING, spot[1] + ascent)
    draw.text(place, text, fill=ink_on(colour), font=face, anchor="ls")
    return spot


def _overlap(a, b):
    return a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]


def _clipped(box, size):
    limits = np.array((*size, *size))
    return tuple(int(edge) for edge in np.clip(np.round(box), 0, limits))


def _touches(box, size):
    inside = box[2] > 0 and box[3] > 0 and box[0] < size[0] and box[1] < size[1]
    return bool(inside and np.isfinite(box).all())


def _checked(name, values, shape):
    values = np.asarray(values, np.float64)
    if values.size == 0 and shape[0] == 0:
        return values.reshape(shape)
    if values.shape != shape:
        raise ValueError(f"{name} must be {list(shape)} to go with the boxes, got {list(values.shape)}")
    return values


def checked_image(image: np.ndarray) -> np.ndarray:
    """The image as an array; raises ValueError unless it is uint8 [height, width, 3]."""
    image = np.asarray(image)
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
        raise ValueError(f"an image must be uint8 [height, width, 3], got {image.dtype} {list(image.shape)}")
    return image
