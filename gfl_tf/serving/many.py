"""Detections in very many images, shard by shard."""

import collections
import collections.abc
import functools
import hashlib
import itertools
import json
import os
import typing

import numpy as np
import tensorflow as tf

from gfl_tf import detections
from gfl_tf.data import host_formats
from gfl_tf.evaluation import original_pixels
from gfl_tf.serving import decode, signatures
from gfl_tf.serving.many_inputs import ImageFiles, Records
from gfl_tf.serving.many_outputs import Done, Output

if typing.TYPE_CHECKING:
    from gfl_tf.detectors.detector import Detector

Detect = collections.abc.Callable[[np.ndarray], list[dict[str, np.ndarray]]]
# Among so many images those of one size are looked for, as many times the batch size. They are in memory, decoded.
BATCHES_AHEAD = 4


def detect_function(model: "Detector", scale: tuple[int, int], class_names: collections.abc.Sequence[str]) -> Detect:
    """A model as a function of images of one size, as `runners.load_batched` makes it of an export.

    Args:
        model: a detector.
        scale: (long, short) limits of the keep-ratio resize in front of the network.
        class_names: of the model's classes.
    """

    @tf.function(input_signature=[tf.TensorSpec([None, None, None, 3], tf.uint8)])
    def detect(images):
        return original_pixels.detect(model, images, scale)

    names = np.asarray(class_names, object)

    def run(images):
        found = {name: value.numpy() for name, value in detect(images).items()}
        records = [detections.of_image(found, index) for index in range(len(images))]
        return [{**record, "class_names": names[record["classes"].astype(int)]} for record in records]

    return run


def work(
    detect: Detect,
    source: ImageFiles | Records,
    output: Output,
    shards: collections.abc.Iterable[int],
    batch_size: int = 8,
    max_pixels: int = signatures.MAX_PIXELS,
    draw: collections.abc.Callable[[int, int, int], None] = lambda done, total, unreadable: None,
) -> list[Done]:
    """Makes those of the shards that are not finished.

    Args:
        detect: function of `runners.load_batched` or `detect_function`.
        source: the images.
        output: whose manifest is checked.
        shards: numbers of shards.
        batch_size: at most so many images of one size go through the model at once.
        max_pixels: larger images are refused before they are decoded.
        draw: called with the images that are done, how many there are, and how many of those done are unreadable.

    Returns what is known of each shard, in their order.

    Raises:
        OSError, tf.errors.OpError: something cannot be written, or the model fails, as where memory is short.
    """
    shards = list(shards)
    done = output.done()
    pending = [shard for shard in shards if shard not in done]
    output.remove_partial(pending)
    total = sum(len(output.images_of(shard)) for shard in shards)
    finished = sum(done[shard].images for shard in shards if shard in done)
    unreadable = sum(len(done[shard].unreadable) for shard in shards if shard in done)
    for run in _runs(pending):
        start, stop = output.images_of(run[0]).start, output.images_of(run[-1]).stop
        items = _decoded(source, start, stop, max_pixels)
        for shard in run:
            rows, wanted = [], output.images_of(shard)
            # By islice, so that images of the next shard are decoded while this one's are detected in and written.
            of_shard = itertools.islice(items, len(wanted))
            while chunk := list(itertools.islice(of_shard, BATCHES_AHEAD * batch_size)):
                rows += rows_of(chunk, detect, batch_size)
                unreadable += sum(row["error"] is not None for row in rows[-len(chunk) :])
                draw(finished + len(rows), total, unreadable)
            finished += len(rows)
            done[shard] = output.write(shard, rows)
    return [done[shard] for shard in shards]


def _runs(shards):
    """Lists of those that follow each other."""
    by_start = collections.defaultdict(list)
    for index, shard in enumerate(shards):
        by_start[shard - index].append(shard)
    return list(by_start.values())


def _decoded(source, start, stop, max_pixels):
    """Iterator of the items, as `rows_of` takes them, of a source's images; they are read and decoded ahead."""
    decode_one = decode_function(max_pixels)

    def decoded(name, content, error):
        image, status = tf.cond(
            error == "", lambda: decode_one(content), lambda: (tf.zeros([1, 1, 3], tf.uint8), error)
        )
        return name, image, status

    data = source.encoded(start, stop).map(decoded, num_parallel_calls=tf.data.AUTOTUNE).prefetch(tf.data.AUTOTUNE)
    for index, (name, image, status) in zip(range(start, stop), data.as_numpy_iterator(), strict=True):
        record = source.record(index)
        yield {
            "image": name.decode("utf-8", "backslashreplace") or record,
            "record": record,
            "pixels": image,
            "error": error_of(status),
        }


def error_of(status: bytes) -> str | None:
    """A row's error of the status that `decode_function`'s function gives."""
    return None if status == decode.OK.encode() else status.decode("utf-8", "backslashreplace")


@functools.cache
def decode_function(max_pixels: int) -> tf.types.experimental.ConcreteFunction:
    """`decode.decode`, and WebP, TIFF and AVIF by Python: encoded image -> (uint8 [h, w, 3] RGB, status)."""

    def on_host(encoded):
        try:
            return host_formats.pixels(encoded, max_pixels), decode.OK
        except ValueError as error:
            return np.zeros([1, 1, 3], np.uint8), f"not a JPEG, PNG, BMP or GIF image, and {error}"

    def other_formats(encoded):
        image, status = tf.numpy_function(on_host, [encoded], [tf.uint8, tf.string])
        return tf.ensure_shape(image, [None, None, 3]), tf.ensure_shape(status, [])

    @tf.function(input_signature=[tf.TensorSpec([], tf.string)])
    def decode_one(encoded):
        return decode.decode(encoded, max_pixels, "that are allowed (max_pixels)", other_formats)

    return decode_one.get_concrete_function()


def rows_of(items: list[dict[str, typing.Any]], detect: Detect, batch_size: int) -> list[dict[str, typing.Any]]:
    """The rows of the output, in the order of the images: plain values.

    Args:
        items: of each image "image" (its name), "record" (its place in a TFRecord file, or None), "error" (None, or
            why there are no pixels) and "pixels", uint8 [h, w, 3].
        detect: function of `runners.load_batched` or `detect_function`.
        batch_size: at most so many images of one size go through the model at once.
    """
    of_size = collections.defaultdict(list)
    for index, item in enumerate(items):
        if item["error"] is None:
            of_size[item["pixels"].shape].append(index)
    rows = [
        {
            "image": item["image"],
            "record": item["record"],
            "width": None,
            "height": None,
            "error": item["error"],
            "detections": [],
        }
        for item in items
    ]
    for (height, width, _), indices in of_size.items():
        for start in range(0, len(indices), batch_size):
            batch = indices[start : start + batch_size]
            for index, found in zip(batch, detect(np.stack([items[index]["pixels"] for index in batch])), strict=True):
                rows[index].update(width=width, height=height, detections=detections.to_json(found))
    return rows


def digest_of_files(paths: collections.abc.Iterable[str | os.PathLike], *also: typing.Any) -> str:
    """SHA-256 of the content of files, and of plain values, its first 16 digits."""
    digest = hashlib.sha256(json.dumps(also, sort_keys=True).encode())
    for path in paths:
        with tf.io.gfile.GFile(os.fspath(path), "rb") as file:
            while part := file.read(1 << 24):
                digest.update(part)
    return digest.hexdigest()[:16]


def digest_of_export(path: str | os.PathLike) -> str:
    """SHA-256 of a SavedModel's graph and weights, its first 16 digits."""
    path = os.fspath(path)
    return digest_of_files([f"{path}/saved_model.pb", *sorted(tf.io.gfile.glob(f"{path}/variables/*"))])
