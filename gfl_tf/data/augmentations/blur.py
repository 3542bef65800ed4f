"""Gaussian blur.

One convolution of TensorFlow serves both stacks: tensorflow-addons' gaussian_filter2d makes it too, but takes no sigma
that is drawn inside a graph; Keras 3's gaussian_blur darkens the borders.
"""

import dataclasses
import math

import tensorflow as tf

from gfl_tf.data.augmentations.operation import Operation, between, check_range, check_shares, sometimes


@dataclasses.dataclass(frozen=True)
class Blur(Operation, name="blur", num_draws=2):
    """Blurs by a Gaussian whose standard deviation in pixels is drawn between two; boxes stay."""

    probability: float = 0.5
    sigma: tuple = (0.1, 2.0)

    def __post_init__(self):
        check_shares(self, "probability")
        check_range(self, "sigma", above=0)

    def __call__(self, sample, draws, frame):
        sigma, radius = between(self.sigma, draws[1]), math.ceil(3 * self.sigma[1])

        def change(sample):
            return sample._replace(image=blur(sample.image, sigma, radius))

        return sometimes(self.probability, draws[0], change, sample)


def blur(image, sigma, radius):
    """Each pixel becomes the mean of those up to `radius` away, weighted by a Gaussian; none outside the image counts.

    Args:
        image: float32 [h, w, 3].
        sigma: float scalar, in pixels.
        radius: int.
    """
    distance = tf.range(-radius, radius + 1, dtype=tf.float32)
    weights = tf.exp(-(distance**2) / (2.0 * sigma**2))
    for _ in ("rows", "columns"):
        image = tf.transpose(_mean_along_rows(image, weights), [1, 0, 2])
    return image


def _mean_along_rows(image, weights):
    """[h, w, 3], each pixel the mean of those above and below it with the weights [k].

    A row's values are the channels of one convolution: with 3 channels at each pixel it takes ten times as long.
    """
    height, width, channels = tf.unstack(tf.shape(image))
    kernel = tf.reshape(weights, [-1, 1, 1, 1])

    def summed(rows, kernel):
        return tf.nn.depthwise_conv2d(rows, kernel, strides=[1, 1, 1, 1], padding="SAME")

    sums = summed(tf.reshape(image, [1, height, 1, width * channels]), tf.tile(kernel, [1, 1, width * channels, 1]))
    total = summed(tf.ones([1, height, 1, 1]), kernel)
    return tf.ensure_shape(tf.reshape(sums / total, tf.shape(image)), image.shape)
