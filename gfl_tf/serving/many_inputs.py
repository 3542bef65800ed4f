"""Very many encoded images, in a fixed order: the files of a folder, or the records of TFRecord files.

Paths are those of tf.io.gfile: local ones, and those of object stores such as gs://BUCKET/FOLDER.
"""

import bisect
import collections.abc
import dataclasses
import functools
import hashlib
import itertools
import os
import re

import numpy as np
import tensorflow as tf

from gfl_tf.data import images as image_ops

READ_BUFFER = 8 << 20  # bytes, of a TFRecord file


@dataclasses.dataclass(frozen=True)
class ImageFiles:
    """Image files.

    Attributes:
        folder: that they lie in.
        names: their paths in it, sorted.
    """

    folder: str
    names: tuple[str, ...]

    def __len__(self):
        return len(self.names)

    def settings(self) -> dict[str, str]:
        """What decides the results: the names. The content is left out: to read it would take as long as the work."""
        return {"--images": f"{len(self)} images (SHA-256 of their names {_digest(self.names)})"}

    def files(self) -> list[dict[str, str | int]]:
        """What `find_records` need not find out again: nothing."""
        return []

    def record(self, index: int) -> None:
        """The place of the image in a TFRecord file: there is none."""

    def encoded(self, start: int, stop: int) -> tf.data.Dataset:
        """Data set of (name, content, error), string scalars, of the images from index `start` to before `stop`.

        The error is "", or why there is no content.
        """

        def read(name):
            return name, tf.io.read_file(tf.strings.join([self.folder, name], separator="/")), ""

        def read_or_say(name):
            return _guarded(read, name, (name, "", "cannot be read: it is gone, or may not be read"))

        names = tf.data.Dataset.from_tensor_slices(tf.constant(self.names[start:stop], tf.string))
        return names.map(read_or_say, num_parallel_calls=tf.data.AUTOTUNE)


@dataclasses.dataclass(frozen=True)
class RecordFile:
    """A TFRecord file: its path in the folder, its bytes, its number of records."""

    name: str
    size: int
    count: int


@dataclasses.dataclass(frozen=True)
class Records:
    """Images in TFRecord files, each a serialized tf.train.Example.

    Attributes:
        folder: that the files lie in.
        record_files: `RecordFile`s, sorted by name.
        image_feature: which has the encoded image.
        id_features: {feature that names the image: its dtype}; the first that is not empty does.
    """

    folder: str
    record_files: tuple[RecordFile, ...]
    image_feature: str
    id_features: dict[str, tf.DType]

    @functools.cached_property
    def _ends(self):
        return list(itertools.accumulate(file.count for file in self.record_files))

    def __len__(self):
        return self._ends[-1]

    def settings(self) -> dict[str, str]:
        """What decides the results: names, sizes and numbers of records of the files, and the features."""
        digest = _digest(f"{file.name}:{file.size}:{file.count}" for file in self.record_files)
        number = f"{len(self)} records in {len(self.record_files)} files"
        return {
            "--tfrecords": f"{number} (SHA-256 of their names and sizes {digest})",
            "--image_feature": self.image_feature,
            "--id_features": ",".join(self.id_features),
        }

    def files(self) -> list[dict[str, str | int]]:
        """The `RecordFile`s as plain values, for another `find_records`."""
        return [dataclasses.asdict(file) for file in self.record_files]

    def record(self, index: int) -> str:
        """FILE:NUMBER of the image's record, from 0."""
        at = bisect.bisect_right(self._ends, index)
        return f"{self.record_files[at].name}:{index - self._ends[at] + self.record_files[at].count}"

    def encoded(self, start: int, stop: int) -> tf.data.Dataset:
        """As that of `ImageFiles`. The name is "" where the record does not tell it."""
        pieces = []
        for file, end in zip(self.record_files, self._ends):
            skip, last = max(start - end + file.count, 0), min(stop - end, 0) + file.count
            if skip < last:
                pieces.append((f"{self.folder}/{file.name}", skip, last - skip))
        paths, skips, counts = zip(*pieces)

        def records(path, skip, count):
            return tf.data.TFRecordDataset(path, buffer_size=READ_BUFFER).skip(skip).take(count)

        serialized = tf.data.Dataset.from_tensor_slices(
            (list(paths), tf.constant(skips, tf.int64), tf.constant(counts, tf.int64))
        ).flat_map(records)
        return serialized.map(self._parsed, num_parallel_calls=tf.data.AUTOTUNE)

    def _parsed(self, serialized):
        def parse(serialized):
            features = {self.image_feature: tf.io.FixedLenFeature([], tf.string, "")}
            for key, dtype in self.id_features.items():
                features[key] = tf.io.FixedLenFeature([], dtype, "" if dtype == tf.string else -1)
            found = tf.io.parse_single_example(serialized, features)
            name = ""
            for key, dtype in reversed(self.id_features.items()):
                value = found[key] if dtype == tf.string else tf.strings.as_string(found[key])
                is_there = (value != "") if dtype == tf.string else (found[key] != -1)
                name = tf.where(is_there, value, name)
            content = found[self.image_feature]
            return name, content, tf.where(content == "", _missing(self.image_feature), "")

        return _guarded(parse, serialized, ("", "", "is no tf.train.Example, or has other features than the first one"))


def find_images(folder: str | os.PathLike) -> ImageFiles:
    """All files in a folder and the folders in it that are named like images; others are warned of.

    Raises:
        ValueError: no such folder, or no image in it.
    """
    folder = os.fspath(folder).rstrip("/")
    if not tf.io.gfile.isdir(folder):
        raise ValueError(f"there is no folder {folder}")
    names, others = [], []
    for name in _files_below(folder, "", set()):
        (names if image_ops.is_named_like_an_image(name) else others).append(name)
    if not names:
        raise ValueError(f"no image in {folder}; wanted: {', '.join(image_ops.SUFFIXES)}")
    image_ops.warn_of_other_files([name for name in others if not os.path.basename(name).startswith(".")])
    return ImageFiles(folder, tuple(sorted(names)))


def _files_below(folder, prefix, seen):
    """Paths in `folder` of all files; the folder's own starts with `prefix`, and what is `seen` is left out."""
    real = os.path.realpath(folder)  # a link to a folder above it has no end
    if real in seen:
        return
    seen.add(real)
    try:
        entries = sorted(tf.io.gfile.listdir(folder))
    except UnicodeDecodeError as error:
        raise ValueError(f"{folder} has a file whose name is not UTF-8: {error.object!r}; rename it") from error
    for entry in entries:
        entry = entry.rstrip("/")  # behind the folders of an object store
        path = f"{folder}/{entry}"
        # What is named like an image is taken for one: asking an object store takes a request for each.
        if not image_ops.is_named_like_an_image(entry) and tf.io.gfile.isdir(path):
            yield from _files_below(path, f"{prefix}{entry}/", seen)
        else:
            yield f"{prefix}{entry}"


def find_records(
    pattern: str | os.PathLike,
    image_feature: str = "image/encoded",
    id_features: collections.abc.Sequence[str] = ("image/filename", "image/source_id"),
    known: collections.abc.Sequence[dict[str, str | int]] = (),
) -> Records:
    """The records of TFRecord files, which are counted: all is read once, and its checksums are checked.

    Args:
        pattern: a file, a pattern of files with * and ?, or a folder, of which all files are taken that have
            ".tfrecord" in their names.
        image_feature: which has the encoded image.
        id_features: that may name the image, the first of them that is there.
        known: what `Records.files` gave before; files of the same name and size are not counted again.

    Raises:
        ValueError: no such file, one that is no TFRecord file or is damaged, or no such feature in the first record.
    """
    pattern, folder = record_pattern(pattern)
    paths = [pattern] if tf.io.gfile.exists(pattern) else sorted(tf.io.gfile.glob(pattern))
    if not paths:
        raise ValueError(f"there is no TFRecord file {pattern}")
    counted = {(file["name"], file["size"]): RecordFile(**file) for file in known}
    files = []
    for path in paths:
        name, size = os.path.relpath(path, folder), tf.io.gfile.stat(path).length
        files.append(counted.get((name, size)) or RecordFile(name, size, _count(path)))
    if not sum(file.count for file in files):
        raise ValueError(f"no record in {pattern}")
    first = next(iter(tf.data.TFRecordDataset(paths).take(1))).numpy()
    return Records(folder, tuple(files), image_feature, _id_features(first, paths[0], image_feature, id_features))


def record_pattern(pattern: str | os.PathLike) -> tuple[str, str]:
    """The pattern of the files that `find_records` takes, and the folder in which their names are looked at."""
    pattern = os.fspath(pattern).rstrip("/")
    if tf.io.gfile.isdir(pattern):
        return f"{pattern}/*.tfrecord*", pattern
    return pattern, os.path.dirname(re.split(r"[*?\[]", pattern)[0]) or "."


def from_example(
    serialized: bytes, image_feature: str, id_features: collections.abc.Sequence[str]
) -> tuple[str, bytes, str]:
    """(name, content, error) of one record, as `Records.encoded` has them, in Python."""
    try:
        features = tf.train.Example.FromString(serialized).features.feature
    except Exception:  # protobuf's own class of it lies elsewhere in each version
        return "", b"", "is no tf.train.Example"
    values = {key: (*feature.bytes_list.value, *feature.int64_list.value) for key, feature in features.items()}
    names = [value for key in id_features for value in values.get(key, ())[:1] if value not in (b"", -1)]
    name = names[0] if names else b""
    name = name.decode("utf-8", "backslashreplace") if isinstance(name, bytes) else str(name)
    content = [value for value in values.get(image_feature, ())[:1] if isinstance(value, bytes) and value]
    return (name, content[0], "") if content else (name, b"", _missing(image_feature))


def _missing(image_feature):
    return f"has no feature {image_feature}, or an empty one"


def _count(path):
    try:
        return int(
            tf.data.TFRecordDataset(path, buffer_size=READ_BUFFER).reduce(np.int64(0), lambda count, _: count + 1)
        )
    except tf.errors.DataLossError as error:
        raise ValueError(f"{path} is no TFRecord file, a compressed one, or damaged: {error.message}") from error


def _id_features(serialized, path, image_feature, id_features):
    """{feature: dtype} of those of `id_features` that the first record has."""
    try:
        features = tf.train.Example.FromString(serialized).features.feature
    except Exception as error:  # protobuf's own class of it lies elsewhere in each version
        raise ValueError(f"the first record of {path} is no tf.train.Example") from error
    if image_feature not in features or not features[image_feature].bytes_list.value:
        raise ValueError(f"the first record of {path} has no encoded image {image_feature}, but {_names(features)}")
    kinds = {"bytes_list": tf.string, "int64_list": tf.int64}
    found = {key: kinds.get(features[key].WhichOneof("kind")) for key in id_features if key in features}
    found = {key: dtype for key, dtype in found.items() if dtype}
    if id_features and not found:
        raise ValueError(f"the first record of {path} has no {' or '.join(id_features)}, but {_names(features)}")
    return found


def _names(features):
    return ", ".join(sorted(features)) or "no feature at all"


def _guarded(function, argument, fallback):
    """What the function returns for the argument, or the fallback where it fails."""
    # A graph cannot catch an operation's error; a data set of one element can drop the element that fails.
    tried = tf.data.Dataset.from_tensors(argument).map(function).ignore_errors()
    return tried.concatenate(tf.data.Dataset.from_tensors(fallback)).take(1).get_single_element()


def _digest(texts_of_all):
    digest = hashlib.sha256()
    for text in texts_of_all:
        digest.update(text.encode() + b"\0")
    return digest.hexdigest()[:16]
