"""Headers of image files: format, size, bits, orientation, and whether the end is there."""

import io
import struct

import numpy as np
import pytest
from PIL import Image

from gfl_tf.data import headers

PIXELS = np.random.default_rng(0).integers(0, 256, (12, 17, 3), np.uint8)


def encode(image, kind, **options):
    content = io.BytesIO()
    image.save(content, kind, **options)
    return content.getvalue()


def exif(orientation):
    data = Image.Exif()
    data[0x0112] = orientation
    return data


@pytest.mark.parametrize("kind", headers.FORMATS)
def test_format_and_size_whatever_the_name(kind, tmp_path):
    (tmp_path / "a.jpg").write_bytes(encode(Image.fromarray(PIXELS), kind))
    found = headers.read_header(tmp_path / "a.jpg")
    assert found == (kind, 12, 17, 8, 1, kind not in ("BMP", "GIF", "AVIF"))


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "AVIF"])
@pytest.mark.parametrize("orientation", [1, 3, 6, 9])
def test_orientation(kind, orientation, tmp_path):
    (tmp_path / "a").write_bytes(encode(Image.fromarray(PIXELS), kind, exif=exif(orientation)))
    found = headers.read_header(tmp_path / "a")
    assert (found.height, found.width) == (12, 17)
    assert found.orientation == (orientation if orientation <= 8 else 1)


def test_exif_that_cannot_be_read_is_none(tmp_path):
    (tmp_path / "a").write_bytes(encode(Image.fromarray(PIXELS), "JPEG", exif=b"Exif\0\0MM\0\0garbage"))
    assert headers.read_header(tmp_path / "a").orientation == 1


@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_bits(kind, tmp_path):
    (tmp_path / "a").write_bytes(encode(Image.fromarray(PIXELS[..., 0].astype(np.uint16)), kind))
    assert headers.read_header(tmp_path / "a").bits == 16


@pytest.mark.parametrize("cut", [1, 3, 40, 200])
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "TIFF"])
def test_a_file_that_ends_early_is_seen(kind, cut, tmp_path):
    (tmp_path / "a").write_bytes(encode(Image.fromarray(PIXELS), kind)[:-cut])
    assert not headers.read_header(tmp_path / "a").looks_whole


def test_what_follows_an_image_hides_its_end(tmp_path):
    (tmp_path / "a").write_bytes(encode(Image.fromarray(PIXELS), "JPEG") + bytes(9))
    assert not headers.read_header(tmp_path / "a").looks_whole


@pytest.mark.parametrize(
    "content, words",
    [
        (b"", "is empty"),
        (b"<html>not found</html>", "is no JPEG, PNG, BMP, GIF, WEBP, TIFF, AVIF, or is damaged"),
        (encode(Image.fromarray(PIXELS), "PNG")[:20], "or is damaged"),
        *((encode(Image.fromarray(PIXELS), "WEBP")[:-cut], "or is damaged") for cut in (1, 3, 40, 200)),
        (encode(Image.fromarray(PIXELS), "ICO"), "is no JPEG"),
        (None, "cannot be opened: No such file"),
        (b"BM" + struct.pack("<IIIIiiHHIIiiII", 0, 0, 54, 40, 30000, 30000, 1, 24, 0, 0, 0, 0, 0, 0), "more pixels"),
    ],
)
def test_what_is_wrong_is_named(content, words, tmp_path):
    path = tmp_path / "a.jpg"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ValueError, match=words) as error:
        headers.read_header(path)
    assert str(error.value).startswith(str(path)) and "\n" not in str(error.value)
