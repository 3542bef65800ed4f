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


def crop(image, boxes, classes, window):
    """Cuts a window out.

    A box stays if its centre is inside the window, clipped to it.

    Args:
        image: [h, w, 3].
        boxes: float32 [n, 4].
        classes: [n].
        window: int32 [4], y, x, height, width; inside the image.

    Returns:
        (image [height, width, 3], boxes [m, 4], classes [m]).
    """
    y, x, height, width = tf.unstack(window)
    image = image[y : y + height, x : x + width]
    boxes = boxes - tf.cast(tf.stack([x, y, x, y]), tf.float32)
    limit = tf.cast(tf.stack([width, height]), tf.float32)
    centre = (boxes[:, :2] + boxes[:, 2:]) / 2
    inside = tf.reduce_all((centre >= 0) & (centre < limit), axis=-1)
    boxes = tf.clip_by_value(boxes, 0.0, tf.tile(limit, [2]))
    large = tf.reduce_all(boxes[:, 2:] - boxes[:, :2] >= MIN_SIDE, axis=-1)
    keep = inside & large
    return image, tf.boolean_mask(boxes, keep), tf.boolean_mask(classes, keep)


def zoom_window(hw, zoom, offset):
    """The window of the image that a zoom shows.

    Args:
        hw: int32 [2], height and width of the image.
        zoom: float scalar; above 1 the window is smaller than the image by that factor, else it
            is the whole image.
        offset: float [2] in 0..1, where the window lies between top and bottom, left and right.

    Returns:
        int32 [4], y, x, height, width.
    """
    size = tf.cast(tf.cast(hw, tf.float32) / tf.maximum(zoom, 1.0), tf.int32)
    size = tf.clip_by_value(size, 1, hw)
    start = tf.cast(tf.cast(hw - size + 1, tf.float32) * offset, tf.int32)
    return tf.concat([tf.minimum(start, hw - size), size], axis=0)


def resize(image, boxes, size):
    """-> (image float32 [*size, 3], boxes)."""
    factor = tf.cast(size, tf.float32) / tf.cast(tf.shape(image)[:2], tf.float32)
    return image_ops.resize(image, size), boxes * tf.gather(factor, [1, 0, 1, 0])


class Augmentation:
    """Random zoom, flips and colours, in this order; arguments as in `pipeline.training_batches`.

    Raises:
        ValueError: an argument is out of its range; names it.
    """

    def __init__(
        self, flip=0.5, vertical_flip=0.0, color_jitter=None, zoom=None, pad_value=(0.0, 0.0, 0.0)
    ):
        for name, value in (("flip", flip), ("vertical_flip", vertical_flip)):
            if not 0 <= value <= 1:
                raise ValueError(f"{name} is {value}; a probability from 0 to 1 is needed.")
        jitter = tuple(float(value) for value in color_jitter or ())
        if len(jitter) not in (0, 3) or not all(0 <= value <= 1 for value in jitter):
            raise ValueError(
                f"color_jitter is {color_jitter}; three numbers from 0 to 1 are needed:"
                " brightness, contrast, saturation."
            )
        zoom = tuple(float(value) for value in zoom or ())
        if len(zoom) not in (0, 2) or (zoom and not 0 < zoom[0] <= zoom[1]):
            raise ValueError(f"zoom is {zoom}; (low, high) with 0 < low <= high is needed.")
        self._flip = float(flip)
        self._vertical_flip = float(vertical_flip)
        self._jitter = jitter
        self._zoom = zoom
        self._pad_value = pad_value

    def __call__(self, image, boxes, classes, size, seed):
        """Augments one image and resizes it; a function of its arguments.

        Args:
            image: [h, w, 3] as decoded.
            boxes, classes: float32 [n, 4] in pixels of `image`, and [n].
            size: int32 [2], height and width of the result.
            seed: int64 [2].

        Returns:
            (image float32 [*size, 3], boxes [m, 4], classes [m]).
        """
        draws = tf.random.stateless_uniform([8], seed)
        if self._zoom:
            image, boxes, classes = self._zoomed(image, boxes, classes, size, draws[:3])
        else:
            image, boxes = resize(image, boxes, size)
        for probability, draw, flip in (
            (self._flip, draws[3], flip_horizontal),
            (self._vertical_flip, draws[4], flip_vertical),
        ):
            if probability:
                image, boxes = tf.cond(
                    draw < probability, lambda: flip(image, boxes), lambda: (image, boxes)
                )
        if self._jitter:
            factors = 1.0 + (2.0 * draws[5:8] - 1.0) * tf.constant(self._jitter)
            image = jitter_colors(image, *tf.unstack(factors))
        return image, boxes, classes

    def _zoomed(self, image, boxes, classes, size, draws):
        low, high = (math.log(limit) for limit in self._zoom)
        zoom = tf.exp(low + (high - low) * draws[0])
        window = zoom_window(tf.shape(image)[:2], zoom, draws[1:])
        image, boxes, classes = crop(image, boxes, classes, window)
        # Cut first, then one resize: an enlarged part keeps the file's resolution.
        shrunk = tf.cast(tf.cast(size, tf.float32) * tf.minimum(zoom, 1.0) + 0.5, tf.int32)
        shrunk = tf.clip_by_value(shrunk, 1, size)
        image, boxes = resize(image, boxes, shrunk)
        start = tf.cast(tf.cast(size - shrunk + 1, tf.float32) * draws[1:], tf.int32)
        start = tf.minimum(start, size - shrunk)
        image = image_ops.pad_to_canvas(image, size, self._pad_value, start)
        return image, boxes + tf.cast(tf.gather(start, [1, 0, 1, 0]), tf.float32), classes
