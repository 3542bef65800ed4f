"""What a run is trained on: described, so that it may lie elsewhere when the run goes on; and images that are bad."""

import collections.abc
import contextlib
import hashlib
import os
import re
import typing

import ml_collections
import tensorflow as tf

from gfl_tf.data.coco import CocoDataset, load_coco


def describe(
    config: ml_collections.ConfigDict, train_data: CocoDataset, val_data: CocoDataset | None
) -> dict[str, typing.Any]:
    """{"train", "val": number of images, class names and hashes; None where there is no validation}.

    It is that of the annotations, whatever folder the images lie in and whichever of them are bad.

    Args:
        config: a run's resolved config.
        train_data, val_data: the data that were loaded with it.
    """
    found = {}
    for split, dataset in (("train", train_data), ("val", val_data)):
        if dataset is not None and dataset.report.bad_images:  # they are left out there
            keep_empty = config.data.keep_empty or split == "val"
            dataset = load_coco(config.data[f"{split}_annotations"], None, dataset.class_names, keep_empty)
        found[split] = None if dataset is None else _described(dataset)
    return found


def _described(dataset):
    records = sorted(dataset.images, key=lambda record: record.id)
    names = (f"{record.id} {os.path.basename(record.path)}\n".encode() for record in records)
    arrays = ("boxes", "classes", "crowd_boxes", "crowd_classes")
    boxes = (getattr(record, name).tobytes() + b"\n" for record in records for name in arrays)
    return {
        "num_images": len(records),
        "class_names": list(dataset.class_names),
        "image_names": _hash(names),
        "boxes": _hash(boxes),
    }


def _hash(parts):
    total = hashlib.sha256()
    for part in parts:
        total.update(part)
    return total.hexdigest()


def differences(one: dict[str, typing.Any], other: dict[str, typing.Any]) -> list[str]:
    """What differs between two results of `describe`, in words."""
    found = []
    for split in ("train", "val"):
        before, now = one[split], other[split]
        if before is None or now is None:
            if before is not now:
                found.append(f"{split}: {_count(before)} in the run, now {_count(now)}")
            continue
        for name in ("num_images", "class_names"):
            if before[name] != now[name]:
                found.append(f"{split}: {name} {before[name]} in the run, now {now[name]}")
        if before["num_images"] == now["num_images"]:  # else these differ anyway
            for name, text in (("image_names", "image ids or file names"), ("boxes", "boxes or their classes")):
                if before[name] != now[name]:
                    found.append(f"{split}: other {text}")
    return found


def _count(described):
    return "no data" if described is None else f"{described['num_images']} images"


@contextlib.contextmanager
def naming_bad_images(remedy: str) -> collections.abc.Iterator[None]:
    """Context in which the error of an image that cannot be used is a ValueError of one line, with the remedy."""
    try:
        yield
    except tf.errors.InvalidArgumentError as error:
        bad = re.search(r"Image file .*?(cannot be read: [^.]*|annotations say \d+ x \d+)", str(error))
        if not bad:
            raise
        text = re.sub(r"\\(.)", r"\1", bad[0])  # TensorFlow escapes quotes
        raise ValueError(f"{text}. {remedy}") from error
