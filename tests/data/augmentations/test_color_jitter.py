"""Brightness, contrast and saturation against hand-computed pixels."""

import numpy as np
import tensorflow as tf

from gfl_tf.data.augmentations.color_jitter import ColorJitter, jitter_colors
from gfl_tf.data.augmentations.operation import Frame, Sample


def test_colors_hand_computed():
    image = tf.constant([[[100.0, 50.0, 0.0], [0.0, 0.0, 200.0]]])
    luma = np.array([0.299 * 100 + 0.587 * 50, 0.114 * 200])
    np.testing.assert_allclose(jitter_colors(image, 1.0, 1.0, 1.0), image, atol=1e-4)
    np.testing.assert_allclose(jitter_colors(image, 0.5, 1.0, 1.0), image * 0.5, atol=1e-4)
    np.testing.assert_allclose(jitter_colors(image, 1.0, 0.0, 1.0), np.full([1, 2, 3], luma.mean()), atol=1e-4)
    grey = jitter_colors(image, 1.0, 1.0, 0.0)
    np.testing.assert_allclose(grey, np.repeat(luma[None, :, None], 3, axis=2), atol=1e-4)
    assert np.asarray(jitter_colors(image, 2.0, 1.0, 1.0)).max() == 255


def test_factors_lie_about_1():
    image = tf.constant([[[100.0, 50.0, 0.0], [0.0, 0.0, 200.0]]])
    sample = Sample(image, tf.zeros([0, 4]), tf.zeros([0]))
    jitter = ColorJitter(brightness=0.5, contrast=0.25, saturation=1.0)
    found = jitter(sample, tf.constant([0.0, 0.5, 0.75]), Frame((1, 1), (1, 1), (0, 0, 0)))
    np.testing.assert_allclose(found.image, jitter_colors(image, 0.5, 1.0, 1.5), atol=1e-4)
