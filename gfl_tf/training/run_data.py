"""What a run is trained on, and by which teacher, described, so that it may lie elsewhere when the run goes on."""

import hashlib
import os
import typing

from gfl_tf.data.coco import CocoDataset

# What of `of_data_set` is a hash, and what another one means.
HASHED = {"image_names": "other image ids or file names", "boxes": "other boxes or their classes"}


def describe(
    train_data: CocoDataset, val_data: CocoDataset | None, teacher: str | None = None
) -> dict[str, typing.Any]:
    """{"train", "val": number of images, class names and hashes, None where there is no validation; "teacher"}.

    It is that of the annotations, whatever folder the images lie in and whichever of them are bad.

    Args:
        train_data, val_data: of a run.
        teacher: checksum of its teacher's weights; None: it has none.
    """
    found = {"train": None, "val": None, "teacher": teacher}
    for split, dataset in (("train", train_data), ("val", val_data)):
        if dataset is not None:
            found[split] = of_data_set(dataset)
    return found


def of_data_set(dataset: CocoDataset) -> dict[str, typing.Any]:
    """What `describe` has of a split."""
    unsized = dataset.report.unsized_images
    records = sorted([*dataset.images, *dataset.report.bad_images], key=lambda record: str(record.id))
    named = [*((record.id, record.path) for record in records), *((each["id"], each["file_name"]) for each in unsized)]
    names = (f"{key} {os.path.basename(path)}\n".encode() for key, path in sorted(named, key=lambda pair: str(pair[0])))
    arrays = ("boxes", "classes", "crowd_boxes", "crowd_classes")
    boxes = (getattr(record, name).tobytes() + b"\n" for record in records for name in arrays)
    return {
        "num_images": len(named),
        "class_names": list(dataset.class_names),
        "image_names": _hash(names),
        # Where an image file has to say its size and cannot, the boxes are not known in pixels.
        "boxes": None if unsized else _hash(boxes),
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
        for name in differing(before, now):
            found.append(f"{split}: " + HASHED.get(name, f"{name} {before[name]} in the run, now {now[name]}"))
    before, now = one.get("teacher"), other.get("teacher")
    if before != now:
        texts = ["none" if digest is None else f"weights of the SHA-256 {digest[:12]}..." for digest in (before, now)]
        found.append("teacher: {} in the run, now {}".format(*texts))
    return found


def differing(one: dict[str, typing.Any], other: dict[str, typing.Any]) -> list[str]:
    """Which of `of_data_set` differ. Of another number of images, or other classes, names and boxes differ anyway."""
    found = [name for name in ("num_images", "class_names") if one[name] != other[name]]
    return found or [name for name in HASHED if one[name] != other[name] and None not in (one[name], other[name])]


def _count(described):
    return "no data" if described is None else f"{described['num_images']} images"
