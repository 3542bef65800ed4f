"""The grid of points at which a dense detector predicts: one function for assigner, decode and export."""

import tensorflow as tf

STRIDES = (8, 16, 32, 64, 128)  # P3 to P7
SIZE_DIVISOR = 32  # the network pads its input to a multiple of this: P5's stride


def level_sizes(image_shape, strides=STRIDES):
    """Heights and widths of the feature maps, int32 [..., L, 2].

    `image_shape`: int [..., 2], height and width in pixels; rounded up to `SIZE_DIVISOR` first, as the network
    input is.
    """
    image_shape = tf.expand_dims(tf.cast(image_shape, tf.int32), axis=-2)
    padded = -(-image_shape // SIZE_DIVISOR) * SIZE_DIVISOR
    return -(-padded // tf.constant(strides, tf.int32)[:, tf.newaxis])


def grid_points(image_shape, strides=STRIDES):
    """The points of all levels, P3 to P7 in order, each level row-major.

    `image_shape`: int [2], height and width of the network input in pixels.

    Returns:
        points_px: float32 [P, 2], x and y in pixels: the cell's top left corner, as in GFL's reference (offset 0).
        point_strides: float32 [P].
    """
    sizes = level_sizes(image_shape, strides)
    points_px, point_strides = [], []
    for level, stride in enumerate(strides):
        height, width = sizes[level, 0], sizes[level, 1]
        y, x = tf.meshgrid(tf.range(height), tf.range(width), indexing="ij")
        grid = tf.reshape(tf.stack([x, y], axis=-1), [-1, 2])
        points_px.append(tf.cast(grid * stride, tf.float32))
        point_strides.append(tf.fill([height * width], float(stride)))
    return tf.concat(points_px, axis=0), tf.concat(point_strides, axis=0)
