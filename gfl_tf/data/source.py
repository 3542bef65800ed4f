"""The images of a data set as tensors, by index: from their files, from TFRecords, or kept in memory."""

import contextlib
import functools
import os
import pathlib

import numpy as np
import tensorflow as tf
from absl import logging

from gfl_tf.data import images as image_ops
from gfl_tf.data.augmentations import Sample
from gfl_tf.data.coco import CocoDataset

# Images whose bytes are read at a time. Reading waits for the disk or the network, not for the processor.
READS = 16
CONTAINER_LIMITS = ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes")  # bytes of memory


class ImageSource:
    """Image `index` of a data set with its boxes, in pixels of the file.

    Args:
        dataset: `CocoDataset`.
        cache: decodes every image once, now, and keeps all of them in memory; a warning says where they are too many.
    """

    def __init__(self, dataset: CocoDataset, cache: bool = False):
        records = dataset.images
        self._num_images = len(records)
        self._paths = tf.constant([record.path for record in records])
        self._shards, self._places = _record_places(records)
        sizes = np.asarray([(record.height, record.width) for record in records], np.int32)
        self._sizes = tf.constant(sizes)
        self._orientations = tf.constant([record.orientation for record in records], tf.int32)
        self._boxes = tf.constant(np.concatenate([record.boxes for record in records]))
        self._classes = tf.constant(np.concatenate([record.classes for record in records]), tf.float32)
        self._ends = tf.constant(np.cumsum([len(record.boxes) for record in records]), tf.int32)
        # In bytes; int64, as many images are more than 2 GiB.
        self._pixel_ends = tf.constant(np.cumsum(sizes.prod(axis=1, dtype=np.int64) * 3))
        self._pixels = None
        self._pixels = self._decode_all() if cache else None

    def read_ahead(self, samples: tf.data.Dataset) -> tf.data.Dataset:
        """`samples`, tuples (number, index, ...), in their order, with the encoded image behind: "" for index -1.

        `READS` images are read at a time, of as many files or shards: a slow disk is waited for once, not 16 times.
        """
        if self._pixels is not None:
            return samples.map(lambda *sample: (*sample, ""))

        def with_bytes(*sample):
            return self._encoded(sample[1]).map(lambda encoded: (*sample, encoded))

        # Each of the data sets that are interleaved has one element, so that the order stays.
        return samples.interleave(with_bytes, cycle_length=READS, num_parallel_calls=READS, deterministic=True)

    # Functions of their own: operations that mix images read several, and decoding takes long to trace.
    @functools.partial(tf.function, autograph=False, input_signature=[tf.TensorSpec([], tf.int64)])
    def read(self, index: tf.Tensor) -> Sample:
        """`Sample`: image uint8 [h, w, 3], boxes float32 [n, 4], classes float32 [n]."""
        return self.decode(index, "" if self._pixels is not None else self._encoded(index).get_single_element())

    @functools.partial(
        tf.function, autograph=False, input_signature=[tf.TensorSpec([], tf.int64), tf.TensorSpec([], tf.string)]
    )
    def decode(self, index: tf.Tensor, encoded: tf.Tensor) -> Sample:
        """`read` of an image that `read_ahead` has read."""
        start = tf.where(index > 0, self._ends[tf.maximum(index - 1, 0)], 0)
        boxes = self._boxes[start : self._ends[index]]
        classes = self._classes[start : self._ends[index]]
        image = self._decoded(index, encoded) if self._pixels is None else self._kept(index)
        return Sample(image, boxes, classes)

    def _kept(self, index):
        height, width = tf.unstack(self._sizes[index])
        end = self._pixel_ends[index]
        begin = end - tf.cast(height, tf.int64) * tf.cast(width, tf.int64) * 3
        return tf.reshape(self._pixels[begin:end], [height, width, 3])

    def _decoded(self, index, encoded):
        name, remedy = self._paths[index], image_ops.FILE_REMEDY
        if self._shards is not None:
            name = tf.strings.join([name, " in ", self._shards[self._places[index, 0]]])
            remedy = image_ops.RECORD_REMEDY
        return image_ops.decode_named(encoded, name, self._sizes[index], self._orientations[index], remedy)

    def _encoded(self, index):
        """A data set of one string, the encoded image; "" for index -1, and where it cannot be read."""
        # Not read where it is not asked for, and an error of reading is that of decoding "", which has a name.
        read = self._file if self._shards is None else self._record
        encoded = read(tf.maximum(index, 0)).ignore_errors().take(tf.cast(index >= 0, tf.int64))
        return encoded.concatenate(tf.data.Dataset.from_tensors("")).take(1)

    def _file(self, index):
        return tf.data.Dataset.from_tensors(self._paths[index]).map(tf.io.read_file)

    def _record(self, index):
        shard, offset, length = tf.unstack(self._places[index])
        # TFRecordDataset itself starts at the beginning of a file. The buffer of the record's length reads it at once;
        # TensorFlow compares the checksums of the record.
        record = tf.raw_ops.TFRecordDatasetV2(
            filenames=self._shards[shard][tf.newaxis],
            compression_type="",
            buffer_size=length,
            byte_offsets=offset[tf.newaxis],
        )
        record = tf.data.experimental.from_variant(record, tf.TensorSpec([], tf.string)).take(1)
        features = {"image/encoded": tf.io.FixedLenFeature([], tf.string)}
        return record.map(lambda serialized: tf.io.parse_single_example(serialized, features)["image/encoded"])

    def _decode_all(self):
        """All pixels as one uint8 vector; None where they are too many for the memory."""
        total = int(self._pixel_ends[-1])
        memory = _memory()
        if total > memory / 4:
            logging.warning(
                "cache=True would need %.1f GiB for %d decoded images, more than a quarter of the %.1f GiB of memory "
                "here: they are read from their files again and again. Smaller files help: docs/learning.md.",
                total / 2**30, self._num_images, memory / 2**30,
            )  # fmt: skip
            return None
        logging.info("Decoding %d images into memory: %.0f MiB.", self._num_images, total / 2**20)
        pixels, end = np.empty([total], np.uint8), 0
        for image in self.images().as_numpy_iterator():
            pixels[end : end + image.size] = image.reshape(-1)
            end += image.size
        return tf.constant(pixels)

    def images(self) -> tf.data.Dataset:
        """uint8 [h, w, 3] of all images, read and decoded in the data set's order."""
        indices = tf.data.Dataset.range(self._num_images).enumerate()
        decoded = self.read_ahead(indices).map(
            lambda number, index, encoded: self._decoded(index, encoded),
            num_parallel_calls=tf.data.AUTOTUNE,
            deterministic=True,
        )
        return decoded.prefetch(tf.data.AUTOTUNE)


def _record_places(records):
    """(string [shards], int64 [N, 3]: shard, offset and length in bytes), or (None, None) where images are files."""
    if records[0].place is None:
        return None, None
    shards, shard_of = np.unique([record.place.shard for record in records], return_inverse=True)
    extents = [(record.place.offset, record.place.length) for record in records]
    return tf.constant(shards), tf.constant(np.column_stack([shard_of.reshape(-1), extents]), tf.int64)


def _memory():
    """Bytes of this machine, or of the container that this process is in (cgroup version 2 or 1)."""
    limits = [os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")]
    for path in CONTAINER_LIMITS:
        with contextlib.suppress(OSError, ValueError):  # there is none, or it is "max"
            limits.append(int(pathlib.Path(path).read_text()))
    return min(limits)
