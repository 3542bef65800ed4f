"""The places where a dense detector predicts: one grid for assignment, losses, decoding and export."""

import itertools
import math
import typing

import tensorflow as tf

from gfl_tf.parts import check_fields, part
from gfl_tf.rules import COUNT, POSITIVE, SHARE, Rule, several

SIZE_DIVISOR = 32  # the network pads its input to a multiple of this: P5's stride


class Places(typing.NamedTuple):
    """Some of a grid's places, of any leading shape.

    points_px: float32 [..., 2], x and y in pixels; strides: float32 [...], in pixels;
    anchors: float32 [..., 4], xyxy in pixels.
    """

    points_px: tf.Tensor
    strides: tf.Tensor
    anchors: tf.Tensor

    def at(self, index: tf.Tensor) -> "Places":
        """The places of an index into the first axis, [...]."""
        return Places(*(tf.gather(value, index) for value in self))


class Grid(typing.NamedTuple):
    """All P places on a canvas: levels in order, each row-major, the anchors of a point together.

    Attributes:
        places: `Places` of the leading shape [P].
        canvas_shape: int32 [2], height and width in pixels.
        image_shape: int32 [B, 2], those of each image inside the canvas; [1, 2] where all fill it.
        strides: of the levels, pixels.
        level_shapes: int32 [L, 2], rows and columns of points.
        spec: the `GridSpec` that made it.
    """

    places: Places
    canvas_shape: tf.Tensor
    image_shape: tf.Tensor
    strides: tuple
    level_shapes: tf.Tensor
    spec: "GridSpec"

    @property
    def size(self) -> tf.Tensor:
        """P, an int32 scalar."""
        return tf.shape(self.places.strides)[0]

    @property
    def level_sizes(self) -> tf.Tensor:
        """int32 [L], places of each level."""
        return tf.reduce_prod(self.level_shapes, axis=-1) * self.spec.anchors_per_point

    @property
    def inside(self) -> tf.Tensor:
        """bool [B, P]: places whose cells begin in the image's own extent, rounded up to 32 as in the reference."""
        padded = tf.cast(_padded(self.image_shape), tf.float32)
        corners = self.places.points_px - self.spec.offset * self.places.strides[:, tf.newaxis]
        return tf.reduce_all(corners < padded[:, tf.newaxis, ::-1], axis=-1)


@part
class GridSpec:
    """Which levels there are, where a point lies in its cell, and which anchors stand there.

    Attributes:
        levels: of the pyramid, 3 to 7 for P3 to P7; level l has stride 2^l.
        offset: of a point from its cell's top left corner, in strides: 0 as in GFL's and RetinaNet's references, 0.5 as
            in FCOS's.
        anchor_scales: sides of the square anchor in strides, one or more.
        anchor_ratios: height over width of the anchors of each scale.
    """

    levels: tuple = (3, 4, 5, 6, 7)
    offset: float = 0.0
    anchor_scales: tuple = (8.0,)
    anchor_ratios: tuple = (1.0,)

    def __post_init__(self):
        check_fields(
            self,
            {
                "levels": Rule("consecutive levels that begin at 2 to 5, such as (3, 4, 5, 6, 7)", _are_levels),
                "offset": SHARE,
                "anchor_scales": several(POSITIVE),
                "anchor_ratios": several(POSITIVE),
            },
        )

    @property
    def strides(self) -> tuple[int, ...]:
        return tuple(2**level for level in self.levels)

    @property
    def anchors_per_point(self) -> int:
        return len(self.anchor_scales) * len(self.anchor_ratios)

    def on(self, canvas_shape: tf.Tensor | tuple[int, int], image_shape: tf.Tensor | None = None) -> Grid:
        """The `Grid` of a canvas.

        Args:
            canvas_shape: int [2], height and width of the network input in pixels.
            image_shape: int [B, 2], each image's own; default: all fill the canvas.
        """
        canvas_shape = tf.cast(canvas_shape, tf.int32)
        image_shape = canvas_shape[tf.newaxis] if image_shape is None else tf.cast(image_shape, tf.int32)
        shapes = self.level_shapes(canvas_shape)
        # The reference's order: by ratio, then by scale.
        shapes_in_strides = [
            (scale / math.sqrt(ratio), scale * math.sqrt(ratio))
            for ratio, scale in itertools.product(self.anchor_ratios, self.anchor_scales)
        ]
        half = tf.constant(shapes_in_strides, tf.float32) / 2  # [A, 2] width, height
        levels = [self._level(shapes[index], stride, half) for index, stride in enumerate(self.strides)]
        places = Places(*(tf.concat(values, axis=0) for values in zip(*levels)))
        return Grid(places, canvas_shape, image_shape, self.strides, shapes, self)

    def level_shapes(self, image_shape: tf.Tensor | tuple[int, int]) -> tf.Tensor:
        """Rows and columns of the points, int32 [..., L, 2], of images [..., 2] (height, width in pixels)."""
        padded = tf.expand_dims(_padded(tf.cast(image_shape, tf.int32)), axis=-2)
        return -(-padded // tf.constant(self.strides, tf.int32)[:, tf.newaxis])

    def _level(self, shape, stride, half):
        y, x = tf.meshgrid(tf.range(shape[0]), tf.range(shape[1]), indexing="ij")
        cells = tf.cast(tf.reshape(tf.stack([x, y], axis=-1), [-1, 1, 2]), tf.float32)
        points = (cells + self.offset) * float(stride) + tf.zeros_like(half)  # [cells, A, 2]
        anchors = tf.concat([points - half * stride, points + half * stride], axis=-1)
        points, anchors = tf.reshape(points, [-1, 2]), tf.reshape(anchors, [-1, 4])
        return Places(points, tf.fill(tf.shape(points)[:1], float(stride)), anchors)


def _are_levels(value):
    if not several(COUNT).holds(value):
        return False
    return 2 <= value[0] <= 5 and list(value) == list(range(value[0], value[0] + len(value)))


def _padded(image_shape):
    return -(-image_shape // SIZE_DIVISOR) * SIZE_DIVISOR
