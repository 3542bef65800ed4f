"""Image formats that TensorFlow's operations do not decode, by Pillow on the host: WebP, TIFF and AVIF.

Exported graphs do without them, see `gfl_tf.data.image_formats`.
"""

import io

import numpy as np
import tensorflow as tf
from PIL import Image, UnidentifiedImageError

FORMATS = ("WEBP", "TIFF", "AVIF")


@tf.function(input_signature=[tf.TensorSpec([], tf.string)], autograph=False)
def decode(encoded: tf.Tensor) -> tf.Tensor:
    """The first frame of an encoded image -> uint8 [h, w, 3] RGB.

    As `gfl_tf.data.images.decode_rgb` has it: grey images get three equal channels, of 16 bits the upper 8 are left,
    transparency is dropped and EXIF orientation ignored; the tag of a TIFF, which belongs to its format, is not.
    Raises InvalidArgumentError for other bytes, an image that is cut short or damaged, and pixels of 32 bits.
    """
    return tf.numpy_function(pixels, [encoded], tf.uint8)


def pixels(encoded: bytes, max_pixels: int | None = None) -> np.ndarray:
    """What `decode` gives, without TensorFlow: uint8 [h, w, 3] RGB.

    Args:
        encoded: bytes of a file.
        max_pixels: an image of more is refused for what its header says.

    Raises:
        ValueError: why there is no image.
    """
    try:
        with Image.open(io.BytesIO(encoded), formats=FORMATS) as image:
            if max_pixels and image.width * image.height > max_pixels:
                raise ValueError(f"{image.width} x {image.height} pixels (width x height), more than {max_pixels}")
            return _to_rgb(image)
    except UnidentifiedImageError as error:  # its message has an address in memory
        raise ValueError(f"{len(encoded)} bytes are no {', '.join(FORMATS)} that can be decoded") from error
    except Exception as error:  # of damaged bytes Pillow raises nearly anything
        raise ValueError(f"{len(encoded)} bytes are no {', '.join(FORMATS)} that can be decoded: {error}") from error


def _to_rgb(image):
    if image.mode in ("I", "F"):  # Pillow would clip the values to 0..255
        raise ValueError(f"{image.format} of 32 bits")
    if image.mode.startswith("I;16"):
        grey = (np.asarray(image) >> 8).astype(np.uint8)
        return np.stack([grey] * 3, axis=-1)
    return np.asarray(image.convert("RGB"))
