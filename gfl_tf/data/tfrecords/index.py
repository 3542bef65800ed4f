"""The files of a folder of TFRecords: shards of images, the index in JSON that lists them, and arrays of annotations.

A record is a `tf.train.Example` with the features of TensorFlow's object detection API. Training takes the image alone
from it: the arrays have the boxes of all images, and where each record starts, so that nothing is read to plan a batch.
"""

import os
import pathlib
import struct
import typing

import numpy as np

from gfl_tf import files

INDEX = "tfrecords.json"
ARRAYS = "annotations.npz"
UNFINISHED = "unfinished.jsonl"  # shards that are written, while the index is not
SHARDS = "shard-*.tfrecord"
FORMAT = "gfl_tf TFRecords"
VERSION = 1
REMEDY = "Call gfl-make-tfrecords again as before: it writes what is missing or damaged."


class Shard(typing.NamedTuple):
    """A file of records.

    Attributes:
        file: its name in the folder.
        images: how many it has.
        bytes: its size.
        sha256: its checksum, in hexadecimal digits.
        inputs: a checksum of all that it was made from.
    """

    file: str
    images: int
    bytes: int
    sha256: str
    inputs: str


def find(path: str | os.PathLike) -> pathlib.Path | None:
    """The folder of TFRecords that a path is, or whose index it is; None: it is something else."""
    path = pathlib.Path(path)
    folder = path.parent if path.name == INDEX else path
    return folder if (folder / INDEX).is_file() or (folder / UNFINISHED).is_file() else None


def read(folder: str | os.PathLike) -> tuple[dict[str, typing.Any], list[Shard], dict[str, np.ndarray]]:
    """(the index, its shards, the arrays) of a folder whose shards are all there, of the size that they should have.

    Checksums of shards are compared by `check`, those of each record whenever it is read.

    Raises:
        ValueError: the folder is not complete, damaged or of another version; names the file and the remedy.
    """
    folder = pathlib.Path(folder)
    content, shards = read_index(folder)
    for shard in shards:
        problem = size_problem(folder, shard)
        if problem:
            raise ValueError(f"{problem}. {REMEDY}")
    try:
        if files.sha256(folder / ARRAYS) != content["arrays_sha256"]:
            raise ValueError("it is not the file that was written")
        with np.load(folder / ARRAYS, allow_pickle=False) as arrays:
            return content, shards, dict(arrays)
    except (OSError, ValueError, KeyError) as error:
        raise ValueError(f"{folder / ARRAYS} is missing or damaged: {error}. {REMEDY}") from error


def read_index(folder: pathlib.Path) -> tuple[dict[str, typing.Any], list[Shard]]:
    """(content, shards) of an index; ValueError as `read`."""
    path = folder / INDEX
    if not path.is_file() and (folder / UNFINISHED).is_file():
        raise ValueError(f"{folder} is not complete: the writing of its TFRecords was stopped. {REMEDY}")
    content = files.read_json(path)
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise ValueError(f"{path} is no index of gfl-make-tfrecords")
    if content.get("version") != VERSION:
        raise ValueError(
            f"{path} is of version {content.get('version')}, and this gfl_tf reads version {VERSION}: write the "
            "TFRecords again, into another folder, or use the gfl_tf that wrote them"
        )
    try:
        return content, [Shard(**shard) for shard in content["shards"]]
    except (KeyError, TypeError) as error:
        raise ValueError(f"{path} is damaged: {error}. {REMEDY}") from error


def size_problem(folder: pathlib.Path, shard: Shard) -> str:
    """Why a shard cannot be used, from its size alone; "" where that is right."""
    path = folder / shard.file
    if not path.is_file():
        return f"{path} is missing"
    size = path.stat().st_size
    return "" if size == shard.bytes else f"{path} has {size} bytes in place of {shard.bytes}"


def check(folder: str | os.PathLike, shard: Shard) -> str:
    """Why a shard is not what was written, its checksum included; "" where it is."""
    folder = pathlib.Path(folder)
    problem = size_problem(folder, shard)
    if not problem and files.sha256(folder / shard.file) != shard.sha256:
        problem = f"{folder / shard.file} is damaged: its checksum is not that of the index"
    return problem


def record_starts(path: str | os.PathLike) -> list[int]:
    """Where the records of a whole shard start, in bytes.

    A record is the length of its content, 8 bytes, and of that a checksum, 4; the content, and its checksum, 4.
    """
    starts, size = [], os.path.getsize(path)
    with open(path, "rb") as file:
        while file.tell() < size:
            starts.append(file.tell())
            (length,) = struct.unpack("<Q", file.read(12)[:8])
            file.seek(length + 4, os.SEEK_CUR)
    return starts
