"""A folder of TFRecords as a `CocoDataset`, without reading its shards."""

import collections.abc
import json
import os

import numpy as np
from absl import logging

from gfl_tf.data.coco import CocoDataset, ImageRecord, LoadReport, Place
from gfl_tf.data.tfrecords import index


class RecordImages(collections.abc.Sequence):
    """`ImageRecord`s that are made when they are asked for: arrays take less memory than a million of them.

    Args:
        arrays: as `gfl_tf.data.tfrecords.writing` has them.
        images_dir: folder that the images lay in.
        chosen: int64 [N], which of the images, in their order.
    """

    def __init__(self, arrays: dict[str, np.ndarray], images_dir: str, chosen: np.ndarray):
        self._arrays = arrays
        self._images_dir = images_dir
        self._chosen = chosen

    def __len__(self):
        return len(self._chosen)

    def __getitem__(self, position):
        if isinstance(position, slice):
            return RecordImages(self._arrays, self._images_dir, self._chosen[position])
        arrays, image = self._arrays, self._chosen[position]
        start, crowd_start = (int(arrays[ends][image - 1]) if image else 0 for ends in ("ends", "crowd_ends"))
        own, crowds = slice(start, arrays["ends"][image]), slice(crowd_start, arrays["crowd_ends"][image])
        height, width = map(int, arrays["sizes"][image])
        return ImageRecord(
            id=json.loads(arrays["ids"][image]),
            path=os.path.join(self._images_dir, arrays["file_names"][image].decode()),
            height=height,
            width=width,
            boxes=arrays["boxes"][own],
            classes=arrays["classes"][own],
            areas=arrays["areas"][own],
            crowd_boxes=arrays["crowd_boxes"][crowds],
            crowd_classes=arrays["crowd_classes"][crowds],
            orientation=int(arrays["orientations"][image]),
            place=Place(
                str(arrays["shards"][arrays["shard_of"][image]]),
                int(arrays["offsets"][image]),
                int(arrays["lengths"][image]),
            ),
        )


def load_tfrecords(
    path: str | os.PathLike, class_names: collections.abc.Sequence[str] | None = None, keep_empty: bool = True
) -> CocoDataset:
    """The images of `gfl-make-tfrecords`, as `load_coco` reads those that they were made from.

    Args:
        path: the folder with the index, or the index.
        class_names: the classes in the wanted order; by default as they were written. As of `load_coco`, they must have
            every class that boxes are of.
        keep_empty: whether images without boxes are kept.

    Raises:
        ValueError: no index, or an incomplete, damaged one, or one of another version; shards that are missing or of
            another size; class names that do not fit. Says what to do.
    """
    folder = index.find(path)
    if folder is None:
        raise ValueError(f"{path} is no folder with {index.INDEX}, which gfl-make-tfrecords writes")
    content, shards, arrays = index.read(folder)
    source = str(path)
    names, ids = tuple(content["class_names"]), tuple(content["category_ids"])
    if class_names and tuple(class_names) != names:
        names, ids = _in_other_order(tuple(class_names), names, ids, arrays, source)
    counts = [shard.images for shard in shards]
    arrays["shards"] = np.array([str(folder / shard.file) for shard in shards])
    arrays["shard_of"] = np.repeat(np.arange(len(shards)), counts)
    arrays["lengths"] = _lengths(arrays["offsets"], shards)
    chosen = np.arange(len(arrays["ids"]))
    report = LoadReport(source, boxes=len(arrays["boxes"]), crowd_boxes=len(arrays["crowd_boxes"]))
    if not keep_empty:
        chosen = np.flatnonzero(np.diff(arrays["ends"], prepend=0))
        report.dropped_empty_images = len(arrays["ids"]) - len(chosen)
    if not len(chosen):
        raise ValueError(f"{source} leaves no image to use of {len(arrays['ids'])}: none has a box")
    logging.info("%s: %d images in %d shards, %d boxes.", source, len(chosen), len(shards), report.boxes)
    return CocoDataset(RecordImages(arrays, content["images_dir"], chosen), names, ids, report)


def _lengths(offsets, shards):
    """Bytes of each record; those of a shard follow one another without a gap."""
    first = np.cumsum([0, *(shard.images for shard in shards)])
    parts = [np.diff(offsets[a:b], append=shard.bytes) for a, b, shard in zip(first, first[1:], shards)]
    return np.concatenate(parts)


def _in_other_order(names, written, ids, arrays, source):
    """(names, category ids), with the classes in `arrays` numbered as in `names`."""
    if len(set(names)) != len(names):
        raise ValueError(f"class_names {names} names a class twice.")
    used = np.union1d(arrays["classes"], arrays["crowd_classes"])
    missing = [written[index] for index in used if written[index] not in names]
    if missing or not set(names) & set(written):
        raise ValueError(
            f"class_names has {', '.join(names)}, but {source} has the classes {', '.join(written)}"
            + (f", with boxes of {', '.join(missing)}" if missing else "")
        )
    to_new = np.array([names.index(name) if name in names else -1 for name in written], np.int32)
    for classes in ("classes", "crowd_classes"):
        arrays[classes] = to_new[arrays[classes]]
    id_of = dict(zip(written, ids))
    return names, tuple(id_of.get(name) for name in names)
