"""What the headers of image files say. Nothing is decoded, so that this is quick for thousands of files."""

import os
import typing

from PIL import ExifTags, Image

from gfl_tf.data import host_formats, image_formats

FORMATS = (*(known.name for known in image_formats.FORMATS), *host_formats.FORMATS)
_USUAL_MODES = ("1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "I;16", "I;16B")  # Pillow's, of TIFF files
_END_MARKS = {"JPEG": b"\xff\xd9", "PNG": b"IEND\xaeB`\x82"}


class Header(typing.NamedTuple):
    """What the header of an image file says.

    Attributes:
        format: one of `FORMATS`, whatever the file is called.
        height, width: of the stored pixels; of a TIFF as its orientation says, which its decoding applies.
        bits: of a channel.
        orientation: of EXIF, 1 to 8; 1 where there is none, and of TIFF.
        looks_whole: whether header and end are those of a whole file that can be decoded. If not, decoding tells: the
            file may be cut short, have something behind the image, be of a format whose end does not show (BMP, GIF,
            AVIF) or be a rare kind of TIFF.
    """

    format: str
    height: int
    width: int
    bits: int
    orientation: int
    looks_whole: bool


def read_header(path: str | os.PathLike) -> Header:
    """The `Header` of an image file.

    Raises:
        ValueError: naming the file, which cannot be opened, is empty, of another format, or damaged.
    """
    try:
        file = open(path, "rb")
    except OSError as error:
        raise ValueError(f"{path} cannot be opened: {error.strerror}") from error
    with file:
        return header_of(file, str(path))


def header_of(file: typing.BinaryIO, name: str) -> Header:
    """The `Header` of an open file, or of bytes in memory, from its start on; `name` is for messages.

    Raises:
        ValueError: naming the file, which is empty, of another format, or damaged.
    """
    if not _size(file):
        raise ValueError(f"{name} is empty")
    try:
        return _read(file)
    except Image.DecompressionBombError as error:
        raise ValueError(f"{name} has more pixels than can be decoded: {error}") from error
    except Exception as error:  # of damaged bytes Pillow raises nearly anything
        raise ValueError(f"{name} is no {', '.join(FORMATS)}, or is damaged") from error


def _size(file):
    """Bytes; leaves the file at its start."""
    size = file.seek(0, os.SEEK_END)
    file.seek(0)
    return size


def _read(file):
    with Image.open(file, formats=FORMATS) as image:
        name = "JPEG" if image.format == "MPO" else image.format  # several JPEGs in a file, of which the first counts
        return Header(
            format=name,
            height=image.height,
            width=image.width,
            bits=_bits(image, file),
            orientation=1 if name == "TIFF" else _exif_orientation(image),
            looks_whole=_looks_whole(image, name, file),
        )


def _bits(image, file):
    if image.format == "PNG":
        file.seek(24)  # Pillow does not tell it
        return file.read(1)[0]
    return max(image.tag_v2.get(ExifTags.Base.BitsPerSample, (1,))) if image.format == "TIFF" else 8


def _exif_orientation(image):
    try:
        # Not the method of PNG's own class: it decodes the image, in case EXIF follows the pixels.
        orientation = Image.Image.getexif(image).get(ExifTags.Base.Orientation, 1)
    except Exception:  # EXIF that cannot be read is as good as none, and Pillow raises nearly anything
        return 1
    return orientation if orientation in range(1, 9) else 1


def _looks_whole(image, name, file):
    if name in _END_MARKS:
        file.seek(-len(_END_MARKS[name]), os.SEEK_END)
        return file.read() == _END_MARKS[name]
    if name == "TIFF":
        return image.mode in _USUAL_MODES and 0 < _end_of_tiff(image.tag_v2) <= _size(file)
    return name == "WEBP"  # Pillow refuses those that are cut short


def _end_of_tiff(tags):
    """Where the last strip or tile of pixels ends, in bytes; 0 where the file does not say."""
    base = ExifTags.Base
    parts = [(base.StripOffsets, base.StripByteCounts), (base.TileOffsets, base.TileByteCounts)]
    ends = [sum(part) for offsets, counts in parts for part in zip(tags.get(offsets, ()), tags.get(counts, ()))]
    return max(ends, default=0)
