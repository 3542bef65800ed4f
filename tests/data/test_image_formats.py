"""Pixels of BMP and GIF files as other libraries read them; what cannot be decoded raises."""

import io
import struct

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from gfl_tf.data import images

RNG = np.random.default_rng(0)
PIXELS = RNG.integers(0, 256, [12, 17, 3], np.uint8)
PALETTE = RNG.integers(0, 256, [256, 3], np.uint8)
INDICES = RNG.integers(0, 200, [12, 17], np.uint8)


def encoded(image, kind, **options):
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def with_palette(indices, colours=256):
    image = Image.fromarray(indices, "P")
    image.putpalette(PALETTE[:colours].tobytes())
    return image


def bmp(bits, rows, palette=b"", compression=0, top_down=False, masks=b"", behind=b""):
    """A BMP of rows (list of bytes, from the top)."""
    width = len(rows[0]) * 8 // bits
    pixels = b"".join(row + b"\xee" * (-len(row) % 4) for row in (rows if top_down else rows[::-1]))
    start = 54 + len(masks) + len(palette)
    height = -len(rows) if top_down else len(rows)
    info = struct.pack("<iiihhiiiiii", 40, width, height, 1, bits, compression, 0, 0, 0, len(palette) // 4, 0)
    return b"BM" + struct.pack("<ihhi", start + len(pixels), 0, 0, start) + info + masks + palette + pixels + behind


def rows_of(pixels):
    return [row.tobytes() for row in pixels]


BGR, BGRX = PIXELS[..., ::-1], np.concatenate([PIXELS[..., ::-1], PIXELS[..., :1]], -1)
BGRX_PALETTE = np.concatenate([PALETTE[:, ::-1], np.zeros([256, 1], np.uint8)], -1)
MASKS = struct.pack("<III", 0xFF0000, 0xFF00, 0xFF)
GREY = np.repeat(INDICES[..., np.newaxis], 3, -1)
BITMAPS = {
    "24 bits": (bmp(24, rows_of(BGR)), PIXELS),
    "32 bits": (bmp(32, rows_of(BGRX)), PIXELS),
    "32 bits with masks": (bmp(32, rows_of(BGRX), compression=3, masks=MASKS), PIXELS),
    "from top to bottom": (bmp(24, rows_of(BGR), top_down=True), PIXELS),
    "with a colour profile behind": (bmp(24, rows_of(BGR), behind=bytes(500)), PIXELS),
    "of Pillow, 32 bits": (encoded(Image.fromarray(BGRX, "RGBA"), "BMP"), BGR),
    "palette": (bmp(8, rows_of(INDICES), BGRX_PALETTE.tobytes()), PALETTE[INDICES]),
    "palette from top to bottom": (bmp(8, rows_of(INDICES), BGRX_PALETTE.tobytes(), top_down=True), PALETTE[INDICES]),
    "short palette": (bmp(8, rows_of(INDICES % 9), BGRX_PALETTE[:9].tobytes()), PALETTE[INDICES % 9]),
    "palette of Pillow": (encoded(with_palette(INDICES), "BMP"), PALETTE[INDICES]),
    "without a palette": (bmp(8, rows_of(INDICES)), GREY),
}


@pytest.mark.parametrize("name", BITMAPS)
def test_bmp(name):
    content, expected = BITMAPS[name]
    np.testing.assert_array_equal(images.decode_rgb(content), expected)


OTHER_MASKS = struct.pack("<III", 0xFF, 0xFF00, 0xFF0000)
WHOLE = bmp(24, rows_of(BGR))
BAD_BITMAPS = {
    "1 bits per pixel": bmp(1, rows_of(INDICES), bytes(8)),
    "4 bits per pixel": bmp(4, rows_of(INDICES), bytes(64)),
    "16 bits per pixel": bmp(16, rows_of(INDICES[:, :16])),
    "compression 1": bmp(8, rows_of(INDICES), bytes(1024), compression=1),
    "compression 3": bmp(32, rows_of(BGRX), compression=3, masks=OTHER_MASKS),
    "header of 12 bytes": b"BM" + struct.pack("<ihhiihhhh", 100, 0, 0, 26, 12, 2, 2, 1, 24) + bytes(64),
    "0 x 12 pixels": bmp(24, [b""] * 12),
    "2147483647 x 2147483648 pixels": WHOLE[:18] + struct.pack("<ii", 2**31 - 1, -(2**31)) + WHOLE[26:],
    "truncated": WHOLE[:-1],
}


@pytest.mark.parametrize("message", BAD_BITMAPS)
def test_bad_bmp_is_explained(message):
    with pytest.raises(tf.errors.InvalidArgumentError, match=message):
        images.decode_rgb(BAD_BITMAPS[message])


def gif(size, frames, extensions=b""):
    """A GIF with a screen of size (width, height) and frames of ((left, top), indices), each behind `extensions`."""
    content = b"GIF89a" + struct.pack("<HHBBB", *size, 0xF7, 0, 0) + PALETTE.tobytes()
    for (left, top), indices in frames:
        height, width = indices.shape
        # Codes of 9 bits are plain indices as long as a clear code (256) comes before the table is full.
        parts = np.split(indices.ravel().astype(int), range(200, indices.size, 200))
        codes = np.concatenate([np.r_[256, part] for part in parts])
        codes = np.r_[codes, 257]
        bits = (codes[:, np.newaxis] >> np.arange(9)) & 1
        data = np.packbits(bits.astype(np.uint8).ravel(), bitorder="little").tobytes()
        content += extensions + b"," + struct.pack("<HHHHB", left, top, width, height, 0) + b"\x08"
        content += b"".join(bytes([len(data[i : i + 255])]) + data[i : i + 255] for i in range(0, len(data), 255))
        content += b"\0"
    return content + b";"


LARGE = RNG.integers(0, 256, [40, 1000], np.uint8)  # data of many full sub-blocks


def test_gif_is_its_first_frame():
    comment = b"\x21\xfe\x05hello\x03you\0"
    for size, extensions in (((17, 12), b""), ((17, 12), comment * 3), ((0, 0), comment)):
        content = gif(size, [((0, 0), INDICES), ((0, 0), INDICES[::-1]), ((0, 0), LARGE)], extensions)
        np.testing.assert_array_equal(images.decode_rgb(content), PALETTE[INDICES])
    np.testing.assert_array_equal(images.decode_rgb(gif((1000, 40), [((0, 0), LARGE)] * 2)), PALETTE[LARGE])


@pytest.mark.parametrize("interlace", [0, 1])
def test_gif_of_pillow(interlace):
    indices = np.tile(INDICES, [9, 3])
    content = encoded(with_palette(indices), "GIF", interlace=interlace)
    np.testing.assert_array_equal(images.decode_rgb(content), PALETTE[indices])


def test_gif_frame_is_at_its_place_on_the_screen():
    expected = np.zeros([30, 25, 3], np.uint8)
    expected[4:16, 3:20] = PALETTE[INDICES]
    np.testing.assert_array_equal(images.decode_rgb(gif((25, 30), [((3, 4), INDICES)])), expected)
    # Beyond the screen's right side and not its lower one: the image grows to the right.
    expected = np.zeros([30, 27, 3], np.uint8)
    expected[4:16, 10:] = PALETTE[INDICES]
    np.testing.assert_array_equal(images.decode_rgb(gif((25, 30), [((10, 4), INDICES)])), expected)


@pytest.mark.parametrize("length", [1, 2, 3, 254])
def test_gif_with_short_sub_blocks(length):
    content = gif((1000, 40), [((0, 0), LARGE)])
    start = 13 + 768 + 11
    blocks = content[start:]
    data = b"".join(blocks[i + 1 : i + 1 + blocks[i]] for i in range(0, len(blocks) - 2, 256))
    parts = [data[i : i + length] for i in range(0, len(data), length)]
    content = content[:start] + b"".join(bytes([len(part)]) + part for part in parts) + b"\0;"
    np.testing.assert_array_equal(images.decode_rgb(content), PALETTE[LARGE])


def test_bad_gif_is_explained():
    content = gif((17, 12), [((0, 0), INDICES)])
    with pytest.raises(tf.errors.InvalidArgumentError, match="ends within its first frame"):
        images.decode_rgb(content[:-2])
    with pytest.raises(tf.errors.InvalidArgumentError, match="no frame follows its 0 extension blocks"):
        images.decode_rgb(content[:700])
    with pytest.raises(tf.errors.InvalidArgumentError, match="first frame is 17 x 0 pixels"):
        images.decode_rgb(gif((17, 12), [((0, 0), INDICES[:0])]))
    with pytest.raises(tf.errors.InvalidArgumentError, match="no frame follows its 100 extension blocks"):
        images.decode_rgb(gif((17, 12), [((0, 0), INDICES)], b"\x21\xfe\0" * 101))


def test_unknown_bytes_raise():
    for content in (b"", b"not an image"):
        with pytest.raises(tf.errors.InvalidArgumentError):
            images.decode_rgb(content)
