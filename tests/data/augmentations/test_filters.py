"""Equalize, sharpness and blur: by hand, in NumPy, as Pillow does it, and as tensorflow-addons does it."""

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image, ImageEnhance, ImageOps

from gfl_tf.data.augmentations import Frame, Sample, equalize
from gfl_tf.data.augmentations.blur import Blur, blur
from gfl_tf.data.augmentations.equalize import Equalize
from gfl_tf.data.augmentations.sharpness import Sharpness, sharpen

FRAME = Frame((1, 1), (1, 1), (0.0, 0.0, 0.0))
TINY = [(1, 1), (1, 7), (2, 3), (5, 2)]


def noise(height=24, width=31, low=0, high=256):
    return np.random.default_rng(height).integers(low, high, [height, width, 3]).astype(np.uint8)


def sample_of(image):
    return Sample(tf.constant(image, tf.float32), tf.constant([[1.0, 2, 3, 4]]), tf.constant([7.0]))


@pytest.fixture(params=["addons", "without"])
def source(request, monkeypatch):
    """With tensorflow-addons, where that is installed, and without it."""
    if request.param == "addons":
        assert equalize.addons_image() is pytest.importorskip("tensorflow_addons").image
    else:
        monkeypatch.setattr(equalize, "addons_image", lambda: None)


# Equalize


def test_equalize_by_hand(source):
    # 1024 pixels: 256 of value 10, 512 of 20, 256 of 200. A step is (1024 - 256) // 255 = 3 pixels; smaller ones are 0,
    # 256 and 768, in steps, rounded: 0, (256 + 1) // 3 = 85 and (768 + 1) // 3 = 256, which is cut to 255.
    values = np.repeat([10, 20, 200], [256, 512, 256]).reshape(32, 32)
    expected = np.repeat([0, 85, 255], [256, 512, 256]).reshape(32, 32)
    # One value alone, and too few pixels of any but the largest for a step: both stay.
    few = np.full([32, 32], 99)
    few[:7, :] = 3
    image = np.stack([values, np.full([32, 32], 77), few], axis=-1)
    found = Equalize(1.0)(sample_of(image), tf.constant([0.0]), FRAME)
    np.testing.assert_array_equal(found.image, np.stack([expected, image[..., 1], image[..., 2]], axis=-1))
    np.testing.assert_array_equal(found.boxes, [[1, 2, 3, 4]])
    np.testing.assert_array_equal(found.classes, [7])


@pytest.mark.parametrize("low, high", [(0, 256), (60, 90), (200, 256), (5, 6)])
def test_equalize_as_pillow(source, low, high):
    image = noise(60, 47, low, high)
    # Off the whole numbers, as after a resize.
    found = tf.function(equalize.equalize)(tf.constant(image, tf.float32) + 0.3)
    np.testing.assert_array_equal(found, np.asarray(ImageOps.equalize(Image.fromarray(image))))


# Sharpness


@pytest.mark.parametrize("factor", [0.0, 0.4, 1.0, 1.7, 2.0])
def test_sharpness_in_numpy(factor):
    image = noise().astype(np.float64)
    smooth = image.copy()
    rows, columns = image.shape[:2]
    smooth[1:-1, 1:-1] = sum(
        (5 if (dy, dx) == (1, 1) else 1) / 13 * image[dy : rows - 2 + dy, dx : columns - 2 + dx]
        for dy in range(3)
        for dx in range(3)
    )
    expected = np.clip(smooth + factor * (image - smooth), 0, 255)
    found = tf.function(sharpen)(tf.constant(image, tf.float32), tf.constant(factor))
    np.testing.assert_allclose(found, expected, atol=1e-3)
    # Pillow rounds the smoothed image and the result.
    enhanced = ImageEnhance.Sharpness(Image.fromarray(noise())).enhance(factor)
    np.testing.assert_allclose(found, np.asarray(enhanced, np.float32), atol=2.01)


def test_sharpness_draws():
    sample = sample_of(noise())
    found = Sharpness(0.5, (0.5, 1.5))(sample, tf.constant([0.2, 0.25]), FRAME)
    np.testing.assert_allclose(found.image, sharpen(sample.image, 0.75), atol=1e-3)
    np.testing.assert_array_equal(found.boxes, sample.boxes)
    same = Sharpness(0.5, (0.5, 1.5))(sample, tf.constant([0.5, 0.25]), FRAME)
    np.testing.assert_array_equal(same.image, sample.image)


# Blur


@pytest.mark.parametrize("sigma, radius", [(0.1, 1), (0.8, 3), (2.0, 6)])
def test_blur_in_numpy(sigma, radius):
    image = noise(9, 14).astype(np.float64)
    expected = np.zeros_like(image)
    for y in range(9):
        for x in range(14):
            dy, dx = np.arange(9) - y, np.arange(14) - x
            weights = np.exp(-(dy[:, None] ** 2 + dx**2) / (2 * sigma**2))
            weights *= (np.abs(dy)[:, None] <= radius) & (np.abs(dx) <= radius)
            expected[y, x] = np.tensordot(weights, image, 2) / weights.sum()
    np.testing.assert_allclose(blur(tf.constant(image, tf.float32), sigma, radius), expected, atol=1e-3)


def test_blur_draws():
    sample = sample_of(noise())
    found = Blur(0.5, (1.0, 2.0))(sample, tf.constant([0.2, 0.25]), FRAME)
    np.testing.assert_allclose(found.image, blur(sample.image, 1.25, 6), atol=1e-3)
    np.testing.assert_array_equal(found.boxes, sample.boxes)
    flat = Blur(1.0)(sample_of(np.full([40, 30, 3], 200.0)), tf.constant([0.0, 0.5]), FRAME)
    np.testing.assert_allclose(flat.image, 200, rtol=1e-5)


@pytest.mark.parametrize("hw", TINY)
def test_tiny_images(source, hw):
    sample = sample_of(noise(*hw))
    for operation in (Equalize(1.0), Sharpness(1.0), Blur(1.0)):
        found = tf.function(operation)(sample, tf.fill([operation.num_draws], 0.3), FRAME)
        assert found.image.shape == (*hw, 3)
        assert np.isfinite(found.image).all()
