"""Augmentations as pure functions, and `Augmentation`, which draws their random amounts.

Images are [h, w, 3] in 0..255, boxes float32 [n, 4] xyxy in pixels of the image.
"""

import math

import tensorflow as tf

from gfl_tf.data import images as image_ops

# A box cut down to less than this, in pixels of the result, is no longer learnt.
MIN_SIDE = 1.0

# Rec. 601 luma.
LUMA = (0.299, 0.587, 0.114)

# Cutout as VFNet-X has it: how many holes (from, to), and their heights and widths in pixels.
HOLES = (5, 10)
HOLE_SIZES = (
    (4, 4), (4, 8), (8, 4), (8, 8), (8, 16), (16, 8), (16, 16), (16, 32), (32, 16), (32, 32), (32, 48), (48, 32),
    (48, 48),
)  # fmt: skip

# Uniform numbers that each random augmentation takes of an image's.
DRAWS = {"crop": 5, "zoom": 3, "cutout": 2 + 3 * HOLES[1], "flip": 1, "vertical_flip": 1, "color_jitter": 3}


def flip_horizontal(image, boxes):
    """Mirrors left and right -> (image, boxes)."""
    width = tf.cast(tf.shape(image)[1], tf.float32)
    x1, y1, x2, y2 = tf.unstack(boxes, axis=-1)
    return tf.reverse(image, [1]), tf.stack([width - x2, y1, width - x1, y2], axis=-1)


def flip_vertical(image, boxes):
    """Mirrors top and bottom -> (image, boxes)."""
    height = tf.cast(tf.shape(image)[0], tf.float32)
    x1, y1, x2, y2 = tf.unstack(boxes, axis=-1)
    return tf.reverse(image, [0]), tf.stack([x1, height - y2, x2, height - y1], axis=-1)


def jitter_colors(image, brightness, contrast, saturation):
    """Scales brightness, then contrast about the mean, then saturation; the result is in 0..255.

    Args:
        image: float32 [h, w, 3].
        brightness, contrast, saturation: float scalars; 1 changes nothing, 0 leaves black, the
            mean grey, a grey image.
    """
    image = image * brightness
    luma = tf.tensordot(image, tf.constant(LUMA), 1)[..., None]
    # Both remaining steps are linear: one pass over the image instead of two.
    mean = tf.reduce_mean(luma)
    mixed = luma + saturation * (image - luma)
    return tf.clip_by_value(mean + contrast * (mixed - mean), 0.0, 255.0)


def crop(image, boxes, classes, window, by_centre=False):
    """Cuts a window out.

    Boxes are clipped to it; one stays if `MIN_SIDE` of its height and width is left.

    Args:
        image: [h, w, 3].
        boxes: float32 [n, 4].
        classes: [n].
        window: int32 [4], y, x, height, width; inside the image.
        by_centre: only boxes whose centre is inside the window stay.

    Returns:
        (image [height, width, 3], boxes [m, 4], classes [m]).
    """
    y, x, height, width = tf.unstack(window)
    image = image[y : y + height, x : x + width]
    boxes = boxes - tf.cast(tf.stack([x, y, x, y]), tf.float32)
    limit = tf.cast(tf.stack([width, height]), tf.float32)
    clipped = tf.clip_by_value(boxes, 0.0, tf.tile(limit, [2]))
    keep = tf.reduce_all(clipped[:, 2:] - clipped[:, :2] >= MIN_SIDE, axis=-1)
    if by_centre:
        centre = (boxes[:, :2] + boxes[:, 2:]) / 2
        keep &= tf.reduce_all((centre >= 0) & (centre < limit), axis=-1)
    return image, tf.boolean_mask(clipped, keep), tf.boolean_mask(classes, keep)


def window_in(hw, share, offset):
    """A window of an image.

    Args:
        hw: int32 [2], height and width of the image.
        share: float scalar or [2] in 0..1, the window's part of height and width.
        offset: float [2] in 0..1, where the window lies between top and bottom, left and right.

    Returns:
        int32 [4], y, x, height, width; height and width are at least 1.
    """
    size = tf.cast(tf.cast(hw, tf.float32) * share + 0.5, tf.int32)
    size = tf.clip_by_value(size, 1, hw)
    start = tf.cast(tf.cast(hw - size + 1, tf.float32) * offset, tf.int32)
    return tf.concat([tf.minimum(start, hw - size), size], axis=0)


def cut_out(image, corners, sizes):
    """Makes rectangles of the image black (DeVries and Taylor 2017).

    Args:
        image: float32 [h, w, 3].
        corners: int32 [k, 2], y and x of the rectangles' top left pixels.
        sizes: int32 [k, 2], their heights and widths; they may reach over the border.
    """

    def covered(axis):
        position = tf.range(tf.shape(image)[axis])
        start, end = corners[:, axis, None], (corners + sizes)[:, axis, None]
        return tf.cast((position >= start) & (position < end), tf.float32)  # [k, h] or [k, w]

    # tensorflow-addons' cutout takes a pass for each hole, 37 times as long for ten, and has no stateless draws.
    holes = tf.matmul(covered(0), covered(1), transpose_a=True)  # [h, w]
    return image * tf.cast(holes == 0, tf.float32)[..., None]


def size_on_canvas(hw, scale, canvas):
    """`images.keep_ratio_size`, shrunk to where it fits the canvas -> int32 [2]."""
    size = image_ops.keep_ratio_size(hw, scale)
    factor = tf.reduce_min(tf.cast(canvas, tf.float64) / tf.cast(size, tf.float64))
    filling = tf.cast(tf.cast(size, tf.float64) * factor + 0.5, tf.int32)
    return tf.maximum(tf.minimum(size, filling), 1)


def resize(image, boxes, size):
    """-> (image float32 [*size, 3], boxes)."""
    factor = tf.cast(size, tf.float32) / tf.cast(tf.shape(image)[:2], tf.float32)
    return image_ops.resize(image, size), boxes * tf.gather(factor, [1, 0, 1, 0])


class Augmentation:
    """Random crop, resize with zoom, cutout, flips and colours, in this order.

    Arguments as in `pipeline.training_batches`.

    Raises:
        ValueError: an argument is out of its range; names it.
    """

    def __init__(
        self,
        *,
        crop=None,
        zoom=None,
        cutout=0.0,
        flip=0.5,
        vertical_flip=0.0,
        color_jitter=None,
        pad_value=(0.0, 0.0, 0.0),
    ):
        crop = tuple(float(value) for value in crop or ())
        if len(crop) not in (0, 2) or (crop and not (0 <= crop[0] <= 1 and 0 < crop[1] <= 1)):
            raise ValueError(
                f"crop is {crop}; (probability, smallest share of height and width) is needed, the"
                " first from 0 to 1, the second above 0 and at most 1."
            )
        zoom = tuple(float(value) for value in zoom or ())
        if len(zoom) not in (0, 2) or (zoom and not 0 < zoom[0] <= zoom[1]):
            raise ValueError(f"zoom is {zoom}; (low, high) with 0 < low <= high is needed.")
        for name, value in (("cutout", cutout), ("flip", flip), ("vertical_flip", vertical_flip)):
            if not 0 <= value <= 1:
                raise ValueError(f"{name} is {value}; a probability from 0 to 1 is needed.")
        jitter = tuple(float(value) for value in color_jitter or ())
        if len(jitter) not in (0, 3) or not all(0 <= value <= 1 for value in jitter):
            raise ValueError(
                f"color_jitter is {color_jitter}; three numbers from 0 to 1 are needed:"
                " brightness, contrast, saturation."
            )
        self._crop = crop
        self._zoom = zoom
        self._cutout = float(cutout)
        self._flip = float(flip)
        self._vertical_flip = float(vertical_flip)
        self._jitter = jitter
        self._pad_value = pad_value

    def __call__(self, image, boxes, classes, scale, canvas, seed):
        """Augments one image and resizes it; a function of its arguments.

        Args:
            image: [h, w, 3] as decoded.
            boxes, classes: float32 [n, 4] in pixels of `image`, and [n].
            scale: int32 [2], the limits of the keep-ratio resize.
            canvas: int32 [2], height and width that the result must fit in.
            seed: int64 [2].

        Returns:
            (image float32 [h', w', 3], boxes [m, 4], classes [m]).
        """
        draws = tf.split(tf.random.stateless_uniform([sum(DRAWS.values())], seed), list(DRAWS.values()))
        draws = dict(zip(DRAWS, draws))
        if self._crop:
            image, boxes, classes = self._cropped(image, boxes, classes, draws["crop"])
        # A canvas is planned for whole images, and a cropped one can be more oblong than all of them. Shrinking it to
        # fit keeps the windows' distribution; canvases for any crop would be a quarter larger for 4:3 images.
        size = size_on_canvas(tf.shape(image)[:2], scale, canvas)
        if self._zoom:
            image, boxes, classes = self._zoomed(image, boxes, classes, size, draws["zoom"])
        else:
            image, boxes = resize(image, boxes, size)
        if self._cutout:
            image = self._with_holes(image, draws["cutout"])
        for probability, draw, flip in (
            (self._flip, draws["flip"][0], flip_horizontal),
            (self._vertical_flip, draws["vertical_flip"][0], flip_vertical),
        ):
            if probability:
                image, boxes = tf.cond(draw < probability, lambda: flip(image, boxes), lambda: (image, boxes))
        if self._jitter:
            factors = 1.0 + (2.0 * draws["color_jitter"] - 1.0) * tf.constant(self._jitter)
            image = jitter_colors(image, *tf.unstack(factors))
        return image, boxes, classes

    def _cropped(self, image, boxes, classes, draws):
        probability, smallest = self._crop
        share = smallest + (1.0 - smallest) * draws[1:3]
        whole = image, boxes, classes
        part = crop(*whole, window_in(tf.shape(image)[:2], share, draws[3:5]))
        # The reference draws another image when a crop has lost every box; here the image stays whole.
        loses_all = (tf.size(classes) > 0) & (tf.size(part[2]) == 0)
        return tf.cond((draws[0] < probability) & ~loses_all, lambda: part, lambda: whole)

    def _with_holes(self, image, draws):
        count = HOLES[0] + tf.cast(draws[1] * (HOLES[1] - HOLES[0] + 1), tf.int32)
        holes = tf.reshape(draws[2:], [HOLES[1], 3])[:count]
        corners = tf.cast(holes[:, :2] * tf.cast(tf.shape(image)[:2], tf.float32), tf.int32)
        sizes = tf.gather(HOLE_SIZES, tf.cast(holes[:, 2] * len(HOLE_SIZES), tf.int32))
        return tf.cond(draws[0] < self._cutout, lambda: cut_out(image, corners, sizes), lambda: image)

    def _zoomed(self, image, boxes, classes, size, draws):
        low, high = (math.log(limit) for limit in self._zoom)
        zoom = tf.exp(low + (high - low) * draws[0])
        window = window_in(tf.shape(image)[:2], 1.0 / tf.maximum(zoom, 1.0), draws[1:])
        image, boxes, classes = crop(image, boxes, classes, window, by_centre=True)
        # Cut first, then one resize: an enlarged part keeps the file's resolution.
        shrunk = tf.cast(tf.cast(size, tf.float32) * tf.minimum(zoom, 1.0) + 0.5, tf.int32)
        shrunk = tf.clip_by_value(shrunk, 1, size)
        image, boxes = resize(image, boxes, shrunk)
        start = tf.cast(tf.cast(size - shrunk + 1, tf.float32) * draws[1:], tf.int32)
        start = tf.minimum(start, size - shrunk)
        image = image_ops.pad_to_canvas(image, size, self._pad_value, start)
        return image, boxes + tf.cast(tf.gather(start, [1, 0, 1, 0]), tf.float32), classes
