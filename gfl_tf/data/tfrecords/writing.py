"""TFRecords of a data set: written in parallel, gone on with after a kill, the same bytes every time."""

import collections.abc
import concurrent.futures
import contextlib
import errno
import hashlib
import json
import os
import pathlib
import threading
import typing

import numpy as np
import tensorflow as tf

from gfl_tf import files
from gfl_tf.data import headers
from gfl_tf.data.coco import CocoDataset
from gfl_tf.data.tfrecords import index
from gfl_tf.data.tfrecords.index import Shard

SHARD_BYTES = 128 * 2**20  # of a shard, about: large enough for disks and networks, small enough to be written again
THREADS = 8  # they wait for the disk


class Written(typing.NamedTuple):
    """What became of the shards: numbers of those that were written, and that were there already."""

    new: int
    kept: int


def write(
    dataset: CocoDataset,
    folder: str | os.PathLike,
    num_shards: int | None = None,
    progress: collections.abc.Callable[[int, int], None] | None = None,
) -> Written:
    """Writes the images of a data set and their annotations, or what of it is not there yet.

    A shard is written under a temporary name and renamed once it is whole. One that is there, was made from the same
    images and boxes, and has the checksum that it was written with, is kept: a writing that was stopped goes on, and
    damage is mended. The index comes last; while it is not there, nothing reads the folder.

    Args:
        dataset: `CocoDataset`; its images are copied as their files have them.
        folder: made, if it is missing. Nobody else may be writing there.
        num_shards: default: about `SHARD_BYTES` each.
        progress: called with (images done, images in all).

    Raises:
        ValueError: there are other files in the folder, or more shards than images; an image that cannot be read.
        OSError: a file cannot be written, as where the disk is full.
    """
    folder = pathlib.Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    _refuse_other_files(folder)
    files.remove_partial(folder)
    images = dataset.images
    status = [os.stat(record.path) for record in images]
    if num_shards is None:
        num_shards = min(-(-sum(each.st_size for each in status) // SHARD_BYTES), len(images))
    if not 1 <= num_shards <= len(images):
        raise ValueError(f"{num_shards} shards cannot be made of {len(images)} images")
    parts = np.array_split(np.arange(len(images)), num_shards)
    names = [f"shard-{number:05d}-of-{num_shards:05d}.tfrecord" for number in range(num_shards)]
    inputs = [_inputs(dataset, part, status) for part in parts]
    known = {shard.inputs: shard for shard in _known(folder)}
    shards = [known.get(of_part) for of_part in inputs]
    shards = [shard if shard and shard.file == name else None for shard, name in zip(shards, names)]
    with concurrent.futures.ThreadPoolExecutor(THREADS) as pool:
        problems = pool.map(lambda shard: shard and index.check(folder, shard), shards)
        shards = [shard if problem == "" else None for shard, problem in zip(shards, problems)]
    missing = [number for number, shard in enumerate(shards) if shard is None]
    content = _content(dataset)
    if not missing and _is_complete(folder, content, shards):
        return Written(0, num_shards)
    _start(folder, [shard for shard in shards if shard])
    jobs = [_Job(folder / names[number], parts[number], inputs[number]) for number in missing]
    for number, shard in zip(missing, _write_all(dataset, jobs, progress)):
        shards[number] = shard
    _finish(folder, content, shards, _arrays(dataset, folder, shards))
    return Written(len(missing), num_shards - len(missing))


def _refuse_other_files(folder):
    own = (index.INDEX, index.ARRAYS, index.UNFINISHED, index.SHARDS, ".*")
    others = sorted(path.name for path in folder.iterdir() if not any(map(path.match, own)))
    if others:
        raise ValueError(f"{folder} has files that are no TFRecords, such as {others[0]}: choose another --output")


def _inputs(dataset, part, status):
    """A checksum of what a shard is made from: files by size and time, annotations by their values."""
    total = hashlib.sha256(json.dumps([index.VERSION, dataset.class_names, dataset.category_ids]).encode())
    for image in part:
        record, file = dataset.images[image], status[image]
        total.update(
            json.dumps([record.id, record.path, record.height, record.width, record.orientation, file.st_size,
                        file.st_mtime_ns]).encode()
        )  # fmt: skip
        for array in (record.boxes, record.classes, record.areas, record.crowd_boxes, record.crowd_classes):
            total.update(array.tobytes() + b"\n")
    return total.hexdigest()


def _known(folder):
    """The shards that an earlier writing finished, be it that it was stopped."""
    shards = []
    with contextlib.suppress(ValueError):  # without an index, or with a damaged one, there are fewer to keep
        shards += index.read_index(folder)[1]
    with contextlib.suppress(FileNotFoundError):
        for line in (folder / index.UNFINISHED).read_text(encoding="utf-8").splitlines():
            with contextlib.suppress(ValueError, TypeError):  # the last line may be cut
                shards.append(Shard(**json.loads(line)))
    return shards


def _is_complete(folder, content, shards):
    try:
        found, found_shards, _ = index.read(folder)
    except ValueError:
        return False
    return found_shards == shards and {**found, **content} == found


def _start(folder, kept):
    """From here on the folder is not complete, and knows the shards that are kept."""
    with files.replacing(folder / index.UNFINISHED, synced=True) as file:
        file.writelines(_line(shard) for shard in kept)
    (folder / index.INDEX).unlink(missing_ok=True)


def _line(shard):
    return json.dumps(shard._asdict()) + "\n"


class _Job(typing.NamedTuple):
    """A shard to write: its path, the images' indices in the data set, and `Shard.inputs`."""

    path: pathlib.Path
    part: np.ndarray
    inputs: str


def _write_all(dataset, jobs, progress):
    """The `Shard` of each job; each is in the list of finished ones as soon as it is whole."""
    lock, stop, done = threading.Lock(), threading.Event(), [0]
    total = sum(len(job.part) for job in jobs)

    def image_done():
        if stop.is_set():
            raise InterruptedError("the writing of TFRecords was stopped")
        with lock:
            done[0] += 1
            if progress:
                progress(done[0], total)

    def make(job):
        shard = _write_shard(dataset, job, image_done)
        with lock, open(job.path.parent / index.UNFINISHED, "a", encoding="utf-8") as file:
            file.write(_line(shard))
        return shard

    with concurrent.futures.ThreadPoolExecutor(THREADS) as pool:
        running = [pool.submit(make, job) for job in jobs]
        try:
            # The first that fails, not the first in the list that does.
            concurrent.futures.wait(running, return_when=concurrent.futures.FIRST_EXCEPTION)
            failed = [each for each in running if each.done() and each.exception()]
            if failed:
                raise failed[0].exception()
        finally:
            stop.set()
            pool.shutdown(cancel_futures=True)
    return [each.result() for each in running]


def _write_shard(dataset, job, image_done):
    # TensorFlow writes by name; the open file of the same name is what is waited for to lie on the disk.
    with files.replacing(job.path, "wb", synced=True) as file:
        try:
            with tf.io.TFRecordWriter(file.name) as writer:
                for image in job.part:
                    writer.write(_example(dataset, dataset.images[image]).SerializeToString())
                    image_done()
        except tf.errors.OpError as error:
            is_full = isinstance(error, tf.errors.ResourceExhaustedError)
            raise OSError(errno.ENOSPC if is_full else errno.EIO, error.message.splitlines()[0]) from error
        size, checksum = os.path.getsize(file.name), files.sha256(file.name)
    return Shard(job.path.name, len(job.part), size, checksum, job.inputs)


def _example(dataset, record):
    """A `tf.train.Example` in the features of TensorFlow's object detection API; classes count from 1 there."""
    boxes = np.concatenate([record.boxes, record.crowd_boxes]) / np.tile((record.width, record.height), 2)
    classes = np.concatenate([record.classes, record.crowd_classes])
    is_crowd = np.arange(len(classes)) >= len(record.classes)
    return tf.train.Example(
        features=tf.train.Features(
            feature={
                "image/encoded": _texts([pathlib.Path(record.path).read_bytes()]),
                "image/format": _texts([headers.read_header(record.path).format.lower().encode()]),
                "image/filename": _texts([os.path.basename(record.path).encode()]),
                "image/source_id": _texts([str(record.id).encode()]),
                "image/height": _integers([record.height]),
                "image/width": _integers([record.width]),
                "image/orientation": _integers([record.orientation]),
                "image/object/class/label": _integers(classes + 1),
                "image/object/class/text": _texts([dataset.class_names[label].encode() for label in classes]),
                "image/object/is_crowd": _integers(is_crowd),
                **{
                    f"image/object/bbox/{name}": tf.train.Feature(float_list=tf.train.FloatList(value=boxes[:, column]))
                    for column, name in enumerate(("xmin", "ymin", "xmax", "ymax"))
                },
            }
        )
    )


def _texts(values):
    return tf.train.Feature(bytes_list=tf.train.BytesList(value=values))


def _integers(values):
    return tf.train.Feature(int64_list=tf.train.Int64List(value=np.asarray(values, np.int64)))


def _content(dataset):
    """The index without its shards."""
    return {
        "format": index.FORMAT,
        "version": index.VERSION,
        "tensorflow": tf.__version__,
        "source": dataset.report.source,
        "images_dir": _images_dir(dataset),
        "class_names": list(dataset.class_names),
        "category_ids": list(dataset.category_ids),
        "images": len(dataset.images),
        "boxes": dataset.num_boxes,
        "crowd_boxes": sum(len(record.crowd_boxes) for record in dataset.images),
    }


def _images_dir(dataset):
    return os.path.commonpath([os.path.dirname(os.path.abspath(record.path)) for record in dataset.images])


def _arrays(dataset, folder, shards):
    """What training needs of all images, an array each; ids as JSON, as they may be texts or numbers."""
    images, images_dir = dataset.images, _images_dir(dataset)
    names = [os.path.relpath(os.path.abspath(record.path), images_dir).encode() for record in images]
    return {
        "ids": np.array([json.dumps(record.id).encode() for record in images]),
        "file_names": np.array(names),
        "sizes": np.array([(record.height, record.width) for record in images], np.int32),
        "orientations": np.array([record.orientation for record in images], np.int8),
        "offsets": np.concatenate([index.record_starts(folder / shard.file) for shard in shards]),
        "ends": np.cumsum([len(record.boxes) for record in images]),
        "crowd_ends": np.cumsum([len(record.crowd_boxes) for record in images]),
        **{
            name: np.concatenate([getattr(record, name) for record in images])
            for name in ("boxes", "classes", "areas", "crowd_boxes", "crowd_classes")
        },
    }


def _finish(folder, content, shards, arrays):
    with files.replacing(folder / index.ARRAYS, "wb", synced=True) as file:
        np.savez_compressed(file, **arrays)
    content = {
        **content,
        "arrays_sha256": files.sha256(folder / index.ARRAYS),
        "shards": [shard._asdict() for shard in shards],
    }
    with files.replacing(folder / index.INDEX, synced=True) as file:
        json.dump(content, file, indent=1)
    (folder / index.UNFINISHED).unlink()
    for stale in set(folder.glob(index.SHARDS)) - {folder / shard.file for shard in shards}:
        stale.unlink()
