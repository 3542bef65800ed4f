"""A run's configuration: the fields of `data` and `train` with their defaults, its data sets, and its JSON form."""

import collections.abc
import contextlib
import json
import os
import typing

import ml_collections
from absl import logging

from gfl_tf.data import augmentations, formats, shapes
from gfl_tf.data.coco import CocoDataset, check_trainable, load_coco
from gfl_tf.data.formats.splits import find_splits
from gfl_tf.training.progress import Progress

SPLITS = ("train", "val")
# Fields that `data` had before there was a list of operations.
FORMER_AUGMENTATIONS = ("crop", "zoom", "cutout", "flip", "vertical_flip", "color_jitter")
# Fields of `train` that must be at least 1.
COUNTS = (
    "batch_size", "base_batch_size", "epochs", "evaluate_every", "evaluation_batch_size", "checkpoint_every",
    "keep_checkpoints", "log_every", "swa_cycle_epochs", "swa_bn_batches",
)  # fmt: skip


def default_data() -> ml_collections.ConfigDict:
    """`config.data`: where the images come from and how they become batches."""
    data = ml_collections.ConfigDict()
    data.source = "coco"  # "shapes": the embedded synthetic data, written to `directory` when missing
    data.directory = ""  # where the synthetic data of `shapes` are
    # Of the synthetic data: numbers of images, (height, width), seed.
    data.shapes = dict(num_train=2000, num_val=300, image_size=(192, 256), seed=0)
    data.path = ""  # the folder of a data set: gives those of the next four that are empty; see docs/data.md
    data.train_annotations = ""  # a COCO JSON file, folder of Pascal VOC's XML, YOLO's data.yaml, or CSV file
    data.train_images = ""  # the folder of its images, where the format does not say it
    data.val_annotations = ""  # none: no evaluation during training
    data.val_images = ""  # the folder of `val_annotations`
    data.format = "auto"  # of the annotations: coco, voc, yolo or csv; auto: by their names
    # Empty: as the training annotations list them (COCO: in the order of their ids), or all that occur, sorted.
    data.class_names = ()
    data.keep_empty = True  # train on images without boxes
    # Image files that are missing, cut short, no image or of another size: "error" names them before the first step,
    # "skip" leaves them out. See docs/images.md.
    data.on_bad_image = "error"
    data.cache = False  # keep all decoded images in memory
    data.scale = (1333, 800)  # limits of the long and the short side of the resized image
    data.short_side_range = ()  # (low, high): multi-scale training
    data.long_side_range = ()  # (low, high), drawn independently of the short side
    data.num_sides = 6  # how many sizes each of these ranges is divided into
    # Operations by name, in their order, with the fields that are not at their default: see gfl_tf/data/augmentations.
    data.augmentations = (dict(name="flip", probability=0.5),)
    return data


def default_train() -> ml_collections.ConfigDict:
    """`config.train`: how the model is trained."""
    train = ml_collections.ConfigDict()
    train.batch_size = 16  # over all replicas
    train.epochs = 12  # times that each training image is seen; with `swa_epochs` there are more
    train.optimizer = "sgd"  # or "adamw"
    train.learning_rate = 0.01  # for a batch of base_batch_size; scaled linearly with the batch
    train.base_batch_size = 16  # the batch that `learning_rate` is meant for
    train.momentum = 0.9  # of sgd
    train.weight_decay = 1e-4  # sgd: L2 in the gradient, as in PyTorch; adamw: decoupled
    # sgd: of the biases of convolutions and dense layers. As in the reference, here and for `decay_bias`, the offset of
    # a normalization is none, and the bias of the convolution that makes a deformable one's offsets counts as weight.
    train.bias_learning_rate_factor = 1.0
    train.decay_bias = True  # `weight_decay` is for biases, too
    train.decay_norm = True  # and for the scales and offsets of normalizations
    train.clip_norm = 0.0  # of all gradients together; 0: off
    train.warmup_steps = 500  # in which the learning rate rises linearly to its full value
    train.warmup_factor = 0.001  # of the learning rate at the first of these
    train.schedule = "step"  # or "cosine"
    train.milestones = (8, 11)  # epochs at which "step" multiplies the learning rate by gamma
    train.gamma = 0.1  # the factor at each of `milestones`
    # Of a moving average of the weights, which is then evaluated and kept; 0: off. The average starts from the first
    # weights: it needs many times 1 / (1 - momentum) steps.
    train.ema_momentum = 0.0
    # Stochastic weight averaging: after `epochs` come `swa_epochs` more, in cycles of `swa_cycle_epochs`. In each cycle
    # the learning rate falls by a cosine from `swa_learning_rate` (scaled like `learning_rate`) to `swa_final_factor`
    # times that. What is evaluated and kept is the mean of the weights at the ends of the cycles so far.
    train.swa_epochs = 0
    train.swa_cycle_epochs = 1  # epochs of a cycle
    train.swa_learning_rate = 0.01  # at the start of each cycle
    train.swa_final_factor = 0.01  # of the learning rate at the end of each cycle
    # Training batches, at most an epoch's, that measure the mean's batch statistics, where a model has any in training.
    train.swa_bn_batches = 50
    train.evaluate_every = 1  # epochs
    train.evaluation_batch_size = 8  # images that are evaluated at a time
    train.checkpoint_every = 1  # epochs
    train.keep_checkpoints = 2  # how many of the last ones stay
    train.log_every = 50  # steps
    train.sample_images = 4  # drawn with their detections at each evaluation
    return train


def complete(config: ml_collections.ConfigDict) -> ml_collections.ConfigDict:
    """A copy of a config in which every field of `data` and `train` has a value.

    Raises:
        ValueError: a field that does not exist, such as a misspelt one; a count below 1; an augmentation that cannot
            be; a missing `model`.
    """
    config = ml_collections.ConfigDict(config.to_dict())
    if "model" not in config:
        raise ValueError("the config has no config.model; see configs/ for whole ones")
    for part, defaults in (("data", default_data()), ("train", default_train())):
        given = config.get(part) or {}
        _check_fields(part, given, defaults)
        defaults.update(given)
        config[part] = defaults
    for name in COUNTS:
        if config.train[name] < 1:
            raise ValueError(f"config.train.{name} is {config.train[name]}; it must be at least 1")
    _check_swa(config.train)
    augmentations.from_config(config.data.augmentations, "config.data.augmentations")
    config.seed = config.get("seed", 0)
    config.precision = config.get("precision", "float32")
    config.name = config.get("name", "detector")
    return config


def _check_fields(part, given, defaults):
    unknown = sorted(set(given) - set(defaults))
    if not unknown:
        return
    former = [name for name in unknown if part == "data" and name in FORMER_AUGMENTATIONS]
    if former:
        raise ValueError(
            f"config.data.{former[0]} is an entry of config.data.augmentations now, such as dict(name='flip', "
            "probability=0.5): see docs/augmentation.md"
        )
    raise ValueError(f"config.{part} has no field {', '.join(unknown)}; it has {', '.join(sorted(defaults))}")


def _check_swa(train):
    if train.swa_epochs < 0 or train.swa_epochs % train.swa_cycle_epochs:
        raise ValueError(
            f"config.train.swa_epochs is {train.swa_epochs}; it must be 0 or a multiple of "
            f"config.train.swa_cycle_epochs, which is {train.swa_cycle_epochs}"
        )
    if train.swa_epochs and train.ema_momentum:
        raise ValueError(
            "config.train.swa_epochs and config.train.ema_momentum are both set, but only one average of the weights "
            "can be evaluated and kept: set one of them to 0"
        )


def load_datasets(
    config: ml_collections.ConfigDict,
) -> tuple[ml_collections.ConfigDict, CocoDataset, CocoDataset | None]:
    """Loads a run's data, and completes its config from it.

    Returns:
        (config, training data, validation data or None). In the config, paths are absolute, `data.class_names` holds
        the names and `model.num_classes` their number.

    Raises:
        ValueError: a path is not set or does not exist (names the field); annotations that cannot be used, or from
            which nothing can be learnt.
        FileNotFoundError: an image is missing.
    """
    config = complete(config)
    if config.data.source == "shapes":
        _write_shapes(config.data)
    elif config.data.source != "coco":
        raise ValueError(f"config.data.source is {config.data.source!r}; choose 'coco' or 'shapes'")
    elif config.data.path:
        _find_parts(config.data)
    train = load_split(config, "train")
    check_trainable(train)
    config.data.class_names = tuple(train.class_names)
    config.model.num_classes = len(train.class_names)
    val = load_split(config, "val") if config.data.val_annotations else None
    if val is None:
        logging.warning("No validation data (config.data.val_annotations): the training is not evaluated.")
    for field in ["path", *(f"{split}_{kind}" for split in SPLITS for kind in ("annotations", "images"))]:
        if config.data[field]:
            config.data[field] = os.path.abspath(config.data[field])
    return config, train, val


def load_split(config: ml_collections.ConfigDict, split: str) -> CocoDataset:
    """The `CocoDataset` of "train" or "val"; errors as `load_datasets`."""
    data = config.data
    path, images = data[f"{split}_annotations"], data[f"{split}_images"]
    _check_paths(split, path, images)
    names = tuple(data.class_names) or None
    format = data.get("format", "auto")  # a run from before there were formats has none
    annotations, images = formats.read(path, images or None, format, split, names, data.on_bad_image)
    with contextlib.closing(Progress(os.devnull)) as progress:
        return load_coco(
            annotations,
            images,
            class_names=names,
            keep_empty=data.keep_empty or split == "val",
            on_bad_image=data.on_bad_image,
            source=path,
            progress=lambda done, total: progress.draw(done, total, f"{split} images checked"),
        )


def _check_paths(split, annotations, images):
    """Refuses annotations that are not named or not there, and a named folder of images that is not there."""
    field = f"config.data.{split}_annotations"
    how = (
        f"Name the annotation file (COCO JSON, VOC, YOLO, CSV: docs/data.md) with --{field}=PATH, for example "
        f"--{field}=data/annotations/train.json, or the folder of the whole data set with --config.data.path=FOLDER"
    )
    if not annotations:
        raise ValueError(f"{field} is not set. {how}")
    if not os.path.exists(annotations):
        raise ValueError(f"{field}: there is no annotation file or folder at {os.path.abspath(annotations)}. {how}")
    if images and not os.path.isdir(images):
        raise ValueError(
            f"config.data.{split}_images: there is no folder of images at {os.path.abspath(images)}. Name it with "
            f"--config.data.{split}_images=FOLDER"
        )


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
    for split, (annotations, images) in shapes.write_shapes(data.directory, **data.shapes).items():
        data[f"{split}_annotations"] = str(annotations)
        data[f"{split}_images"] = str(images)


def to_json(config: ml_collections.ConfigDict) -> str:
    return json.dumps(config.to_dict(), indent=2, sort_keys=True) + "\n"


def from_json(text: str) -> ml_collections.ConfigDict:
    """The ConfigDict of `to_json`, with the tuples that JSON turned into lists."""
    return ml_collections.ConfigDict(_tuples(json.loads(text)))


def _tuples(value):
    if isinstance(value, dict):
        return {key: _tuples(item) for key, item in value.items()}
    return tuple(_tuples(item) for item in value) if isinstance(value, list) else value


def differing_fields(
    one: ml_collections.ConfigDict, other: ml_collections.ConfigDict, ignored: collections.abc.Iterable[str] = ()
) -> list[tuple[str, typing.Any, typing.Any]]:
    """[(dotted field, its value in one, in other)] of two configs; None stands for a missing field."""
    one, other = (dict(_flat(_tuples(json.loads(to_json(config))))) for config in (one, other))
    fields = sorted((set(one) | set(other)) - set(ignored))
    return [(field, one.get(field), other.get(field)) for field in fields if one.get(field) != other.get(field)]


def _flat(value, prefix=""):
    for key, item in value.items():
        if isinstance(item, dict):
            yield from _flat(item, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", item
