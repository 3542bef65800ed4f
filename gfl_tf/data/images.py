"""Image files to tensors, and the resizing that training, evaluation and serving share."""

import collections.abc
import os
import pathlib

import numpy as np
import tensorflow as tf

from gfl_tf.data import image_formats

SUFFIXES = (".bmp", ".gif", ".jpeg", ".jpg", ".png")


def decode_rgb(encoded: tf.Tensor | bytes) -> tf.Tensor:
    """Encoded JPEG, PNG, BMP or GIF (its first frame) -> uint8 [h, w, 3] RGB.

    Grey images get three equal channels, of 16 bits the upper 8 are left, transparency is dropped, EXIF rotation is
    ignored (COCO's boxes belong to the stored pixels). Raises InvalidArgumentError for anything else.
    """

    def unknown():
        return tf.io.decode_png(encoded, channels=3)  # an operation that says that it does not know these bytes

    image = image_formats.switch_format(encoded, lambda known: known.decode(encoded), unknown)
    return tf.ensure_shape(image, [None, None, 3])


def find_files(paths: collections.abc.Sequence[str | os.PathLike]) -> list[pathlib.Path]:
    """The files of a list of images and folders, those of a folder in the order of their names, none twice.

    Raises:
        ValueError: a path that does not exist, or no image at all.
    """
    files = []
    for path in map(pathlib.Path, paths):
        if path.is_dir():
            files += sorted(file for file in path.iterdir() if file.suffix.lower() in SUFFIXES and file.is_file())
        elif path.is_file():
            files.append(path)
        else:
            raise ValueError(f"there is no image or folder {path}")
    if not files:
        raise ValueError(f"no image in {', '.join(map(str, paths)) or 'an empty list'}; wanted: {', '.join(SUFFIXES)}")
    return list(dict.fromkeys(files))


def read_file(path: str | os.PathLike) -> np.ndarray:
    """`decode_rgb` of a file, as an array.

    Raises:
        ValueError: naming the file: missing, cut short, or not JPEG, PNG, BMP or GIF.
    """
    try:
        return decode_rgb(tf.io.read_file(str(path))).numpy()
    except tf.errors.OpError as error:
        raise ValueError(f"{path} cannot be read: missing, cut short, or not JPEG, PNG, BMP or GIF") from error


def read_rgb(path: tf.Tensor, expected_hw: tf.Tensor) -> tf.Tensor:
    """Image file -> uint8 [h, w, 3] RGB.

    Args:
        path: string scalar.
        expected_hw: int32 [2], the height and width that the annotations have.

    Raises:
        InvalidArgumentError: naming the file: missing, corrupt, or of another size.
    """
    image, readable = _decode_or_empty(path)
    message = tf.strings.join(
        [
            "Image file '",
            path,
            "' cannot be read: it is missing, cut short, or not JPEG, PNG, BMP or"
            ' GIF. Repair or remove it, or load the data set with on_bad_image="skip".',
        ]
    )
    with tf.control_dependencies([tf.debugging.Assert(readable, [message], summarize=1)]):
        found_hw = tf.shape(image)[:2]
    message = tf.strings.join(
        [
            "Image file '",
            path,
            "' is ",
            _size_text(found_hw),
            " (height x width), but its annotations say ",
            _size_text(expected_hw),
            '. Correct the annotation file (EXIF rotation is ignored), or load the data set with on_bad_image="skip".',
        ]
    )
    same = tf.reduce_all(found_hw == tf.cast(expected_hw, tf.int32))
    with tf.control_dependencies([tf.debugging.Assert(same, [message], summarize=1)]):
        return tf.identity(image)


def _size_text(hw):
    return tf.strings.reduce_join(tf.strings.as_string(hw), separator=" x ")


def _decode_or_empty(path):
    """(uint8 [h, w, 3], True), or ([1, 1, 3] of zeros, False) for a file that cannot be read."""
    # A graph cannot catch an op's error, and the error of a decoding op does not name the file; a
    # data set of one element can drop the element that fails.
    decoded = tf.data.Dataset.from_tensors(path)
    decoded = decoded.map(lambda name: (decode_rgb(tf.io.read_file(name)), True))
    fallback = tf.data.Dataset.from_tensors((tf.zeros([1, 1, 3], tf.uint8), False))
    return decoded.ignore_errors().concatenate(fallback).take(1).get_single_element()


def find_unreadable(
    paths: collections.abc.Sequence[str], sizes: collections.abc.Sequence[tuple[int, int]]
) -> list[str]:
    """The paths among `paths` that do not decode to their (height, width) in `sizes`."""
    if not paths:
        return []

    def is_good(path, hw):
        image, readable = _decode_or_empty(path)
        return readable & tf.reduce_all(tf.shape(image)[:2] == hw)

    dataset = tf.data.Dataset.from_tensor_slices((list(paths), np.asarray(sizes, np.int32)))
    good = dataset.map(is_good, num_parallel_calls=tf.data.AUTOTUNE).as_numpy_iterator()
    return [path for path, is_readable in zip(paths, good) if not is_readable]


def keep_ratio_size(hw: tf.Tensor | tuple[int, int], scale: tf.Tensor | tuple[int, int]) -> tf.Tensor:
    """Height and width after a keep-ratio resize.

    The factor is the largest one for which the long side is at most max(scale) and the short side
    at most min(scale); a side becomes int(side * factor + 0.5), in float64.

    Args:
        hw: [2], height and width in pixels.
        scale: [2], the two limits in pixels, in any order.

    Returns:
        int32 [2].
    """
    hw = tf.cast(hw, tf.float64)
    scale = tf.cast(scale, tf.float64)
    factor = tf.minimum(tf.reduce_max(scale) / tf.reduce_max(hw), tf.reduce_min(scale) / tf.reduce_min(hw))
    return tf.maximum(tf.cast(hw * factor + 0.5, tf.int32), 1)


def resize(image: tf.Tensor | np.ndarray, size: tf.Tensor | tuple[int, int]) -> tf.Tensor:
    """[h, w, 3] or [B, h, w, 3] of any number type -> float32 [*size, 3] or [B, *size, 3], bilinear.

    Half-pixel centres, no antialiasing, not rounded.
    """
    resized = tf.image.resize(image, size, method="bilinear", antialias=False)
    return tf.ensure_shape(tf.cast(resized, tf.float32), [*image.shape[:-3], None, None, 3])


def resize_keep_ratio(image: tf.Tensor | np.ndarray, scale: tf.Tensor | tuple[int, int]) -> tf.Tensor:
    """`resize` to `keep_ratio_size`. Same value range."""
    return resize(image, keep_ratio_size(tf.shape(image)[-3:-1], scale))


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

    right = canvas[1] - start[1] - width
    row = tf.concat([block(height, start[1]), image, block(height, right)], axis=1)
    bottom = canvas[0] - start[0] - height
    return tf.concat([block(start[0], canvas[1]), row, block(bottom, canvas[1])], axis=0)
