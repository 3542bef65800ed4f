"""An exported model of any format as the demo asks it: from the bytes of an image to plain values."""

import io
import os
import pathlib
import threading
import time
import typing

import tensorflow as tf

from gfl_tf import detections, files
from gfl_tf.data import headers, host_formats, image_formats
from gfl_tf.serving import assets, decode, runners


class UnreadableError(ValueError):
    """The bytes are no image that the model takes; says why."""


class Export:
    """An exported model, loaded and warmed up.

    It takes one image at a time: others wait, so that the memory is that of one, and TensorFlow Lite takes no two.

    Attributes:
        name: of the model and its version, "NAME/VERSION".
        class_names: list of str.
        knows_edges: whether each detection says how sure the model is of its edges.
        calibrated: whether that was made true, by gfl-calibrate.
        levels: of the intervals around the edges; none where the model was not calibrated.
    """

    def __init__(self, path: str | os.PathLike):
        """Loads the version folder `path`.

        Raises:
            ValueError: it holds no exported model, or one that is damaged or of an earlier version of gfl_tf.
            ImportError, OSError: see `runners.load`.
        """
        path = pathlib.Path(path).resolve()
        self.name = "/".join(path.parts[-2:])
        self.class_names = _read(path, "class_names")
        uncertainty = _read(path, "uncertainty")
        self.calibrated, self.levels = uncertainty["calibrated"], uncertainty["levels"]
        self._decode = _decoder(_read(path, "build")["options"]["max_pixels"])
        self._detect = runners.load(path)
        self._one_at_a_time = threading.Lock()
        # The first image takes seconds longer than others. However small, the network sees it as large as them.
        image, _ = self._decode(tf.io.encode_jpeg(tf.zeros([3, 4, 3], tf.uint8)))
        found = self._detect(image.numpy())
        self.knows_edges = "edge_stddev" in found

    def answer(self, encoded: bytes) -> dict[str, typing.Any]:
        """What the model finds in an encoded image.

        Returns:
            {"detections": those of `gfl_tf.detections.to_json`, best first, in pixels of the image as it is stored,
            "width", "height": of it, "orientation": EXIF's, 1 to 8, which the model does not heed,
            "seconds": that decoding and detecting took}.

        Raises:
            UnreadableError: the model does not take the image, in the words in which a SavedModel refuses it.
        """
        header = _header(encoded)
        if header and header.format in host_formats.FORMATS:
            known = ", ".join(known.name for known in image_formats.FORMATS)
            raise UnreadableError(f"{header.format} image, which exported models do not read: convert it to {known}")
        with self._one_at_a_time:
            start = time.perf_counter()
            image, status = self._decode(tf.constant(encoded))
            if status != decode.OK:
                raise UnreadableError(status.numpy().decode())
            found = self._detect(image.numpy())
            seconds = time.perf_counter() - start
        return {
            "detections": detections.to_json(found, self.class_names),
            "width": int(image.shape[1]),
            "height": int(image.shape[0]),
            "orientation": header.orientation if header else 1,
            "seconds": round(seconds, 3),
        }

    def close(self) -> None:
        """Waits until the image at hand is done, and takes no more: a process must not end inside of TensorFlow."""
        self._one_at_a_time.acquire()


def _read(path, name):
    return files.read_json(path / assets.DIRECTORY / f"{name}.json")


def _decoder(max_pixels):
    """A function of an encoded image, string scalar, to (uint8 [h, w, 3] RGB, status); see `decode.decode`."""
    decode_one = tf.function(lambda encoded: decode.decode(encoded, max_pixels))
    return decode_one.get_concrete_function(tf.TensorSpec([], tf.string))


def _header(encoded):
    try:
        return headers.header_of(io.BytesIO(encoded), "")
    except ValueError:  # decoding says it better, and reads some images that this refuses
        return None
