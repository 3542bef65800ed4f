"""Distribution Focal Loss and the Generalized Focal Loss that it and Quality Focal Loss are special cases of."""

import tensorflow as tf


def distribution_focal_loss(y_true: tf.Tensor, y_pred: tf.Tensor) -> tf.Tensor:
    """Distribution Focal Loss (GFL, eq. 6): -((y_{i+1} - y) log S_i + (y - y_i) log S_{i+1}).

    Args:
        y_true: [...] targets in bins, in [0, n]; values outside are clamped to that range.
        y_pred: [..., n + 1] logits of the distribution over the bins 0..n.

    Returns: float32 [...].
    """
    y_pred = tf.cast(y_pred, tf.float32)
    bins = tf.range(tf.shape(y_pred)[-1])
    y_true = tf.clip_by_value(tf.cast(y_true, tf.float32), 0.0, tf.cast(bins[-1], tf.float32))
    # The two weights of eq. 6 at bins i and i + 1, and 0 elsewhere: a triangle of half-width 1 around y.
    weights = tf.nn.relu(1.0 - tf.abs(y_true[..., tf.newaxis] - tf.cast(bins, tf.float32)))
    return tf.nn.softmax_cross_entropy_with_logits(labels=tf.stop_gradient(weights), logits=y_pred)


def generalized_focal_loss(
    y_true: tf.Tensor,
    p_left: tf.Tensor,
    p_right: tf.Tensor,
    y_left: tf.Tensor | float,
    y_right: tf.Tensor | float,
    beta: float,
) -> tf.Tensor:
    """Generalized Focal Loss (GFL, eq. 7), whose special cases are FL, QFL and DFL (eqs. 8 to 10).

    -|y - (y_l p_l + y_r p_r)|^beta ((y_r - y) log p_l + (y - y_l) log p_r); its global minimum is at
    p_l = (y_r - y) / (y_r - y_l), p_r = (y - y_l) / (y_r - y_l).

    Args:
        y_true: [...] continuous labels y, y_left <= y <= y_right.
        p_left, p_right: [...] probabilities of the two values.
        y_left, y_right: the two values, broadcastable, y_left < y_right.
        beta: strength of the modulating factor; 0 switches it off.

    Returns: float32 [...].
    """
    y_true, p_left, p_right, y_left, y_right = (
        tf.cast(t, tf.float32) for t in (y_true, p_left, p_right, y_left, y_right)
    )
    # xlogy: a value of weight 0 costs nothing, even at probability 0.
    cross_entropy = -(tf.math.xlogy(y_right - y_true, p_left) + tf.math.xlogy(y_true - y_left, p_right))
    if beta == 0:
        return cross_entropy
    estimate = y_left * p_left + y_right * p_right
    return tf.pow(tf.abs(y_true - estimate), beta) * cross_entropy
