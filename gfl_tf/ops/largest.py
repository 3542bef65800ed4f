"""The largest of a few values, for many rows at once."""

import tensorflow as tf


def largest(values: tf.Tensor, k: int) -> tf.Tensor:
    """The k largest of the last axis, in descending order: the values of `tf.math.top_k`.

    For short rows: k * n comparisons of whole tensors. `tf.math.top_k` sorts row by row: the sides of an image of
    800x1344, 89,600 rows of 17, took it 38 ms on one CPU core where this takes 11; with gradients 53 ms and 37.

    Args:
        values: float [..., n], n static and at least k.

    Returns [..., k]. Equal values share their gradient, as those of `tf.reduce_max` do.
    """

    @tf.custom_gradient
    def of(values):
        top, last = [], values.shape.rank - 1
        for value in tf.unstack(tf.transpose(values, [last, *range(last)])):  # along the last axis it takes longer
            for place, other in enumerate(top):
                top[place], value = tf.maximum(other, value), tf.minimum(other, value)
            if len(top) < k:
                top.append(value)

        def gradient(upstream):
            # Through the comparisons it would take twice the time of `tf.math.top_k`.
            found = tf.zeros_like(values)
            for each, of_each in zip(top, tf.unstack(upstream, axis=-1)):
                is_it = tf.cast(values == each[..., tf.newaxis], values.dtype)
                found += is_it * (of_each / tf.reduce_sum(is_it, axis=-1))[..., tf.newaxis]
            return found

        return tf.stack(top, axis=-1), gradient

    return of(values)
