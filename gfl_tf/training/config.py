"""A run's configuration: checked and complete, with its data sets, and compared with another."""

import collections.abc
import contextlib
import os
import typing

import ml_collections
from absl import logging

from gfl_tf.config_files import from_json, to_json
from gfl_tf.data import augmentations, formats, shapes
from gfl_tf.data.coco import CocoDataset, check_trainable, load_coco, without_empty_images
from gfl_tf.data.fitted_scale import fitted_scale
from gfl_tf.data.formats.splits import find_splits
from gfl_tf.data.hold_out import hold_out
from gfl_tf.data.tfrecords import index
from gfl_tf.data.tfrecords.loading import load_tfrecords
from gfl_tf.training import fields, relations
from gfl_tf.training.fields import default_data, default_train  # noqa: F401  (part of this module's interface)
from gfl_tf.training.progress import Progress


def complete(config: ml_collections.ConfigDict) -> ml_collections.ConfigDict:
    """A copy of a config in which every field of `data` and `train` has a value.

    Raises:
        ValueError: a field that does not exist, such as a misspelt one; a wrong value, or values that cannot be
            together; an augmentation that cannot be; a missing `model`.
    """
    if "model" not in config:
        raise ValueError("the config has no config.model; see configs/ for whole ones")
    config = fields.filled(config)
    relations.check(config)
    augmentations.from_config(config.data.augmentations, "config.data.augmentations")
    return config


def load_datasets(
    config: ml_collections.ConfigDict,
) -> tuple[ml_collections.ConfigDict, CocoDataset, CocoDataset | None]:
    """Loads a run's data, and completes its config from it.

    Returns:
        (config, training data, validation data or None: those of the config, or held out). In the config, paths are
        absolute, `data.class_names` holds the names, `model.num_classes` their number, and `data.scale` what was
        chosen where it was empty.

    Raises:
        ValueError: a path is not set or does not exist (names the field); annotations that cannot be used, or from
            which nothing can be learnt.
        FileNotFoundError: an image is missing.
    """
    config = complete(config)
    if config.data.source == "shapes":
        _write_shapes(config.data)
    elif config.data.path:
        _find_parts(config.data)
    if config.data.val_images and not config.data.val_annotations:
        raise ValueError(
            f"config.data.val_images is {config.data.val_images}, but config.data.val_annotations is not set: name the "
            "annotations of these images, or leave their folder out"
        )
    parts = _parts(config)
    train = parts["train"]
    check_trainable(train)
    config.data.class_names = tuple(train.class_names)
    config.model.num_classes = len(train.class_names)
    config.data.scale = config.data.scale or fitted_scale(train, config.data.long_side_limits)
    relations.check(config)  # of a scale that was chosen
    val = load_split(config, "val") if config.data.val_annotations else parts.get("val")
    if val is None:
        logging.warning(
            "No validation data (config.data.val_annotations), and none held out (config.data.val_share): the training "
            "is not evaluated."
        )
    else:
        _warn_of_shared_images(train, val)
    config.data.path = ""  # the paths that it gave are complete
    for field in ("directory", *fields.DATA_PATHS):
        if config.data[field]:
            config.data[field] = os.path.abspath(config.data[field])
    return config, train, val


def _warn_of_shared_images(train, val):
    trained = {os.path.abspath(record.path) for record in train.images}
    shared = [record.path for record in val.images if os.path.abspath(record.path) in trained]
    if shared:
        logging.warning(
            "%d of the %d validation images are training images, too, such as %s: AP says little of new images. Name "
            "training data without them: --config.data.train_annotations=PATH",
            len(shared), len(val.images), shared[0],
        )  # fmt: skip


def load_split(config: ml_collections.ConfigDict, split: str) -> CocoDataset:
    """The `CocoDataset` of "train", "val", or another that is held out of "train"; errors as `load_datasets`."""
    return _parts(config)[split] if split in ("train", *fields.held_out(config.data)) else _read(config, split)


def _parts(config):
    """{"train", and what is held out of it: `CocoDataset`}."""
    train, shares = _read(config, "train"), fields.held_out(config.data)
    parts = hold_out(train, shares, config.seed) if shares else {"train": train}
    if not config.data.keep_empty:  # an evaluation keeps them: what is found there is wrong
        parts["train"] = without_empty_images(parts["train"])
    return parts


def _read(config, split):
    data = config.data
    path, images = data[f"{split}_annotations"], data[f"{split}_images"]
    fields.check_path(f"{split}_annotations", path)
    if images:
        fields.check_path(f"{split}_images", images)
    names = tuple(data.class_names) or None
    if data.format == "tfrecord" or (data.format == "auto" and index.find(path)):
        return _load_tfrecords(data, split, names)
    annotations, images = formats.read(path, images or None, data.format, split, names, data.on_bad_image)
    with contextlib.closing(Progress(os.devnull)) as progress:
        return load_coco(
            annotations,
            images,
            class_names=names,
            on_bad_image=data.on_bad_image,
            source=path,
            progress=lambda done, total: progress.draw(done, total, f"{split} images checked"),
        )


def _load_tfrecords(data, split, names):
    path, images = data[f"{split}_annotations"], data[f"{split}_images"]
    if images:
        raise ValueError(
            f"config.data.{split}_images is {images}, but {path} has TFRecords, with their images: set it to ''"
        )
    if data.on_bad_image == "skip":
        logging.warning(
            "config.data.on_bad_image='skip' changes nothing of %s: files are checked when TFRecords are made.", path
        )
    return load_tfrecords(path, names)


def _find_parts(data):
    try:
        found = find_splits(data.path, data.format)
    except ValueError as error:
        raise ValueError(f"config.data.path: {error}") from error
    for split, part in found.items():
        for field, value in ((f"{split}_annotations", part.annotations), (f"{split}_images", part.images)):
            data[field] = data[field] or value


def _write_shapes(data):
    if data.path:
        raise ValueError(
            f"config.data.path is {data.path}, but config.data.source is 'shapes', which draws its own images: add "
            "--config.data.source=coco"
        )
    if not data.directory:
        raise ValueError(
            "config.data.directory is not set: the shapes data set is written there when it is missing, for example "
            "--config.data.directory=data/shapes"
        )
    for split, paths in shapes.write_shapes(data.directory, **data.shapes).items():
        for kind, path in zip(("annotations", "images"), map(str, paths)):
            field = f"{split}_{kind}"
            if data[field] and os.path.abspath(data[field]) != os.path.abspath(path):
                raise ValueError(
                    f"config.data.{field} is {data[field]}, but the data of config.data.source='shapes' lie in "
                    "config.data.directory: leave the path out, or set --config.data.source=coco"
                )
            data[field] = path


def differing_fields(
    one: ml_collections.ConfigDict, other: ml_collections.ConfigDict, ignored: collections.abc.Iterable[str] = ()
) -> list[tuple[str, typing.Any, typing.Any]]:
    """[(dotted field, its value in one, in other)] of two configs; None stands for a missing field."""
    one, other = (fields_of(config, ignored) for config in (one, other))
    names = sorted(set(one) | set(other))
    return [(name, one.get(name), other.get(name)) for name in names if one.get(name) != other.get(name)]


def fields_of(config: ml_collections.ConfigDict, ignored: collections.abc.Iterable[str] = ()) -> dict[str, typing.Any]:
    """{dotted field: value} of a config, as it is stored."""
    found = dict(_flat(from_json(to_json(config)).to_dict()))
    return {name: value for name, value in found.items() if name not in set(ignored)}


def _flat(value, prefix=""):
    for key, item in value.items():
        if isinstance(item, dict):
            yield from _flat(item, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", item
