"""Decoding in the graph: the pixels of every kind of image, and for bad bytes a status and never an error."""

import io
import json
import os
import pathlib
import re
import resource
import struct
import subprocess
import zlib

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from gfl_tf.data import images
from gfl_tf.serving import decode as decoding

MAX_PIXELS = 1_000_000

ys, xs = np.mgrid[:45, :64]
PIXELS = np.stack([ys * 5, xs * 4, (ys + xs) * 2], -1).astype(np.uint8)
NO_IMAGE = np.zeros([1, 1, 3], np.uint8)


@pytest.fixture(scope="module")
def serve():
    """encoded -> (image, status) by a function that is traced once."""
    function = tf.function(lambda encoded: decoding.decode(encoded, MAX_PIXELS)).get_concrete_function(
        tf.TensorSpec([], tf.string)
    )

    def run(encoded):
        image, status = function(tf.constant(encoded))
        return image.numpy(), status.numpy().decode()

    return run


def encode(mode, kind, pixels=PIXELS, **options):
    file = io.BytesIO()
    Image.fromarray(pixels).convert(mode).save(file, kind, **options)
    return file.getvalue()


def pillow(encoded):
    return np.asarray(Image.open(io.BytesIO(encoded)).convert("RGB"))


def png(height, width, data, bit_depth=8, colour_type=2, interlaced=0, in_front=b""):
    """A PNG with the compressed `data`; `in_front` is the name of a chunk in front of its header."""

    def chunk(name, content):
        return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))

    header = struct.pack(">IIBBBBB", width, height, bit_depth, colour_type, 0, 0, interlaced)
    first = chunk(in_front, struct.pack(">II", 5, 5)) if in_front else b""
    return b"\x89PNG\r\n\x1a\n" + first + chunk(b"IHDR", header) + chunk(b"IDAT", data) + chunk(b"IEND", b"")


def png_of(pixels, interlaced=0):
    """A PNG of uint8 or uint16 pixels, [h, w] or [h, w, 3]; interlaced is what Pillow cannot write."""
    passes = [(0, 0, 1, 1)]
    if interlaced:
        passes = [(0, 0, 8, 8), (0, 4, 8, 8), (4, 0, 8, 4), (0, 2, 4, 4), (2, 0, 4, 2), (0, 1, 2, 2), (1, 0, 2, 1)]
    stored = pixels.astype(pixels.dtype.newbyteorder(">"))
    parts = [stored[top::down, left::right] for top, left, down, right in passes]
    data = b"".join(b"\0" + row.tobytes() for part in parts for row in part)
    colour_type = 0 if pixels.ndim == 2 else 2
    return png(*pixels.shape[:2], zlib.compress(data), pixels.itemsize * 8, colour_type, interlaced)


def black_png(side, **options):
    """A whole PNG of side x side black pixels, side a multiple of 100, of a few bytes per 100 rows."""
    compressor = zlib.compressobj(9, zlib.DEFLATED, -15)
    rows = bytes(100 * (3 * side + 1))
    block = compressor.compress(rows) + compressor.flush(zlib.Z_FULL_FLUSH)
    checksum = (len(rows) * (side // 100) % 65521) << 16 | 1
    data = b"\x78\x01" + block * (side // 100) + b"\x03\x00" + struct.pack(">I", checksum)
    return png(side, side, data, **options)


def ycck(pixels):
    """A CMYK JPEG that says that its channels are YCCK."""
    encoded = encode("CMYK", "JPEG", pixels)
    flag = encoded.index(b"Adobe") + 11
    return encoded[:flag] + b"\2" + encoded[flag + 1 :]


def jpeg_of_scans(number):
    """A progressive JPEG whose last scan is there again and again."""
    encoded = encode("RGB", "JPEG", progressive=True)
    last = encoded.rindex(b"\xff\xda")
    scans = encoded.count(b"\xff\xda")
    return encoded[:last] + encoded[last:-2] * (number - scans + 1) + encoded[-2:]


def exif():
    tags = Image.Exif()
    tags[0x0112] = 6
    return tags


JPEG, PNG, BMP = (encode("RGB", kind) for kind in ("JPEG", "PNG", "BMP"))
GIF = encode("P", "GIF")
DEEP = PIXELS.astype(np.uint16) * 256 + 200  # of 16 bits the upper 8 are left, not rounded
GREY = np.repeat(PIXELS[..., :1], 3, -1)

GOOD = {
    "jpeg": (JPEG, pillow(JPEG)),
    "progressive jpeg": (encode("RGB", "JPEG", progressive=True), pillow(encode("RGB", "JPEG", progressive=True))),
    "grey jpeg": (encode("L", "JPEG"), pillow(encode("L", "JPEG"))),
    "jpeg of a hundred scans": (jpeg_of_scans(100), pillow(jpeg_of_scans(100))),
    "cmyk jpeg": (encode("CMYK", "JPEG"), pillow(encode("CMYK", "JPEG"))),
    "ycck jpeg": (ycck(PIXELS), pillow(ycck(PIXELS))),
    "rotated jpeg, as stored": (encode("RGB", "JPEG", exif=exif()), pillow(encode("RGB", "JPEG", exif=exif()))),
    "jpeg with something behind": (JPEG + b"something else" * 99, pillow(JPEG)),
    "png": (PNG, PIXELS),
    "grey png": (png_of(PIXELS[..., 0]), GREY),
    "grey and alpha png": (encode("LA", "PNG"), pillow(encode("L", "PNG"))),
    "palette png": (encode("P", "PNG"), pillow(encode("P", "PNG"))),
    "rgba png": (encode("RGBA", "PNG"), PIXELS),
    "black and white png": (encode("1", "PNG"), pillow(encode("1", "PNG"))),
    "16 bit png": (png_of(DEEP), PIXELS),
    "16 bit grey png": (png_of(DEEP[..., 0]), GREY),
    "interlaced png": (png_of(PIXELS, interlaced=1), PIXELS),
    "compressed black png": (black_png(200), np.zeros([200, 200, 3], np.uint8)),
    "bmp": (BMP, PIXELS),
    "32 bit bmp": (encode("RGBA", "BMP"), PIXELS),
    "palette bmp": (encode("P", "BMP"), pillow(encode("P", "PNG"))),
    "gif": (GIF, pillow(encode("P", "PNG"))),
    "gif without a last byte": (GIF[:-1], pillow(encode("P", "PNG"))),
    "as many pixels as may be": (encode("L", "PNG", np.zeros([1000, 1000], np.uint8)), np.zeros([1000, 1000, 3])),
}


@pytest.mark.parametrize("name", GOOD)
def test_pixels(serve, name):
    encoded, expected = GOOD[name]
    image, status = serve(encoded)
    assert status == decoding.OK
    np.testing.assert_array_equal(image, expected)
    np.testing.assert_array_equal(image, images.decode_rgb(encoded))  # what training sees


def jpeg_of_size(height, width):
    at = JPEG.index(b"\xff\xc0") + 5
    return JPEG[:at] + struct.pack(">HH", height, width) + JPEG[at + 4 :]


def frame_start(gif):
    return gif.index(b",\0\0\0\0", 13 + 3 * (2 << (gif[10] & 7)))


def gif_of_sizes(screen, frame):
    at = frame_start(GIF) + 5
    return GIF[:6] + struct.pack("<HH", *screen) + GIF[10:at] + struct.pack("<HH", *frame) + GIF[at + 4 :]


TOO_MANY = r"image of {0} x {0} pixels \(width x height\), more than the 1000000 that this model was exported for"
HUGE = {
    "huge png": (black_png(20000), TOO_MANY.format(20000)),  # from 2 ** 29 pixels on TensorFlow itself refuses
    "larger png": (png(30000, 30000, zlib.compress(bytes(1000))), TOO_MANY.format(30000)),
    "huge png with a size in front": (black_png(10000, in_front=b"teXt"), "PNG image .* not start with its header"),
    "largest png": (png(2**31 - 1, 2**31 - 1, b""), TOO_MANY.format(2**31 - 1)),
    "huge jpeg": (jpeg_of_size(65500, 60000), r"image of 60000 x 65500 pixels \(width x height\), more than"),
    "huge bmp": (BMP[:18] + struct.pack("<ii", 2**31 - 1, -(2**31)) + BMP[26:], "truncated or corrupt"),
    "huge gif screen": (gif_of_sizes((65535, 65535), (64, 45)), TOO_MANY.format(65535)),
    "huge gif frame": (gif_of_sizes((64, 45), (65535, 65535)), TOO_MANY.format(65535)),
}
for kind in ("JPEG", "PNG", "BMP", "GIF"):
    HUGE[f"{kind} beyond the limit"] = encode("L", kind, np.zeros([1001, 1001], np.uint8)), TOO_MANY.format(1001)
BAD = {
    "empty": (b"", r"^empty \(0 bytes\)$"),
    "text": (b"this is not an image", r"^not a JPEG, PNG, BMP or GIF image \(20 bytes\)$"),
    "webp": (encode("RGB", "WEBP"), "^not a JPEG, PNG, BMP or GIF"),
    "png of no size": (png(5, 0, b""), r"^PNG image of 0 x 5 pixels \(width x height\): it is truncated or corrupt"),
    "png of too few rows": (png(45, 64, zlib.compress(bytes(999))), "^PNG image of .* bytes cannot be decoded"),
    "jpeg of many scans": (jpeg_of_scans(101), "^JPEG image of 101 scans, more than 100$"),
    "jpeg of no size": (jpeg_of_size(0, 64), "^JPEG image of .* bytes cannot be decoded"),
    "jpeg cut, with something behind": (JPEG[:-200] + b"\x12" * 300, "^JPEG image of .* bytes cannot be decoded"),
    "16 bit bmp": (BMP[:28] + b"\x10" + BMP[29:], "^BMP image .* 16 bits per pixel .* can be decoded"),
    "compressed bmp": (BMP[:30] + b"\1" + BMP[31:], "^BMP image .* compression 1: only uncompressed"),
    "gif of no size": (gif_of_sizes((64, 45), (64, 0)), "^GIF image whose first frame is 64 x 0 pixels"),
    "gif of no frames": (GIF[: frame_start(GIF)] + b";", "^GIF image of .* no frame follows"),
    "gif of too few pixels": (gif_of_sizes((64, 45), (64, 900)), "^GIF image of .* bytes cannot be decoded"),
}


@pytest.mark.parametrize("name", [*BAD, *HUGE])
def test_bad_image_gets_a_status(serve, name):
    encoded, pattern = {**BAD, **HUGE}[name]
    image, status = serve(encoded)
    np.testing.assert_array_equal(image, NO_IMAGE)
    assert re.search(pattern, status), status


def peak_bytes():
    return 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def test_memory_is_not_taken_for_what_is_not_decoded(serve):
    black = encode("P", "GIF", np.zeros([900, 900, 3], np.uint8))
    many_frames = black[:-1] + black[frame_start(black) : -1] * 1000 + b";"  # 810 MB of pixels
    for encoded in (PNG, JPEG, GIF, black):
        serve(encoded)
    pathlib.Path("/proc/self/clear_refs").write_text("5")  # forgets the peak of earlier tests
    before = peak_bytes()
    image, status = serve(many_frames)
    assert status == decoding.OK and image.shape == (900, 900, 3)
    for encoded, _ in HUGE.values():
        serve(encoded)
    assert peak_bytes() - before < 50e6


KINDS = ("jpeg", "progressive jpeg", "png", "palette png", "interlaced png", "bmp", "palette bmp", "gif")


@pytest.mark.parametrize("name", KINDS)
def test_truncated_image_gets_a_status(serve, name):
    encoded, size = GOOD[name][0], len(GOOD[name][0])
    last = 2 if name == "gif" else 1  # a GIF may go without the byte that ends it
    lengths = [1, 2, 3, 6, 9, 12, 14, 20, 25, 33, 53, 60, size // 4, size // 2, size * 3 // 4, size - 20, size - last]
    for length in lengths:
        image, status = serve(encoded[:length])
        np.testing.assert_array_equal(image, NO_IMAGE)
        assert "truncated" in status or (length < 8 and "not a JPEG" in status), (length, status)


@pytest.mark.parametrize("name", KINDS)
def test_flipped_bytes_never_raise(serve, name):
    rng = np.random.default_rng(0)
    for number in range(30):
        damaged = np.frombuffer(GOOD[name][0], np.uint8).copy()
        # Half of them in the header, where damage does most.
        places = rng.integers(2, (60, damaged.size)[number % 2], rng.integers(1, 9))
        damaged[places] = rng.integers(0, 256, places.size)
        image, status = serve(damaged.tobytes())
        if status == decoding.OK:
            assert image.shape[0] * image.shape[1] <= MAX_PIXELS and image.shape[2] == 3
            np.testing.assert_array_equal(image, serve(damaged.tobytes())[0])  # no memory of others
        else:
            np.testing.assert_array_equal(image, NO_IMAGE)


CLIENT = """
import json, sys
import numpy as np
import tensorflow as tf

path, files = sys.argv[1:]
encoded = [item.tobytes() for item in np.load(files).values()]
signature = tf.saved_model.load(path).signatures["serving_default"]
outputs = [signature(encoded=tf.constant(item)) for item in encoded]
answers = {"loaded": [[output[name].numpy() for name in ("image", "status")] for output in outputs]}
with tf.compat.v1.Session(graph=tf.Graph()) as session:
    meta = tf.compat.v1.saved_model.load(session, ["serve"], path).signature_def["serving_default"]
    fetches = [meta.outputs[name].name for name in ("image", "status")]
    answers["session"] = [session.run(fetches, {meta.inputs["encoded"].name: item}) for item in encoded]
print(json.dumps({how: [[i.tolist(), s.decode()] for i, s in answer] for how, answer in answers.items()}))
"""


def test_saved_model_answers_the_same_in_bare_tensorflow(serve, bare_python, tmp_path):
    module = tf.Module()
    module.decode = tf.function(
        lambda encoded: dict(zip(("image", "status"), decoding.decode(encoded, MAX_PIXELS))),
        input_signature=[tf.TensorSpec([], tf.string, name="encoded")],
    )
    tf.saved_model.save(module, str(tmp_path / "saved"), signatures=module.decode)
    cases = [JPEG, PNG, encode("P", "BMP"), GIF, b"", JPEG[:-9], PNG[:-9], BMP[:-9], GIF[:-9], black_png(1100)]
    np.savez(tmp_path / "files.npz", *(np.frombuffer(item, np.uint8) for item in cases))
    client = [bare_python, "-c", CLIENT, str(tmp_path / "saved"), str(tmp_path / "files.npz")]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    result = subprocess.run(client, capture_output=True, text=True, cwd=tmp_path, env=environment)
    assert result.returncode == 0, result.stderr
    answers = json.loads(result.stdout.splitlines()[-1])
    for answer in (answers["loaded"], answers["session"]):
        for (image, status), encoded in zip(answer, cases):
            expected_image, expected_status = serve(encoded)
            assert status == expected_status
            np.testing.assert_array_equal(image, expected_image)
