"""The pictures of the embedded data set: where shapes lie, what is seen of each, and how they look.

They are made so that a detector has to learn what real data asks for: sizes over a wide range,
rotation, occlusion and truncation by the border, low contrast, textured backgrounds with clutter that
belongs to no class, pictures without any object.
"""

import dataclasses
import math

import numpy as np
from PIL import Image, ImageDraw, ImageFilter
from pycocotools import mask as coco_mask

# Category ids have gaps, as COCO's own have, so that every user of this data maps ids to indices.
CATEGORIES = {1: "ellipse", 2: "rectangle", 4: "triangle", 7: "star", 8: "cross", 11: "ring"}
CLASS_NAMES = tuple(CATEGORIES.values())
CATEGORY_IDS = tuple(CATEGORIES)

EMPTY_SHARE = 0.1  # of the pictures hold no object
MAX_OBJECTS = 8
MIN_SIDE_PX = 20.0  # the longer side of an unrotated shape is log-uniform from this ...
MAX_SIDE_SHARE = 0.65  # ... to this share of the picture's shorter side
MIN_VISIBLE_SHARE = 0.5  # of a shape's area; a shape that would hide more of another is not placed
MIN_BOX_SIDE_PX = 6
OVERLAP_SHARE = 0.3  # of the shapes are placed onto an earlier one
_SUPERSAMPLING = 4


@dataclasses.dataclass(frozen=True)
class Shape:
    """One object of a scene, in pixels of the picture (x to the right, y down, pixel centres at .5).

    Attributes:
      class_index: index into `CLASS_NAMES`.
      outline: float [k, 2], vertices (x, y); may reach outside the picture.
      hole: float [k, 2] or None, the inner outline of a ring.
    """

    class_index: int
    outline: np.ndarray
    hole: np.ndarray | None = None


@dataclasses.dataclass(frozen=True)
class Scene:
    """Where the shapes of one picture are, before anything is coloured.

    Attributes:
      shapes: in drawing order, later ones cover earlier ones.
      coverages: one tuple (x, y, alpha uint8 [h, w]) for each shape: its antialiased mask, cut at the
        picture's border, and where that lies.
      owner: int16 [height, width], for each pixel the index of the shape seen there, -1 for background.
    """

    shapes: list
    coverages: list
    owner: np.ndarray


def annotate_scene(scene):
    """The COCO annotations of a scene without ids: the box, area and mask of what is seen of each shape.

    Returns:
      A list of dicts with category_id, bbox [x, y, width, height], area, iscrowd and segmentation (RLE).
    """
    records = []
    for index, shape in enumerate(scene.shapes):
        visible = scene.owner == index
        rows, columns = np.flatnonzero(visible.any(axis=1)), np.flatnonzero(visible.any(axis=0))
        x, y = int(columns[0]), int(rows[0])
        rle = coco_mask.encode(np.asfortranarray(visible, np.uint8))
        records.append(
            {
                "category_id": CATEGORY_IDS[shape.class_index],
                "bbox": [x, y, int(columns[-1]) + 1 - x, int(rows[-1]) + 1 - y],
                "area": int(visible.sum()),
                "iscrowd": 0,
                "segmentation": {"size": list(rle["size"]), "counts": rle["counts"].decode()},
            }
        )
    return records


# --- where the shapes are ---------------------------------------------------------------------------


def sample_scene(rng, image_size):
    """Draws classes, sizes and places of the shapes of one picture.

    Args:
      rng: a `numpy.random.Generator`.
      image_size: (height, width) in pixels.

    Returns:
      A `Scene`; every shape in it is visible to at least `MIN_VISIBLE_SHARE`.
    """
    height, width = image_size
    scene = Scene([], [], np.full((height, width), -1, np.int16))
    if rng.random() < EMPTY_SHARE:
        return scene
    full_areas = []
    for _ in range(rng.integers(1, MAX_OBJECTS + 1)):
        class_index = int(rng.integers(len(CLASS_NAMES)))
        for _ in range(6):  # a place may be refused; with the picture full, the shape is left out
            shape = _sample_shape(rng, class_index, scene)
            coverage, full_area = _rasterize(shape, image_size)
            if _place(scene, shape, coverage, full_area, full_areas):
                break
    return scene


def _place(scene, shape, coverage, full_area, full_areas):
    """Adds the shape if it and all earlier ones stay visible enough; says whether it did."""
    x, y, alpha = coverage
    if not alpha.size:
        return False
    mask = alpha >= 128
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    if min(len(rows), len(columns)) < MIN_BOX_SIDE_PX or mask.sum() < MIN_VISIBLE_SHARE * full_area:
        return False
    window = scene.owner[y : y + mask.shape[0], x : x + mask.shape[1]]
    before = window.copy()
    window[mask] = len(scene.shapes)
    for index in np.unique(before[mask]):
        if index >= 0 and not _visible_enough(scene, index, full_areas[index]):
            window[:] = before
            return False
    scene.shapes.append(shape)
    scene.coverages.append(coverage)
    full_areas.append(full_area)
    return True


def _visible_enough(scene, index, full_area):
    x, y, alpha = scene.coverages[index]
    visible = scene.owner[y : y + alpha.shape[0], x : x + alpha.shape[1]] == index
    if visible.sum() < MIN_VISIBLE_SHARE * full_area:
        return False
    extent = [np.ptp(np.flatnonzero(visible.any(axis=axis))) + 1 for axis in (0, 1)]
    return min(extent) >= MIN_BOX_SIDE_PX


def _sample_shape(rng, class_index, scene):
    height, width = scene.owner.shape
    longest = MAX_SIDE_SHARE * min(height, width)
    side = MIN_SIDE_PX * (longest / MIN_SIDE_PX) ** rng.random()
    if scene.shapes and rng.random() < OVERLAP_SHARE:
        target = scene.shapes[rng.integers(len(scene.shapes))].outline
        low, high = target.min(axis=0), target.max(axis=0)
        centre = np.clip(rng.uniform(low, high), 0, (width, height))
    else:
        inset = 0.2 * side
        centre = rng.uniform((inset, inset), (width - inset, height - inset))
    outline, hole = _unit_outline(rng, CLASS_NAMES[class_index])
    angle = rng.uniform(0, 2 * math.pi)
    rotation = side * np.array([[math.cos(angle), math.sin(angle)], [-math.sin(angle), math.cos(angle)]])
    return Shape(class_index, outline @ rotation + centre, None if hole is None else hole @ rotation + centre)


def _unit_outline(rng, name):
    """Vertices around the origin, within a square of side 1, unrotated; and those of the hole, or None."""
    if name == "ellipse":
        return _circle(48) * (0.5, rng.uniform(0.28, 0.5)), None
    if name == "ring":
        outline = _circle(48) * (0.5, rng.uniform(0.36, 0.5))
        return outline, outline * rng.uniform(0.45, 0.68)
    if name == "rectangle":
        half = np.array((0.5, rng.uniform(0.18, 0.5)))
        return np.array([(-1, -1), (1, -1), (1, 1), (-1, 1)]) * half, None
    if name == "triangle":
        apex, half_height = rng.uniform(-0.35, 0.35), rng.uniform(0.3, 0.5)
        return np.array([(-0.5, half_height), (0.5, half_height), (apex, -half_height)]), None
    if name == "star":
        radii = np.where(np.arange(10) % 2 == 0, 0.5, 0.5 * rng.uniform(0.36, 0.5))
        return _circle(10) * radii[:, None], None
    arm = rng.uniform(0.11, 0.2)
    corners = np.array([(arm, 0.5), (arm, arm), (0.5, arm)])
    quarter = np.array([[0, -1], [1, 0]])
    return np.concatenate([corners @ np.linalg.matrix_power(quarter, k) for k in range(4)]), None


def _circle(count):
    angles = np.arange(count) * (2 * math.pi / count)
    return np.stack([np.cos(angles), np.sin(angles)], axis=-1)


def _rasterize(shape, image_size):
    """The shape's coverage, cut at the picture's border, and its area in pixels with what was cut off."""
    low = np.floor(shape.outline.min(axis=0)).astype(int)
    high = np.ceil(shape.outline.max(axis=0)).astype(int)
    fine = Image.new("L", tuple(int(n) for n in (high - low) * _SUPERSAMPLING))
    draw = ImageDraw.Draw(fine)
    for outline, value in ((shape.outline, 255), (shape.hole, 0)):
        if outline is not None:
            draw.polygon(((outline - low) * _SUPERSAMPLING - 0.5).ravel().tolist(), fill=value)
    alpha = np.asarray(fine.reduce(_SUPERSAMPLING))
    full_area = int((alpha >= 128).sum())
    left, top = (int(n) for n in np.maximum(-low, 0))
    x, y = int(low[0]) + left, int(low[1]) + top
    return (x, y, alpha[top : top + max(image_size[0] - y, 0), left : left + max(image_size[1] - x, 0)]), full_area


# --- what it looks like -----------------------------------------------------------------------------


def paint_scene(rng, scene):
    """Colours a scene: background, clutter, the shapes in order, then blur and noise of a camera.

    Args:
      rng: a `numpy.random.Generator`.
      scene: of `sample_scene`.

    Returns:
      uint8 [height, width, 3], RGB.
    """
    height, width = scene.owner.shape
    canvas = _clutter(rng, _background(rng, height, width)).astype(np.float32)
    for x, y, alpha in scene.coverages:
        window = canvas[y : y + alpha.shape[0], x : x + alpha.shape[1]]
        weight = alpha[..., None] * np.float32(1 / 255)
        under = (window * weight).sum(axis=(0, 1)) / weight.sum()
        window += weight * (_fill(rng, under, *alpha.shape) - window)
    image = Image.fromarray(np.clip(canvas, 0, 255, out=canvas).astype(np.uint8))
    if rng.random() < 0.4:
        image = image.filter(ImageFilter.BoxBlur(rng.uniform(0.2, 0.7)))
    strength = rng.uniform(0, 12)
    noisy = rng.integers(-128, 128, (height, width, 3), np.int8) * np.float32(strength / 128)
    noisy += np.asarray(image)
    return np.clip(noisy, 0, 255, out=noisy).astype(np.uint8)


def _value_noise(rng, height, width, cell):
    """Smooth noise [height, width, 3] in -1..1 whose features are about `cell` pixels wide."""
    small = rng.integers(0, 256, (height // cell + 2, width // cell + 2, 3), np.uint8)
    # A random window of the enlarged noise, so that its lattice lies elsewhere in each picture.
    shift_x, shift_y = rng.random(2)
    box = (shift_x, shift_y, shift_x + width / cell, shift_y + height / cell)
    # In small cells the faster method shows no difference.
    method = Image.Resampling.BICUBIC if cell > 8 else Image.Resampling.BILINEAR
    smooth = Image.fromarray(small).resize((width, height), method, box=box)
    noise = np.asarray(smooth) * np.float32(1 / 127.5)
    noise -= 1
    return noise


def _background(rng, height, width):
    """uint8 [height, width, 3]: two colours mixed by a gradient, blotches or stripes, and noise at three scales."""
    # All but the finest noise is smooth: drawn at half the size, it takes a quarter of the time.
    rows, columns = (height + 1) // 2, (width + 1) // 2
    first, second = rng.uniform(30, 225, (2, 3)).astype(np.float32)
    second = first + (second - first) * np.float32(rng.uniform(0.15, 0.7))
    warp = _value_noise(rng, rows, columns, int(rng.integers(12, 36)))
    angle = rng.uniform(0, 2 * math.pi)
    along = np.float32(math.cos(angle)) * np.arange(columns, dtype=np.float32)
    along = along + np.float32(math.sin(angle)) * np.arange(rows, dtype=np.float32)[:, None]
    kind = rng.integers(3)
    if kind == 0:  # gradient
        mix = np.clip(0.5 + along / max(rows, columns) + 0.2 * warp[..., 0], 0, 1)
    elif kind == 1:  # blotches with edges, without a form of their own
        mix = np.clip(0.5 + warp[..., 0] * np.float32(rng.uniform(1, 12)), 0, 1)
    else:  # bent stripes
        mix = 0.5 + 0.5 * np.sin(along * np.float32(2 * math.pi / rng.uniform(4, 30)) + 3 * warp[..., 0])
    canvas = first + (second - first) * mix[..., None]
    canvas += warp * np.float32(rng.uniform(0, 30))
    canvas += _value_noise(rng, rows, columns, 5) * np.float32(rng.uniform(0, 22))
    smooth = Image.fromarray(np.clip(canvas, 0, 255).astype(np.uint8))
    grain = _value_noise(rng, height, width, 3)
    grain *= np.float32(rng.uniform(0, 22))
    grain += np.asarray(smooth.resize((width, height), Image.Resampling.BILINEAR))
    return np.clip(grain, 0, 255, out=grain).astype(np.uint8)


def _clutter(rng, background):
    """Thin lines, curves and specks over the background: edges that belong to no class."""
    height, width = background.shape[:2]
    image = Image.fromarray(background)
    draw = ImageDraw.Draw(image)
    for _ in range(rng.integers(0, 9)):
        colour = tuple(rng.integers(0, 256, 3).tolist())
        start, end = rng.uniform((0, 0), (width, height), (2, 2))
        thickness, kind = int(rng.integers(1, 4)), rng.integers(3)
        if kind == 0:
            draw.line([*start, *end], colour, thickness)
        elif kind == 1:  # an open arc, shorter than half a circle
            radius, begin = rng.uniform(15, 80), rng.uniform(0, 360)
            box = [*(start - radius), *(start + radius)]
            draw.arc(box, begin, begin + rng.uniform(30, 150), colour, thickness)
        else:
            for point in start + rng.normal(0, 0.08 * width, (12, 2)):
                draw.ellipse([*(point - 1), *(point + thickness - 1)], colour)
    return np.asarray(image)


def _fill(rng, under, height, width):
    """Colours [height, width, 3] of one shape: further from `under`, the mean colour below it, than a contrast."""
    contrast = 40 * 4 ** rng.random()
    for _ in range(20):
        colour = rng.uniform(0, 255, 3)
        if np.linalg.norm(colour - under) >= contrast:
            break
    colour = colour.astype(np.float32)
    kind = rng.integers(3)
    if kind == 0:
        return np.broadcast_to(colour, (height, width, 3))
    if kind == 1:  # shaded from one side
        slope = rng.uniform(-40, 40, 2).astype(np.float32)
        shade = np.linspace(-1, 1, width, dtype=np.float32) * slope[0]
        return colour + (shade[None, :] + np.linspace(-1, 1, height, dtype=np.float32)[:, None] * slope[1])[..., None]
    return colour + _value_noise(rng, height, width, int(rng.integers(2, 12))) * np.float32(rng.uniform(8, 35))
