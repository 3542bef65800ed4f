"""Rotation and shear: linear maps about the middle of the image.

tensorflow-addons' rotate and shear_x call the same operation of TensorFlow, which is there without them, and with it
one source serves both stacks.
"""

import dataclasses
import math

import tensorflow as tf

from gfl_tf.data.augmentations.operation import (
    MIN_SIDE,
    Operation,
    Sample,
    between,
    check,
    check_shares,
    is_number,
    sometimes,
)

# A box of which less than this share is left in the image is no longer learnt.
MIN_VISIBLE = 0.25


@dataclasses.dataclass(frozen=True)
class Rotation(Operation, name="rotation", num_draws=2):
    """Rotates by an angle drawn from -degrees to degrees; image and boxes as in `warp`.

    The upright box around a turned one is larger than the object, a square's sides by a sixth at 10 degrees: small
    angles keep boxes tight.
    """

    probability: float = 0.5
    degrees: float = 10.0

    def __post_init__(self):
        check_shares(self, "probability")
        check(self, "degrees", is_number(self.degrees) and 0 <= self.degrees <= 180, "a number from 0 to 180")

    def __call__(self, sample, draws, frame):
        limit = math.radians(self.degrees)
        forward = rotation_matrix(between((-limit, limit), draws[1]))
        return sometimes(self.probability, draws[0], lambda whole: warp(whole, forward, frame.pad_value), sample)


@dataclasses.dataclass(frozen=True)
class Shear(Operation, name="shear", num_draws=3):
    """Slants the image; image and boxes as in `warp`.

    A pixel moves to the side by its height above the middle times a factor drawn from -horizontal to horizontal, and
    up or down likewise by `vertical`.
    """

    probability: float = 0.5
    horizontal: float = 0.1
    vertical: float = 0.0

    def __post_init__(self):
        check_shares(self, "probability", "horizontal", "vertical")
        # With both at 1 the map could fold the image into a line.
        check(self, "vertical", self.horizontal * self.vertical < 1, "a number below 1 beside horizontal=1")

    def __call__(self, sample, draws, frame):
        horizontal = between((-self.horizontal, self.horizontal), draws[1])
        vertical = between((-self.vertical, self.vertical), draws[2])
        forward = tf.stack([[1.0, horizontal], [vertical, 1.0]])
        return sometimes(self.probability, draws[0], lambda whole: warp(whole, forward, frame.pad_value), sample)


def rotation_matrix(angle):
    """float32 [2, 2] of an angle in radians; positive ones turn clockwise to the eye, as y points down."""
    cos, sin = tf.cos(angle), tf.sin(angle)
    return tf.stack([[cos, -sin], [sin, cos]])


def warp(sample, forward, pad_value):
    """Moves an image and its boxes by a linear map about the middle of the image, bilinearly.

    Height and width stay: what leaves the image is cut off, and what enters it has the colour of the padding. A box
    becomes the upright box around its four moved corners, clipped to the image. It stays if `MIN_SIDE` of its height
    and width is left, and `MIN_VISIBLE` of its area.

    Args:
        sample: `Sample` with a float32 image.
        forward: float32 [2, 2], from the (x, y) of a point, seen from the middle, to where it goes.
        pad_value: RGB.
    """
    boxes, keep = warp_boxes(sample.boxes, forward, tf.cast(tf.shape(sample.image)[1::-1], tf.float32))
    image = warp_image(sample.image, forward, pad_value)
    return Sample(image, tf.boolean_mask(boxes, keep), tf.boolean_mask(sample.classes, keep))


def warp_image(image, forward, pad_value):
    """float32 [h, w, 3] -> the same shape; see `warp`."""
    hw = tf.shape(image)[:2]
    # From a pixel of the result to its source, both counted from the middle of the first pixel.
    backward = tf.linalg.inv(forward)
    middle = (tf.cast(hw[::-1], tf.float32) - 1.0) / 2.0
    offset = middle - tf.linalg.matvec(backward, middle)
    transform = tf.concat([tf.reshape(tf.concat([backward, offset[:, None]], axis=1), [6]), [0.0, 0.0]], axis=0)
    # The operation fills all channels with one number: shift the colours so that it is 0.
    fill = tf.constant(pad_value, tf.float32)
    moved = tf.raw_ops.ImageProjectiveTransformV3(
        images=(image - fill)[None],
        transforms=transform[None],
        output_shape=hw,
        fill_value=0.0,
        interpolation="BILINEAR",
        fill_mode="CONSTANT",
    )[0]
    return tf.ensure_shape(moved, image.shape) + fill


def warp_boxes(boxes, forward, size):
    """Boxes float32 [n, 4] and whether each stays, bool [n]; see `warp`. `size` is the image's width and height."""
    middle = size / 2.0
    corners = tf.reshape(tf.gather(boxes, [0, 1, 2, 1, 2, 3, 0, 3], axis=1), [-1, 4, 2])
    moved = tf.linalg.matvec(forward, corners - middle) + middle  # [n, 4, 2]
    hull = tf.concat([tf.reduce_min(moved, axis=1), tf.reduce_max(moved, axis=1)], axis=1)
    clipped = tf.clip_by_value(hull, 0.0, tf.tile(size, [2]))
    sides, all_sides = clipped[:, 2:] - clipped[:, :2], hull[:, 2:] - hull[:, :2]
    is_visible = tf.reduce_prod(sides, axis=1) >= MIN_VISIBLE * tf.reduce_prod(all_sides, axis=1)
    return clipped, is_visible & tf.reduce_all(sides >= MIN_SIDE, axis=1)
