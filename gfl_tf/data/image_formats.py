"""Bytes of JPEG, PNG, BMP and GIF files to what their headers say and to pixels, in the graph.

TensorFlow's own operations give a BMP's indices into its palette for colours, and decode every frame of a GIF where one
is wanted. Numbers of headers are int64 scalars, so that products of two do not overflow. Headers are read as if zeros
followed the end of the file. A "problem" is a string scalar that says why there is no image, "" where there is one.
"""

import functools
import typing

import tensorflow as tf

_MOST_JPEG_SCANS = 100  # programs write some ten; each takes a pass over all pixels, and a scan may have 20 bytes
_IHDR = int.from_bytes(b"IHDR", "big")  # the name of a PNG's first chunk
_USUAL_BMP_MASKS = (0xFF0000, 0xFF00, 0xFF)
_MOST_GIF_EXTENSIONS = 100  # in front of the first frame: files have a few, and each costs a turn of a loop
_GIF_WINDOW = 1024  # bytes in which one turn looks for lengths


def switch_format(encoded, branch, default):
    """What `branch(format)` returns for an encoded image, format being the one of `FORMATS` that it starts like.

    Args:
        encoded: string scalar.
        branch: function of an `ImageFormat`.
        default: function without arguments, for anything else.
    """
    found = [tf.strings.substr(encoded, 0, len(known.start)) == known.start for known in FORMATS]
    index = tf.argmax(tf.stack([*found, True]), output_type=tf.int32)
    return tf.switch_case(index, [functools.partial(branch, known) for known in FORMATS], default)


def jpeg_header(encoded):
    """A dict of what an encoded JPEG says: "height", "width", "problem". InvalidArgumentError if that is corrupt."""
    height, width, _ = tf.unstack(tf.cast(tf.ensure_shape(tf.io.extract_jpeg_shape(encoded), [3]), tf.int64))
    scans = _number_of_scans(encoded)
    too_many = tf.strings.join(["JPEG image of ", _text(scans), f" scans, more than {_MOST_JPEG_SCANS}"])
    return {"height": height, "width": width, "problem": tf.where(scans > _MOST_JPEG_SCANS, too_many, "")}


def _number_of_scans(encoded):
    """How often there is a start of scan: its marker, FF DA, and a length, 00 and 6 + 2 n, that fits its n components.

    Chance makes these five bytes once in some 250 GB, so not in what follows an image, such as a film.
    """
    behind_markers = tf.strings.split(encoded, b"\xff\xda")[1:]
    starts = [bytes([0, 6 + 2 * components, components]) for components in (1, 2, 3, 4)]
    return tf.math.count_nonzero(tf.strings.substr(behind_markers, 0, 3)[:, tf.newaxis] == starts)


def decode_jpeg(encoded):
    """Encoded JPEG -> uint8 [h, w, 3] RGB. InvalidArgumentError if truncated or corrupt."""
    # The accurate transform is what other libraries use; TensorFlow's default differs by some grey levels.
    return tf.io.decode_jpeg(encoded, channels=3, dct_method="INTEGER_ACCURATE")


def png_header(encoded):
    """A dict of what an encoded PNG says: "height", "width", "problem"."""
    words = tf.cast(tf.io.decode_raw(encoded, tf.int32, little_endian=False, fixed_length=24), tf.int64)
    size = tf.strings.length(encoded)
    # TensorFlow decodes files with a chunk of another name in front of the one that tells the size.
    broken = tf.strings.join([
        "PNG image of ", _text(size), " bytes is truncated or corrupt: it does not start with its header",
    ])  # fmt: skip
    return {"height": words[5], "width": words[4], "problem": tf.where(words[3] == _IHDR, "", broken)}


def decode_png(encoded):
    """Encoded PNG -> uint8 [h, w, 3] RGB, of 16 bits the upper 8. InvalidArgumentError if truncated or corrupt."""
    return tf.io.decode_png(encoded, channels=3)


def bmp_header(encoded):
    """A dict of what an encoded BMP's header says.

    "height", "width", "problem"; "bits" per pixel; "palette" and "pixels", the bytes where they start; "colours", how
    many the palette has; "row", the bytes of a row of pixels with its padding.
    """
    words = tf.io.decode_raw(tf.strings.substr(encoded, 2, 64), tf.int32, fixed_length=64)
    words = tf.cast(words, tf.int64)
    pixels, header_size, width, height, bits, compression = tf.unstack(words[2:8])
    bits //= 2**16
    header = {
        "height": tf.abs(height),  # negative where the rows go from top to bottom
        "width": width,
        "bits": bits,
        "row": (bits * width + 31) // 32 * 4,
        "pixels": pixels,
        "palette": 14 + header_size,
        "colours": tf.clip_by_value((pixels - 14 - header_size) // 4, 0, 256),
    }
    # Masks in another order would need shifts.
    usual_masks = tf.reduce_all(words[13:16] == _USUAL_BMP_MASKS)
    uncompressed = (compression == 0) | ((compression == 3) & (bits == 32) & usual_masks)
    known = (header_size >= 40) & uncompressed & ((bits == 8) | (bits == 24) | (bits == 32))
    unknown = tf.strings.join([
        "BMP image with a header of ", _text(header_size), " bytes, ", _text(bits), " bits per pixel and compression ",
        _text(compression), ": only uncompressed 8, 24 and 32 bits with a header of 40 bytes or more can be decoded",
    ])  # fmt: skip
    size = tf.strings.length(encoded)
    rows_there = (tf.cast(size, tf.int64) - pixels) // tf.maximum(header["row"], 1)  # a product could overflow
    whole = (pixels >= header["palette"]) & (header["height"] <= rows_there) & (width > 0) & (height != 0)
    broken = tf.strings.join([
        "BMP image of ", _text(size), " bytes is truncated or corrupt: its header says ", _text(width), " x ",
        _text(header["height"]), " pixels from byte ", _text(pixels), " on",
    ])  # fmt: skip
    header["problem"] = tf.where(known | (size < 54), tf.where(whole, "", broken), unknown)
    return header


def decode_bmp(encoded):
    """Encoded BMP, uncompressed of 8 (palette), 24 or 32 bits -> uint8 [h, w, 3] RGB. InvalidArgumentError if not."""
    header = bmp_header(encoded)
    check = tf.debugging.Assert(header["problem"] == "", [header["problem"]])
    with tf.control_dependencies([check]):
        end = tf.cast(header["pixels"] + header["row"] * header["height"], tf.int32)
    # TensorFlow's operation refuses files with anything behind the pixels.
    stored = tf.io.decode_bmp(tf.strings.substr(encoded, 0, end))

    def palette_colours():
        start, number = tf.cast(header["palette"], tf.int32), tf.cast(header["colours"], tf.int32)
        palette = tf.io.decode_raw(tf.strings.substr(encoded, start, 4 * number), tf.uint8)
        # An index without a colour is a shade of grey.
        grey = tf.cast(tf.tile(tf.range(256)[:, tf.newaxis], [1, 4]), tf.uint8)
        palette = tf.concat([tf.reshape(palette, [-1, 4]), grey[number:]], 0)
        return tf.gather(palette[:, 2::-1], tf.cast(stored[..., 0], tf.int32))

    return tf.cond(header["bits"] == 8, palette_colours, lambda: stored[..., :3])


def gif_header(encoded):
    """A dict of what an encoded GIF says about its first frame.

    "height" and "width" of the image: of the screen, or more where the frame reaches beyond it; "problem"; "top",
    "left", "frame_height", "frame_width"; "blocks" and "frame", the bytes where the first block and the frame start;
    "data", the file as uint8 with zeros behind it.
    """
    size = tf.strings.length(encoded)
    # More zeros than a sub-block has bytes: each chain of sub-blocks that starts in the file ends in the data.
    data = tf.io.decode_raw(encoded, tf.uint8, fixed_length=size + 512)
    blocks = 13 + _palette_size(data[10])

    def is_extension(position, _):
        return data[tf.minimum(position, size)] == 0x21

    def skip(position, number):
        return _end_of_sub_blocks(data, position + 2), number + 1

    frame, extensions = tf.while_loop(is_extension, skip, (blocks, 0), maximum_iterations=_MOST_GIF_EXTENSIONS)
    frame = tf.minimum(frame, size)
    left, top, width, height = tf.unstack(_uint16(data, frame + 1, 4))
    screen_width, screen_height = tf.unstack(_uint16(data, 6, 2))
    found = (data[frame] == 0x2C) & (frame + 10 < size)
    problem = tf.strings.join([
        "GIF image of ", _text(size), " bytes is truncated or corrupt: no frame follows its ", _text(extensions),
        " extension blocks",
    ])  # fmt: skip
    empty = tf.strings.join(["GIF image whose first frame is ", _text(width), " x ", _text(height), " pixels"])
    return {
        "height": tf.maximum(screen_height, top + height),
        "width": tf.maximum(screen_width, left + width),
        "top": top,
        "left": left,
        "frame_height": height,
        "frame_width": width,
        "blocks": blocks,
        "frame": frame,
        "data": data,
        "problem": tf.where(found, tf.where(width * height > 0, "", empty), problem),
    }


def decode_gif(encoded):
    """First frame of an encoded GIF -> uint8 [h, w, 3] RGB, black around it. InvalidArgumentError if there is none."""
    header = gif_header(encoded)
    data, blocks, frame = header["data"], header["blocks"], header["frame"]
    colours = _palette_size(data[frame + 9])
    end = _end_of_sub_blocks(data, frame + 10 + colours + 1)
    size = tf.strings.length(encoded)
    truncated = tf.strings.join(["GIF image of ", _text(size), " bytes ends within its first frame"])
    checks = [
        tf.debugging.Assert(header["problem"] == "", [header["problem"]]),
        tf.debugging.Assert(end <= size, [truncated]),
    ]
    with tf.control_dependencies(checks):
        # TensorFlow's operation puts a frame that does not start at (0, 0) partly outside of an image of its size.
        screen = tf.strings.substr(encoded, 0, blocks)
        rest_of_frame = tf.strings.substr(encoded, frame + 5, end - frame - 5)
    image = tf.io.decode_gif(tf.strings.join([screen, b",\0\0\0\0", rest_of_frame, b";"]))[0]
    height, width, top, left, frame_height, frame_width = (
        tf.cast(header[name], tf.int32) for name in ("height", "width", "top", "left", "frame_height", "frame_width")
    )
    around = [[top, height - top - frame_height], [left, width - left - frame_width], [0, 0]]
    return tf.cond((height == frame_height) & (width == frame_width), lambda: image, lambda: tf.pad(image, around))


def _end_of_sub_blocks(data, start):
    """Where a GIF's chain of sub-blocks ends, the length 0 at its end included.

    A sub-block is a length in a byte and that many bytes. To follow lengths one by one would take a turn of the loop
    for each 255 bytes, in a file made for it for each second byte. Instead a turn skips as many sub-blocks of the usual
    full length as are in a row, and then takes all bytes of a window for lengths and composes the jumps between them.
    """

    def goes_on(position, ended):
        return tf.logical_not(ended) & (position < tf.size(data))

    def step(position, _):
        is_full = tf.cast(data[position : position + 256 * _GIF_WINDOW : 256] == 255, tf.int32)
        position += 256 * tf.argmin(tf.concat([is_full, [0]], 0), output_type=tf.int32)
        lengths = tf.cast(data[position : position + _GIF_WINDOW], tf.int32)
        size = tf.size(lengths)
        here = tf.range(size)
        # A length 0 leads to itself, and so does everything behind the window.
        jump = tf.concat([tf.where(lengths > 0, here + 1 + lengths, here), tf.range(size, size + 256)], 0)
        for _ in range(_GIF_WINDOW.bit_length() - 1):
            jump = tf.gather(jump, jump)
        ended = jump[0] < size
        return position + jump[0] + tf.cast(ended, tf.int32), ended

    end, _ = tf.while_loop(goes_on, step, (start, False))
    return end


def _palette_size(flags):
    """Bytes of the palette that a GIF's flags (uint8 scalar) announce, int32."""
    flags = tf.cast(flags, tf.int32)
    return tf.where(flags >= 128, 3 * tf.bitwise.left_shift(2, flags % 8), 0)


def _uint16(data, start, number):
    pairs = tf.reshape(tf.cast(data[start : start + 2 * number], tf.int64), [number, 2])
    return pairs[:, 0] + 256 * pairs[:, 1]


def _text(number):
    return tf.strings.as_string(number)


class ImageFormat(typing.NamedTuple):
    """A format of image files.

    Attributes:
        name: what people call it.
        start: the bytes that its files start with.
        header: function of an encoded image that returns a dict of "height", "width", "problem" and perhaps more.
        decode: function of an encoded image that returns its pixels, uint8 [h, w, 3] RGB.
    """

    name: str
    start: bytes
    header: typing.Callable
    decode: typing.Callable


FORMATS = (
    ImageFormat("JPEG", b"\xff\xd8\xff", jpeg_header, decode_jpeg),
    ImageFormat("PNG", b"\x89PNG\r\n\x1a\n", png_header, decode_png),
    ImageFormat("BMP", b"BM", bmp_header, decode_bmp),
    ImageFormat("GIF", b"GIF8", gif_header, decode_gif),
)
