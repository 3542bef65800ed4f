"""Encoded images to pixels in a graph that does not fail: a bad image gets a status that says why."""

import tensorflow as tf

from gfl_tf.data import image_formats

OK = "ok"


def decode(encoded, max_pixels, whose="that this model was exported for", other_formats=None):
    """Encoded JPEG, PNG, BMP or GIF (its first frame) -> (uint8 [h, w, 3] RGB, status).

    The pixels are those of `gfl_tf.data.images.decode_rgb`. The status is a string scalar: OK, or why there is no
    image; the image then is zeros [1, 1, 3]. No bytes make it raise. What follows the end of a JPEG is ignored.

    Args:
        encoded: string scalar.
        max_pixels: int; an image of more is refused for what its header says, before memory for them is taken.
        whose: what the status says of that limit.
        other_formats: function of the encoded bytes to (image, status) for what starts like none of the four; None:
            such bytes are no image.
    """

    def branch(known):
        def image_and_status(encoded):
            problem = _header_problem(known, encoded, max_pixels, whose)
            image = tf.cond(problem == "", lambda: known.decode(encoded), _no_image)
            return tf.ensure_shape(image, [None, None, 3]), tf.where(problem == "", OK, problem)

        # A graph cannot catch an operation's error; a data set of one element can drop the element that fails. What a
        # data set costs is making its function for every call: one for each format is smaller than one for all.
        broken = tf.strings.join([
            f"{known.name} image of ", _size_text(encoded), " cannot be decoded: it is truncated, corrupt or of a kind"
            " that TensorFlow does not decode",
        ])  # fmt: skip
        decoded = tf.data.Dataset.from_tensors(encoded).map(image_and_status).ignore_errors()
        fallback = tf.data.Dataset.from_tensors((_no_image(), broken))
        return decoded.concatenate(fallback).take(1).get_single_element()

    def unknown():
        text = tf.strings.join(["not a JPEG, PNG, BMP or GIF image (", _size_text(encoded), ")"])
        return _no_image(), tf.where(tf.strings.length(encoded) == 0, "empty (0 bytes)", text)

    other = unknown if other_formats is None else lambda: other_formats(encoded)
    return image_formats.switch_format(encoded, branch, other)


def _no_image():
    return tf.zeros([1, 1, 3], tf.uint8)


def _size_text(encoded):
    return tf.strings.join([tf.strings.as_string(tf.strings.length(encoded)), " bytes"])


def _header_problem(known, encoded, max_pixels, whose):
    """Why an image of the format `known` is not decoded for what its header says, "" if it is to be decoded."""
    header = known.header(encoded)
    height, width = header["height"], header["width"]
    sides = tf.strings.join([tf.strings.as_string(width), " x ", tf.strings.as_string(height)])
    size = f"{known.name} image of " + sides + " pixels (width x height)"
    too_many = size + f", more than the {max_pixels} {whose}"
    none = size + ": it is truncated or corrupt"
    by_size = tf.where((height < 1) | (width < 1), none, tf.where(height * width > max_pixels, too_many, ""))
    return tf.where(header["problem"] == "", by_size, header["problem"])
