"""Bilinear sampling of feature maps at any position, multiplied by a kernel: the core of deformable convolution."""

import tensorflow as tf

# Bytes of cells gathered at a time.
CPU_STEP_BYTES = 4 << 20  # they stay in the cache until interpolated and multiplied
CPU_BACKWARD_STEP_BYTES = 32 << 20  # TensorFlow's scatter copies the whole map's gradient in every step: fewer steps
ACCELERATOR_STEP_BYTES = 512 << 20  # few large steps; bounds memory only
UNROLLED_STEP_BYTES = 32 << 20  # the graph grows with each


def bilinear_corners(
    positions: tf.Tensor, height: int | tf.Tensor, width: int | tf.Tensor
) -> tuple[tf.Tensor, tf.Tensor]:
    """The four cells around positions [B, Ho, Wo, points, D, 2], and their bilinear weights: both [..., 4].

    A cell is a row number in the list of all cells of the batch, with a ring of zeros around each map.
    """
    inside = (positions > -1) & (positions < tf.cast([height, width], positions.dtype))
    inside = tf.reduce_all(inside, axis=-1, keepdims=True)
    positions = tf.where(inside, positions, -1)  # the ring's corner: zero value, zero gradient
    low = tf.floor(positions)
    # Neither here nor below slices of tensors of more than five axes, which TensorFlow Lite does not have.
    y_high, x_high = tf.unstack(positions - low, axis=-1)
    y_low, x_low = 1 - y_high, 1 - x_high
    weights = tf.stack([y_low * x_low, y_low * x_high, y_high * x_low, y_high * x_high], axis=-1)

    y, x = tf.unstack(tf.cast(low, tf.int32) + 1, axis=-1)
    image = tf.reshape(tf.range(shape_of(positions)[0]), [-1, 1, 1, 1, 1])
    cell = (image * (height + 2) + y) * (width + 2) + x
    return tf.expand_dims(cell, -1) + tf.stack([0, 1, width + 2, width + 3]), weights


def sample_and_multiply(
    cells: tf.Tensor, corners: tf.Tensor, weights: tf.Tensor, kernel: tf.Tensor, unroll: bool = False
) -> tf.Tensor:
    """Interpolates cells [M, C / D] at corners with weights [N, points, D, 4]; its product [N, F] with the kernel.

    D: deformable groups. Its gradients are those of `sampling_gradients`.

    Args:
        kernel: [groups, points * C / groups, F / groups].
        unroll: where N is known: traced as its steps one by one, without a loop around them.
    """
    groups, _, group_filters = kernel.shape
    rows = shape_of(corners)[0]
    unroll = unroll and not tf.is_tensor(rows)
    steps = _Steps(rows, _row_bytes(cells, kernel), UNROLLED_STEP_BYTES if unroll else CPU_STEP_BYTES)

    def of_step(step):
        _, columns = _columns(cells, *step, groups)
        return tf.reshape(tf.transpose(tf.matmul(columns, kernel), [1, 0, 2]), [steps.size, groups * group_filters])

    if unroll:
        cut = zip(tf.unstack(steps.cut(corners)), tf.unstack(steps.cut(weights)))
        return tf.concat([of_step(step) for step in cut], axis=0)[:rows]
    outputs = tf.map_fn(
        of_step,
        (steps.cut(corners), steps.cut(weights)),
        parallel_iterations=1,
        fn_output_signature=tf.TensorSpec([None, groups * group_filters], cells.dtype),
    )
    return steps.join(outputs)


def sampling_gradients(
    cells: tf.Tensor, corners: tf.Tensor, weights: tf.Tensor, kernel: tf.Tensor, upstream: tf.Tensor
) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """Of `sample_and_multiply`, for cells, weights and kernel; `upstream`: [N, F], the gradient of its result."""
    groups, _, group_filters = kernel.shape
    steps = _Steps(shape_of(corners)[0], _row_bytes(cells, kernel), CPU_BACKWARD_STEP_BYTES)
    step_corners, step_weights = steps.cut(corners), steps.cut(weights)
    step_upstream = steps.cut(tf.reshape(upstream, [-1, groups, group_filters]))
    dtype = at_least_float32(cells.dtype)

    def backward(step, cells_gradient, weights_gradient, kernel_gradient):
        values, columns = _columns(cells, step_corners[step], step_weights[step], groups)
        outputs_gradient = tf.transpose(step_upstream[step], [1, 0, 2])
        kernel_gradient += tf.cast(tf.matmul(columns, outputs_gradient, transpose_a=True), dtype)
        columns_gradient = tf.matmul(outputs_gradient, kernel, transpose_b=True)
        columns_gradient = _groups_last(columns_gradient, shape_of(values))
        products = tf.matmul(values, columns_gradient, transpose_b=True)
        weights_gradient = weights_gradient.write(step, tf.squeeze(products, axis=-1))
        values_gradient = step_weights[step][..., tf.newaxis] * columns_gradient
        cells_gradient = tf.tensor_scatter_nd_add(
            cells_gradient, step_corners[step][..., tf.newaxis], tf.cast(values_gradient, dtype)
        )
        return step + 1, cells_gradient, weights_gradient, kernel_gradient

    weights_gradient = tf.TensorArray(weights.dtype, steps.count, element_shape=step_weights.shape[1:])
    start = (0, tf.zeros(tf.shape(cells), dtype), weights_gradient, tf.zeros(kernel.shape, dtype))
    _, cells_gradient, weights_gradient, kernel_gradient = tf.while_loop(
        lambda step, *_: step < steps.count, backward, start, parallel_iterations=1
    )
    weights_gradient = steps.join(weights_gradient.stack())
    return tf.cast(cells_gradient, cells.dtype), weights_gradient, tf.cast(kernel_gradient, kernel.dtype)


def _row_bytes(cells, kernel):
    """Of the cells that are gathered for one row."""
    groups, depth, _ = kernel.shape
    return 4 * groups * depth * cells.dtype.size


def _columns(cells, corners, weights, groups):
    """Values at the corners [n, points, D, 4, C / D]; interpolated, groups first: [groups, n, points * C / groups]."""
    values = tf.gather(cells, corners)
    columns = tf.matmul(weights[..., tf.newaxis, :], values)
    rows, points = shape_of(values)[:2]
    columns = tf.transpose(tf.reshape(columns, [rows, points, groups, -1]), [2, 0, 1, 3])
    depth = points * cells.shape[1] * weights.shape[2] // groups
    return values, tf.reshape(columns, [groups, rows, depth])


def _groups_last(columns, values_shape):
    """[groups, n, points * C / groups] -> [n, points, D, 1, C / D]."""
    rows, points, deformable_groups, _, channels = values_shape
    columns = tf.transpose(tf.reshape(columns, [columns.shape[0], rows, points, -1]), [1, 2, 0, 3])
    return tf.reshape(columns, [rows, points, deformable_groups, 1, channels])


class _Steps:
    """Cuts N rows into `count` steps of at most `cpu_step_bytes`, or more on an accelerator, and `size` rows each."""

    def __init__(self, rows, row_bytes, cpu_step_bytes):
        accelerated = any(device.device_type != "CPU" for device in tf.config.list_logical_devices())
        step_bytes = ACCELERATOR_STEP_BYTES if accelerated else cpu_step_bytes
        self.rows = rows
        self.count = rows // max(step_bytes // row_bytes, 1) + 1  # at least 1, also where N is 0
        self.size = -(-rows // self.count)

    def cut(self, tensor):
        """[N, ...] -> [count, size, ...], filled up with zeros."""
        fill = self.count * self.size - self.rows
        tensor = tf.pad(tensor, [[0, fill]] + [[0, 0]] * (tensor.shape.rank - 1))
        return tf.reshape(tensor, [self.count, self.size, *tensor.shape[1:]])

    def join(self, tensor):
        """[count, size, ...] -> [N, ...]."""
        return tf.reshape(tensor, [-1, *tensor.shape[2:]])[: self.rows]


def at_least_float32(dtype: tf.DType | str) -> str:
    return "float64" if dtype == "float64" else "float32"


def shape_of(tensor: tf.Tensor) -> list[int | tf.Tensor]:
    """The shape, with Python ints where they are known."""
    dynamic = tf.shape(tensor)
    return [dynamic[i] if size is None else size for i, size in enumerate(tensor.shape)]
