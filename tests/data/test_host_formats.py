"""WebP, TIFF and AVIF give the RGB that the other formats' rules ask for."""

import io

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from gfl_tf.data import images

RNG = np.random.default_rng(0)
PIXELS = RNG.integers(0, 256, (12, 17, 3), np.uint8)
GREY = PIXELS[..., 0]
INDICES = RNG.integers(0, 4, (12, 17), np.uint8)
PALETTE = np.uint8([[10, 20, 30], [200, 100, 0], [0, 255, 9], [77, 77, 77]])
DEEP = RNG.integers(0, 2**16, (12, 17), np.uint16)


def encode(image, kind="TIFF", **options):
    content = io.BytesIO()
    image.save(content, kind, **options)
    return content.getvalue()


def palette_image():
    image = Image.fromarray(INDICES, "P")
    image.putpalette(PALETTE.tobytes())
    return image


def with_alpha(pixels):
    return Image.fromarray(np.concatenate([pixels, RNG.integers(0, 256, (12, 17, 1), np.uint8)], -1))


def cmyk_image():
    return Image.merge("CMYK", [*Image.fromarray(255 - PIXELS).split(), Image.new("L", (17, 12))])


LOSSLESS = {
    "WebP": (encode(Image.fromarray(PIXELS), "WEBP", lossless=True), PIXELS),
    "WebP with alpha": (encode(with_alpha(PIXELS), "WEBP", lossless=True, exact=True), PIXELS),
    "TIFF": (encode(Image.fromarray(PIXELS)), PIXELS),
    "TIFF, compressed": (encode(Image.fromarray(PIXELS), compression="tiff_lzw"), PIXELS),
    "TIFF with alpha": (encode(with_alpha(PIXELS)), PIXELS),
    "TIFF, grey": (encode(Image.fromarray(GREY)), np.stack([GREY] * 3, -1)),
    "TIFF, palette": (encode(palette_image()), PALETTE[INDICES]),
    "TIFF, CMYK": (encode(cmyk_image()), PIXELS),
    "TIFF, 16 bits": (encode(Image.fromarray(DEEP)), np.stack([DEEP >> 8] * 3, -1)),
    "TIFF, pages": (encode(Image.fromarray(PIXELS), save_all=True, append_images=[Image.fromarray(GREY)]), PIXELS),
    "TIFF, on its side": (encode(Image.fromarray(PIXELS), tiffinfo={274: 6}), np.rot90(PIXELS, -1)),
}  # fmt: skip


@pytest.mark.parametrize("name", LOSSLESS)
def test_rgb(name):
    content, expected = LOSSLESS[name]
    np.testing.assert_array_equal(images.decode_rgb(content), expected)


@pytest.mark.parametrize("kind", ["WEBP", "AVIF"])
def test_lossy_and_first_frame(kind):
    smooth = np.broadcast_to(np.arange(0, 160, 10, dtype=np.uint8)[:, None, None], [16, 24, 3])
    first, second = Image.fromarray(np.ascontiguousarray(smooth)), Image.new("RGB", (24, 16), "red")
    for options in ({}, {"save_all": True, "append_images": [second]}):
        decoded = images.decode_rgb(encode(first, kind, quality=95, **options))
        assert np.abs(np.int32(decoded) - smooth).max() <= 6


def test_in_a_pipeline_beside_others(tmp_path):
    contents = [encode(Image.fromarray(PIXELS), kind) for kind in ("PNG", "TIFF", "BMP")]
    for image in tf.data.Dataset.from_tensor_slices(contents).map(images.decode_rgb, num_parallel_calls=2):
        np.testing.assert_array_equal(image, PIXELS)


@pytest.mark.parametrize(
    "content, words",
    [
        (b"no image", "8 bytes are no WEBP, TIFF, AVIF"),
        (encode(Image.fromarray(PIXELS), "WEBP")[:-30], "bytes are no"),
        (encode(Image.fromarray(PIXELS), "AVIF")[:-30], "bytes are no"),
        (encode(Image.fromarray(np.float32(GREY))), "TIFF of 32 bits"),
    ],
)
def test_what_cannot_be_decoded(content, words):
    with pytest.raises(tf.errors.InvalidArgumentError, match=words):
        images.decode_rgb(content)
