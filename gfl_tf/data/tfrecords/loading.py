"""A folder of TFRecords as a `CocoDataset`, without reading its shards."""

import collections.abc
import json
import os

import numpy as np
from absl import logging

from gfl_tf.data.coco import CocoDataset, ImageRecord, LoadReport, Place
from gfl_tf.data.tfrecords import index


def load_tfrecords(path: str | os.PathLike, class_names: collections.abc.Sequence[str] | None = None) -> CocoDataset:
    """The images of `gfl-make-tfrecords`, as `load_coco` reads those that they were made from.

    Args:
        path: the folder with the index, or the index.
        class_names: the classes in the wanted order; by default as they were written. As of `load_coco`, they must have
            every class that boxes are of.

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
    images = _images(folder, content["images_dir"], shards, arrays)
    report = LoadReport(source, boxes=len(arrays["boxes"]), crowd_boxes=len(arrays["crowd_boxes"]))
    logging.info("%s: %d images in %d shards, %d boxes.", source, len(images), len(shards), report.boxes)
    return CocoDataset(images, names, ids, report)


def _images(folder, images_dir, shards, arrays):
    """The `ImageRecord`s; their boxes are views of the arrays."""
    columns = [
        map(json.loads, arrays["ids"].tolist()),
        (os.path.join(images_dir, name.decode()) for name in arrays["file_names"].tolist()),
        *arrays["sizes"].T.tolist(),
        *(np.split(arrays[name], arrays["ends"][:-1]) for name in ("boxes", "classes", "areas")),
        *(np.split(arrays[name], arrays["crowd_ends"][:-1]) for name in ("crowd_boxes", "crowd_classes")),
        arrays["orientations"].tolist(),
        _places(folder, shards, arrays["offsets"]),
    ]
    return [ImageRecord(*values) for values in zip(*columns, strict=True)]


def _places(folder, shards, offsets):
    first = 0
    for shard in shards:
        path = str(folder / shard.file)
        starts = offsets[first : first + shard.images]
        # The records of a shard follow one another without a gap.
        for start, length in zip(starts.tolist(), np.diff(starts, append=shard.bytes).tolist()):
            yield Place(path, start, length)
        first += shard.images


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
