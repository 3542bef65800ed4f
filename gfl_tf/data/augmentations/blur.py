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
    summed, total = _convolve(image[None], weights), _convolve(tf.ones_like(image[None, ..., :1]), weights)
    return tf.ensure_shape((summed / total)[0], image.shape)


def _convolve(images, weights):
    """[1, h, w, c] summed along each axis with the weights [k]; zero outside."""
    channels = images.shape[-1]
    for shape in ([-1, 1, 1, 1], [1, -1, 1, 1]):
        kernel = tf.tile(tf.reshape(weights, shape), [1, 1, channels, 1])
        images = tf.nn.depthwise_conv2d(images, kernel, strides=[1, 1, 1, 1], padding="SAME")
    return images
