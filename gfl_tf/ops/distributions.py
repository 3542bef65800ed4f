"""The General distribution of a box side: n + 1 evenly spaced bins over the distances [0, n * bin_width] in strides."""

import tensorflow as tf


def by_side(logits: tf.Tensor) -> tf.Tensor:
    """Side-major box logits [..., 4 * (n + 1)] as [..., 4, n + 1]."""
    return tf.reshape(logits, tf.concat([tf.shape(logits)[:-1], [4, logits.shape[-1] // 4]], axis=0))


def side_probabilities(logits: tf.Tensor) -> tf.Tensor:
    """Probabilities float32 [..., 4, n + 1] from side-major box logits [..., 4 * (n + 1)]."""
    return tf.nn.softmax(by_side(tf.cast(logits, tf.float32)), axis=-1)


def integral(probabilities: tf.Tensor, bin_width: float = 1.0) -> tf.Tensor:
    """Expected distance [..., 4] in strides (GFL, eq. 5) of distributions [..., 4, n + 1]."""
    return tf.linalg.matvec(probabilities, _bin_values(probabilities, bin_width))


def standard_deviation(probabilities: tf.Tensor, bin_width: float = 1.0) -> tf.Tensor:
    """Standard deviation [..., 4] in strides of distributions [..., 4, n + 1]: how unsure the model is of a side."""
    bins = _bin_values(probabilities, bin_width)
    deviation = bins - integral(probabilities, bin_width)[..., tf.newaxis]
    return tf.sqrt(tf.reduce_sum(probabilities * tf.square(deviation), axis=-1))


def _bin_values(probabilities, bin_width):
    return tf.range(probabilities.shape[-1], dtype=tf.float32) * bin_width
