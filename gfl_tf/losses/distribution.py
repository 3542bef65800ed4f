"""Distribution Focal Loss, the Generalized Focal Loss that it and Quality Focal Loss are special cases of, and the loss
that brings distributions close to those of a teacher."""

import tensorflow as tf

from gfl_tf.losses.focal import modulating_factor


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
    return modulating_factor(y_true, y_left * p_left + y_right * p_right, beta) * cross_entropy


def distillation_loss(y_true: tf.Tensor, y_pred: tf.Tensor, temperature: float) -> tf.Tensor:
    """T^2 KL(p || q) of p = softmax(y_true / T) and q = softmax(y_pred / T).

    Of a side's distributions: Zheng et al., "Localization Distillation for Dense Object Detection", CVPR 2022; of
    classes: Hinton et al., "Distilling the Knowledge in a Neural Network", arXiv 1503.02531. T^2 keeps the size of the
    gradient when T changes: for a large T the loss is half the variance of y_true - y_pred over the bins.

    Args:
        y_true: [..., K] logits of the teacher; no gradient flows through them.
        y_pred: [..., K] logits of the student.
        temperature: T, above 0.

    Returns: float32 [...], at least 0 but for rounding.
    """
    teacher, student = (tf.nn.log_softmax(tf.cast(t, tf.float32) / temperature) for t in (y_true, y_pred))
    teacher = tf.stop_gradient(teacher)
    return temperature**2 * tf.reduce_sum(tf.exp(teacher) * (teacher - student), axis=-1)
