"""The fields of a config beside `model`: their defaults, and what can be said of values before TensorFlow is there."""

import collections.abc
import os
import re

import ml_collections

from gfl_tf import config_files

# Fields that `data` had before there was a list of operations.
FORMER_AUGMENTATIONS = ("crop", "zoom", "cutout", "flip", "vertical_flip", "color_jitter")
SOURCES = ("coco", "shapes")
# Fields of `train` that must be at least 1.
COUNTS = (
    "batch_size", "base_batch_size", "epochs", "min_steps_per_epoch", "evaluate_every", "evaluation_batch_size",
    "checkpoint_every", "keep_checkpoints", "log_every", "swa_cycle_epochs", "swa_bn_batches",
)  # fmt: skip
SHARES = ("warmup_factor", "warmup_share", "ema_momentum")  # fields of `train` from 0 to 1
# Where the data lie, which may be elsewhere when a run goes on.
DATA_PATHS = ("train_annotations", "train_images", "val_annotations", "val_images")


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
    data.cache = False  # keep all decoded images in memory, if they take at most a quarter of it
    # Limits of the long and the short side of the resized image in pixels; (): chosen from the sizes of the training
    # boxes, see `gfl_tf.data.fitted_scale`.
    data.scale = (1333, 800)
    data.long_side_limits = (256, 1333)  # of a scale that is chosen
    data.short_side_range = ()  # (low, high): multi-scale training
    data.long_side_range = ()  # (low, high), drawn independently of the short side
    data.num_sides = 6  # how many sizes each of these ranges is divided into
    # Operations by name, in their order, with the fields that are not at their default: see gfl_tf/data/augmentations.
    data.augmentations = (dict(name="flip", probability=0.5),)
    # Share of the steps of `epochs` in which operations that mix images (mosaic, mixup, copy_paste) do so.
    data.mixing_until = 0.85
    return data


def default_train() -> ml_collections.ConfigDict:
    """`config.train`: how the model is trained."""
    train = ml_collections.ConfigDict()
    train.batch_size = 16  # over all replicas
    train.epochs = 12  # times that each training image is seen; with `swa_epochs` there are more
    # Updates that an epoch has at least: a small data set is gone through several times in one. It counts for all that
    # is said in epochs.
    train.min_steps_per_epoch = 1
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
    train.warmup_share = 1.0  # of the steps of `epochs`, that the warm-up takes at most
    train.warmup_factor = 0.001  # of the learning rate at the first of these
    train.schedule = "step"  # or "cosine"
    train.milestones = (8, 11)  # epochs at which "step" multiplies the learning rate by gamma
    train.gamma = 0.1  # the factor at each of `milestones`
    # Of a moving average of the weights, which is then evaluated and kept; 0: off. It rises to this value, as (1 + t) /
    # (10 + t) at update t, so that the average soon forgets the first weights.
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
    # The training ends when that many evaluations one after the other have not been the best so far; 0: never.
    train.patience = 0
    train.evaluation_batch_size = 8  # images that are evaluated at a time
    train.checkpoint_every = 1  # epochs
    train.keep_checkpoints = 2  # how many of the last ones stay
    train.log_every = 50  # steps
    train.sample_images = 4  # drawn with their detections at each evaluation
    return train


def filled(config: ml_collections.ConfigDict) -> ml_collections.ConfigDict:
    """A copy of a config in which every field beside `model` has a value.

    Raises:
        ValueError: a field of `data` or `train` that does not exist, such as a misspelt one, or of another type.
    """
    config = ml_collections.ConfigDict(config.to_dict())
    for part, defaults in (("data", default_data()), ("train", default_train())):
        given = config.get(part) or {}
        _check_fields(part, given, defaults)
        try:
            defaults.update(given)
        except (AttributeError, TypeError) as error:
            raise ValueError(f"config.{part}: {error}") from error
        config[part] = defaults
    config.seed = config.get("seed", 0)
    config.precision = config.get("precision", "float32")
    config.name = config.get("name", "detector")
    return config


def check_values(config: ml_collections.ConfigDict) -> None:
    """Raises ValueError for a value that is wrong by itself, whatever the other fields are."""
    for name in COUNTS:
        if config.train[name] < 1:
            raise ValueError(f"config.train.{name} is {config.train[name]}; it must be at least 1")
    for name in SHARES:
        if not 0 <= config.train[name] <= 1:
            raise ValueError(f"config.train.{name} is {config.train[name]}; it must be from 0 to 1")
    for name, lengths in (("scale", (0, 2)), ("long_side_limits", (2,))):
        sides = config.data[name]
        if len(sides) not in lengths or min(sides, default=1) < 1:
            raise ValueError(f"config.data.{name} is {sides}; two sides in pixels are needed, such as (1333, 800)")
    if config.data.source not in SOURCES:
        raise ValueError(f"config.data.source is {config.data.source!r}; choose one of {', '.join(SOURCES)}")
    if not 0 <= config.data.mixing_until <= 1:
        raise ValueError(f"config.data.mixing_until is {config.data.mixing_until}; a share from 0 to 1 is needed")


def check_given(arguments: collections.abc.Sequence[str]) -> None:
    """Checks the fields of a command line, before the config file is run that they change.

    Args:
        arguments: as of `config_files.overridden`. Those of `model`, and those of a part of a value, say nothing
            without the config.

    Raises:
        ValueError: an unknown field of `data` or `train`, a wrong value, or a path where nothing is.
    """
    config = filled(ml_collections.ConfigDict())
    known = rf"--?(no)?config\.({'|'.join(config)})\b[^\[=]*(=|$)"
    config = config_files.overridden(config, [argument for argument in arguments if re.match(known, argument)])
    config = filled(config)  # a whole part may have been set
    check_values(config)
    for name in DATA_PATHS:
        if config.data[name]:
            check_path(name, config.data[name])


def check_path(field: str, path: str, flag: str | None = None) -> None:
    """Raises ValueError where nothing is at the path.

    Args:
        field: one of `DATA_PATHS`.
        path: its value.
        flag: with which the command at hand sets it; default that of the config's field.
    """
    split, _, kind = field.partition("_")
    how = "Name it with {0}=PATH, for example {0}={1}"
    if kind == "annotations":
        what, is_there, example = "annotation file or folder", os.path.exists(path), f"data/annotations/{split}.json"
        if flag is None:
            how += ", or the folder of the whole data set with --config.data.path=FOLDER: docs/data.md"
    else:
        what, is_there, example = "folder of images", os.path.isdir(path), f"data/{split}"
    how = how.format(flag or f"--config.data.{field}", example)
    if not path:
        raise ValueError(f"config.data.{field} is not set. {how}")
    if not is_there:
        raise ValueError(f"config.data.{field}: there is no {what} at {os.path.abspath(path)}. {how}")


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
