"""Classification losses: focal, quality focal (GFL) and varifocal (VarifocalNet).

Every function takes soft targets and logits of one shape, computes in float32 and returns the unreduced loss. Scores
are the sigmoids of the logits, or GFLv2's products of two: computed from both logits, their loss is exact and finite
where the probability rounds to 0 or 1.
"""

import tensorflow as tf


def modulating_factor(y_true: tf.Tensor, probability: tf.Tensor, beta: float) -> tf.Tensor:
    """|y - sigma|^beta (GFL, eq. 2). At distance 0 its gradient is 0, too, which for beta < 1 would be infinite."""
    distance = y_true - probability
    if beta == 0.0:
        return tf.ones_like(distance)
    if beta == 2.0:
        return tf.square(distance)
    is_zero = distance == 0.0
    return tf.where(is_zero, 0.0, tf.pow(tf.abs(tf.where(is_zero, 1.0, distance)), beta))


def _scores(y_true, y_pred, quality_logits):
    """float32 targets, probabilities of the scores, and their cross entropies, [..., C] each."""
    y_true, y_pred = tf.cast(y_true, tf.float32), tf.cast(y_pred, tf.float32)
    if quality_logits is None:
        return y_true, tf.sigmoid(y_pred), tf.nn.sigmoid_cross_entropy_with_logits(y_true, y_pred)
    log_score, log_complement = log_joint_score(y_pred, tf.cast(quality_logits, tf.float32))
    return y_true, tf.exp(log_score), -(y_true * log_score + (1.0 - y_true) * log_complement)


def focal_loss(
    y_true: tf.Tensor,
    y_pred: tf.Tensor,
    quality_logits: tf.Tensor | None = None,
    *,
    alpha: float = 0.25,
    gamma: float = 2.0,
) -> tf.Tensor:
    """Focal loss (Lin et al., ICCV 2017, eq. 5): -alpha_t (1 - p_t)^gamma log(p_t).

    Args:
        y_true: [..., C] targets, 0 or 1.
        y_pred: [..., C] logits of the scores.
        quality_logits: [..., 1], shared by the classes, where the score is a product of two sigmoids.
        alpha: weight of the positives; that of the negatives is 1 - alpha.
        gamma: strength of the modulating factor.

    Returns: float32 [..., C].
    """
    y_true, probability, cross_entropy = _scores(y_true, y_pred, quality_logits)
    balance = alpha * y_true + (1.0 - alpha) * (1.0 - y_true)
    return balance * modulating_factor(y_true, probability, gamma) * cross_entropy


def quality_focal_loss(
    y_true: tf.Tensor, y_pred: tf.Tensor, quality_logits: tf.Tensor | None = None, *, beta: float = 2.0
) -> tf.Tensor:
    """Quality Focal Loss (GFL, eq. 2): -|y - sigma|^beta ((1 - y) log(1 - sigma) + y log(sigma)).

    With `quality_logits` that of GFLv2's product score J = C x I (GFLv2, eq. 3 in GFL's eq. 2).

    Args:
        y_true: [..., C] quality targets in [0, 1]: the IoU at the object's class, 0 elsewhere.
        y_pred, quality_logits: see `focal_loss`.
        beta: strength of the modulating factor.

    Returns: float32 [..., C].
    """
    y_true, probability, cross_entropy = _scores(y_true, y_pred, quality_logits)
    return modulating_factor(y_true, probability, beta) * cross_entropy


def varifocal_loss(
    y_true: tf.Tensor,
    y_pred: tf.Tensor,
    quality_logits: tf.Tensor | None = None,
    *,
    alpha: float = 0.75,
    gamma: float = 2.0,
    iou_weighted: bool = True,
) -> tf.Tensor:
    """Varifocal Loss (VarifocalNet, eq. 2).

    Positives, q > 0: -q (q log(p) + (1 - q) log(1 - p)); negatives: -alpha p^gamma log(1 - p).

    Args:
        y_true: [..., C] IoU-aware targets q in [0, 1].
        y_pred, quality_logits: see `focal_loss`.
        alpha: weight of the negatives.
        gamma: strength of the negatives' modulating factor.
        iou_weighted: False leaves out the leading q of the positives (table 2 of the paper).

    Returns: float32 [..., C].
    """
    y_true, probability, cross_entropy = _scores(y_true, y_pred, quality_logits)
    positive_weight = y_true if iou_weighted else tf.ones_like(y_true)
    negative_weight = alpha * modulating_factor(0.0, probability, gamma)
    return tf.where(y_true > 0.0, positive_weight, negative_weight) * cross_entropy


def log_joint_score(class_logits: tf.Tensor, quality_logits: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """log J and log(1 - J) of the joint score J = sigmoid(class) * sigmoid(quality) (GFLv2, eq. 3).

    Exact to float32 rounding, and finite with finite gradients, where J itself rounds to 0 or 1.

    Args: float32 logits of broadcastable shapes.
    Returns: two float32 tensors of the broadcast shape.
    """
    log_score = tf.math.log_sigmoid(class_logits) + tf.math.log_sigmoid(quality_logits)
    # 1 - J = (e^-c + e^-q + e^-(c+q)) / ((1 + e^-c)(1 + e^-q)). The logarithm of this form is exact where J > 1/2;
    # where J is small it is a difference of large numbers, and log1p(-J) is the exact one.
    is_large = log_score > -0.6931472
    logits = (class_logits, quality_logits, class_logits + quality_logits)
    # Small J leaves this form's inputs at 0, so that the branch not taken has a harmless gradient.
    terms = [tf.where(is_large, -logit, 0.0) for logit in logits]  # all of the broadcast shape, as is_large
    log_complement_large = tf.reduce_logsumexp(tf.stack(terms, axis=0), axis=0) + log_score
    log_complement_small = tf.math.log1p(-tf.exp(tf.where(is_large, -1.0, log_score)))
    return log_score, tf.where(is_large, log_complement_large, log_complement_small)
