"""Image files to tensors, and the resizing that training, evaluation and serving share."""

import collections.abc
import contextlib
import functools
import mimetypes
import os
import pathlib
import re

import numpy as np
import tensorflow as tf
from absl import logging

from gfl_tf.data import headers, host_formats, image_formats
from gfl_tf.texts import first_ones

SUFFIXES = (".avif", ".bmp", ".gif", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp")
# Of EXIF's orientations 1 to 8: whether rows become columns, and which axes are reversed after it.
_TURNS = (
    (False, []), (False, [1]), (False, [0, 1]), (False, [0]), (True, []), (True, [1]), (True, [0, 1]), (True, [0]),
)  # fmt: skip
# What the message of a file that cannot be read starts and ends with. No quotes: an operation's error escapes them.
_MESSAGE_START = "Image file "
FILE_REMEDY = " Mend the file, or take it out of the annotations."
RECORD_REMEDY = " Call gfl-make-tfrecords again as before: it writes damaged shards alone."


def decode_rgb(encoded: tf.Tensor | bytes) -> tf.Tensor:
    """Encoded JPEG, PNG, BMP, GIF, WebP, TIFF or AVIF (its first frame) -> uint8 [h, w, 3] RGB.

    Grey images get three equal channels, of 16 bits the upper 8 are left, transparency is dropped, EXIF rotation is
    ignored (see `orient`). WebP, TIFF and AVIF are decoded by Python, outside of the graph: it cannot be exported.
    Raises InvalidArgumentError for anything else.
    """
    image = image_formats.switch_format(
        encoded, lambda known: known.decode(encoded), lambda: host_formats.decode(encoded)
    )
    return tf.ensure_shape(image, [None, None, 3])


def orient(image: tf.Tensor, orientation: tf.Tensor | int) -> tf.Tensor:
    """Stored pixels [h, w, 3] -> as EXIF's `orientation`, 1 to 8, shows them: [w, h, 3] from 5 on."""

    def turned(transposed, axes):
        result = tf.transpose(image, [1, 0, 2]) if transposed else tf.identity(image)
        return tf.reverse(result, axes) if axes else result

    return tf.switch_case(tf.cast(orientation, tf.int32) - 1, [functools.partial(turned, *turn) for turn in _TURNS])


def find_files(paths: collections.abc.Sequence[str | os.PathLike]) -> list[pathlib.Path]:
    """The files of a list of images and folders, those of a folder in the order of their names, none twice.

    Of a folder, all files are taken that are named like images, whether or not they can be read; see `other_files`.

    Raises:
        ValueError: a path that does not exist, or no image at all.
    """
    files = []
    for path in map(pathlib.Path, paths):
        if path.is_dir():
            files += [file for file in _files_of(path) if is_named_like_an_image(file.name)]
        elif path.is_file():
            files.append(path)
        else:
            raise ValueError(f"there is no image or folder {path}")
    if not files:
        raise ValueError(f"no image in {', '.join(map(str, paths)) or 'an empty list'}; wanted: {', '.join(SUFFIXES)}")
    return list(dict.fromkeys(files))


def other_files(paths: collections.abc.Sequence[str | os.PathLike]) -> list[pathlib.Path]:
    """The files of folders that `find_files` passes over, as they are not named like images; without hidden ones."""
    folders = [path for path in map(pathlib.Path, paths) if path.is_dir()]
    files = [file for folder in folders for file in _files_of(folder) if not file.name.startswith(".")]
    return [file for file in dict.fromkeys(files) if not is_named_like_an_image(file.name)]


def warn_of_other_files(names: collections.abc.Sequence[str]) -> None:
    """Warns of files that are passed over, as they are not named like images."""
    if names:
        listed = ", ".join(first_ones(names))
        logging.warning("%d files are not named like images and are passed over: %s", len(names), listed)


def _files_of(folder):
    return sorted(file for file in folder.iterdir() if file.is_file())


def is_named_like_an_image(name: str) -> bool:
    kind, _ = mimetypes.guess_type(name, strict=False)
    return pathlib.PurePath(name).suffix.lower() in SUFFIXES or (kind or "").startswith("image/")


def read_file(path: str | os.PathLike) -> np.ndarray:
    """`decode_rgb` of a file, as an array.

    Raises:
        ValueError: naming the file and why it cannot be read.
    """
    known = headers.read_header(path)
    try:
        return decode_rgb(tf.io.read_file(str(path))).numpy()
    except tf.errors.OpError as error:
        raise ValueError(f"{path} is cut short or damaged, or a kind of {known.format} that is not decoded") from error


def decode_named(
    encoded: tf.Tensor | tf.data.Dataset,
    name: tf.Tensor,
    expected_hw: tf.Tensor,
    orientation: tf.Tensor | int,
    remedy: str = FILE_REMEDY,
) -> tf.Tensor:
    """Encoded image -> uint8 [h, w, 3] RGB.

    Args:
        encoded: string scalar; or a data set of one, whose error counts as damage.
        name: string scalar for messages: where the image comes from.
        expected_hw: int32 [2], the height and width that the annotations have.
        orientation: EXIF's, 1 to 8, that the annotations were made in; see `orient`.
        remedy: `FILE_REMEDY` or `RECORD_REMEDY`.

    Raises:
        InvalidArgumentError: with the name: missing, damaged, or of another size. `named_errors` makes it one line.
    """

    def check(condition, message):
        text = tf.strings.join([_MESSAGE_START, name, *message, remedy])
        return tf.debugging.Assert(condition, [text], summarize=1)

    image, readable = _decode_or_empty(encoded)
    message = [" cannot be read: it is missing, cut short, damaged or of another format."]
    with tf.control_dependencies([check(readable, message)]):
        image = orient(image, orientation)
    found_hw = tf.shape(image)[:2]
    sizes = [_size_text(found_hw), " (height x width), but its annotations say ", _size_text(expected_hw), "."]
    same = tf.reduce_all(found_hw == tf.cast(expected_hw, tf.int32))
    with tf.control_dependencies([check(same, [" is ", *sizes])]):
        return tf.identity(image)


@contextlib.contextmanager
def named_errors(remedy: str) -> collections.abc.Iterator[None]:
    """A context in which the error of `decode_named` in a pipeline is raised as a ValueError of one line.

    Args:
        remedy: a further one, where the image is a file.

    Raises:
        ValueError: naming the file and what is wrong with it. All other errors pass.
    """
    try:
        yield
    except tf.errors.InvalidArgumentError as error:
        found = re.search(f"{_MESSAGE_START}.*?({re.escape(FILE_REMEDY)}|{re.escape(RECORD_REMEDY)})", str(error))
        if not found:
            raise
        text = re.sub(r"\\(['\"\\])", r"\1", found[0])
        raise ValueError(f"{text} {remedy}" if found[1] == FILE_REMEDY else text) from error


def _size_text(hw):
    return tf.strings.reduce_join(tf.strings.as_string(hw), separator=" x ")


def _decode_or_empty(encoded):
    """(uint8 [h, w, 3], True), or ([1, 1, 3] of zeros, False) for an image that cannot be read."""
    # A graph cannot catch an op's error, and the error of a decoding op does not name the file; a
    # data set of one element can drop the element that fails.
    decoded = encoded if isinstance(encoded, tf.data.Dataset) else tf.data.Dataset.from_tensors(encoded)
    decoded = decoded.map(lambda content: (decode_rgb(content), True))
    fallback = tf.data.Dataset.from_tensors((tf.zeros([1, 1, 3], tf.uint8), False))
    return decoded.ignore_errors().concatenate(fallback).take(1).get_single_element()


def keep_ratio_size(
    hw: tf.Tensor | tuple[int, int], scale: tf.Tensor | tuple[int, int], within: tuple[int, int] | None = None
) -> tf.Tensor:
    """Height and width after a keep-ratio resize.

    The factor is the largest one for which the long side is at most max(scale) and the short side
    at most min(scale); a side becomes int(side * factor + 0.5), in float64.

    Args:
        hw: [2], height and width in pixels.
        scale: [2], the two limits in pixels, in any order.
        within: the most that height and width may be, besides; None: all that `scale` lets them.

    Returns:
        int32 [2].
    """
    hw = tf.cast(hw, tf.float64)
    scale = tf.cast(scale, tf.float64)
    factor = tf.minimum(tf.reduce_max(scale) / tf.reduce_max(hw), tf.reduce_min(scale) / tf.reduce_min(hw))
    if within is not None:
        factor = tf.minimum(factor, tf.reduce_min(tf.constant(within, tf.float64) / hw))
    return tf.maximum(tf.cast(hw * factor + 0.5, tf.int32), 1)


def resize(image: tf.Tensor | np.ndarray, size: tf.Tensor | tuple[int, int]) -> tf.Tensor:
    """[h, w, 3] or [B, h, w, 3] of any number type -> float32 [*size, 3] or [B, *size, 3], bilinear.

    Half-pixel centres, no antialiasing, not rounded.
    """
    resized = tf.image.resize(image, size, method="bilinear", antialias=False)
    return tf.ensure_shape(tf.cast(resized, tf.float32), [*image.shape[:-3], None, None, 3])


def resize_keep_ratio(
    image: tf.Tensor | np.ndarray, scale: tf.Tensor | tuple[int, int], within: tuple[int, int] | None = None
) -> tf.Tensor:
    """`resize` to `keep_ratio_size`. Same value range."""
    return resize(image, keep_ratio_size(tf.shape(image)[-3:-1], scale, within))


def pad_batch(images: tf.Tensor, canvas: tuple[int, int], pad_value: tuple[float, ...]) -> tf.Tensor:
    """float32 [B, h, w, 3] -> [B, *canvas, 3] of `pad_value` with the images at the top left."""
    shape = tf.shape(images)[1:3]
    below, right = tf.unstack(tf.constant(canvas) - shape)
    padded = tf.ensure_shape(tf.pad(images, [[0, 0], [0, below], [0, right], [0, 0]]), [None, *canvas, 3])
    return fill_outside(padded, shape, pad_value)


def fill_outside(images: tf.Tensor, shape: tf.Tensor, pad_value: tuple[float, ...]) -> tf.Tensor:
    """float32 [B, H, W, 3], H and W static: `images` with `pad_value` below and right of `shape`, int32 [2]."""
    rows = tf.range(images.shape[1])[:, tf.newaxis, tf.newaxis] < shape[0]
    columns = tf.range(images.shape[2])[:, tf.newaxis] < shape[1]
    return tf.where(rows & columns, tf.cast(images, tf.float32), tf.constant(pad_value, tf.float32))


def pad_to_canvas(
    image: tf.Tensor,
    canvas: tf.Tensor | tuple[int, int],
    pad_value: tuple[float, ...] = (0.0, 0.0, 0.0),
    start: tf.Tensor | tuple[int, int] = (0, 0),
) -> tf.Tensor:
    """float32 [h, w, 3] -> [*canvas, 3] of `pad_value` with the image at `start` (y, x)."""
    height, width = tf.unstack(tf.shape(image)[:2])
    fill = tf.constant(pad_value, tf.float32)

    def block(rows, columns):
        return tf.broadcast_to(fill, [rows, columns, 3])

    def beside():
        right = canvas[1] - start[1] - width
        return tf.concat([block(height, start[1]), image, block(height, right)], axis=1)

    # Without blocks a concatenation would still copy the image.
    rows = tf.cond(width == canvas[1], lambda: image, beside)

    def between():
        bottom = canvas[0] - start[0] - height
        return tf.concat([block(start[0], canvas[1]), rows, block(bottom, canvas[1])], axis=0)

    return tf.cond(height == canvas[0], lambda: rows, between)
