"""The fields of a config beside `model`: their defaults, and what can be said of values before TensorFlow is there."""

import collections.abc
import numbers
import os
import re

import ml_collections

from gfl_tf import config_files, field_rules, rules

# Fields that `data` had before there was a list of operations.
FORMER_AUGMENTATIONS = ("crop", "zoom", "cutout", "flip", "vertical_flip", "color_jitter")
# Where the data lie, which may be elsewhere when a run goes on.
DATA_PATHS = ("train_annotations", "train_images", "val_annotations", "val_images")
TOP_DEFAULTS = {"name": "detector", "seed": 0, "precision": "float32"}


def default_data() -> ml_collections.ConfigDict:
    """`config.data`: where the images come from and how they become batches."""
    data = ml_collections.ConfigDict()
    data.source = "coco"  # "shapes": the embedded synthetic data, written to `directory` when missing
    data.directory = ""  # where the synthetic data of `shapes` are
    # Of the synthetic data: numbers of images, (height, width), seed.
    data.shapes = dict(num_train=2000, num_val=300, image_size=(192, 256), seed=0)
    data.path = ""  # the folder of a data set: gives those of the next four that are empty; see docs/data.md
    data.train_annotations = ""  # COCO's JSON, VOC's folder, YOLO's data.yaml, a CSV file or a folder of TFRecords
    data.train_images = ""  # the folder of its images, where the format does not say it
    data.val_annotations = ""  # none: `val_share` of the training images, or no evaluation during training
    data.val_images = ""  # the folder of `val_annotations`
    # Of the training images, drawn by `seed`, that are held out and evaluated where there are no `val_annotations`; 0:
    # none.
    data.val_share = 0.0
    data.calibration_share = 0.0  # of the training images, likewise, that are kept for gfl-calibrate; 0: none
    data.format = "auto"  # of the annotations: coco, voc, yolo, csv or tfrecord; auto: by their names
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
    # Parts in which each replica's share of a batch is computed, one after the other, for one update as of the whole:
    # batches that do not fit into memory, for a third more time. See docs/memory.md.
    train.micro_batches = 1
    # Keep less of the forward pass for the backward pass, and compute it again there: less memory for more time.
    train.recompute = False
    train.epochs = 12  # times that each training image is seen; with `swa_epochs` there are more
    # Updates that an epoch has at least: a small data set is gone through several times in one. It counts for all that
    # is said in epochs.
    train.min_steps_per_epoch = 1
    train.optimizer = "sgd"  # "sgd", with momentum as PyTorch has it, or "adamw"
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
    # A step whose loss or gradients are not finite makes no update. Then "stop" ends the run, "skip" counts the step
    # and goes on, "go_back" goes on from the last good checkpoint with a lower learning rate: see docs/runs.md.
    train.on_divergence = "stop"
    train.max_go_backs = 3  # times that "go_back" does so before it stops
    train.go_back_factor = 0.5  # of the learning rate, each of these times, from that checkpoint's step on
    train.warmup_steps = 500  # in which the learning rate rises linearly to its full value
    train.warmup_share = 1.0  # of the steps of `epochs`, that the warm-up takes at most
    train.warmup_factor = 0.001  # of the learning rate at the first of these
    # Of the learning rate after the warm-up: "step" lowers it at each of `milestones`, "cosine" lets it fall to 0 over
    # all steps of `epochs`.
    train.schedule = "step"
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
    # A run whose best.npz teaches this one where the edges of objects are, or the path of its last.npz; "": none. See
    # docs/distillation.md.
    train.teacher = ""
    # How it teaches: see `gfl_tf.Distillation`.
    train.distillation = dict(
        temperature=10.0, weight=0.25, vlr_weight=0.25, vlr_gamma=0.25, class_weight=0.0, class_temperature=2.0
    )
    # The same numbers, to the last bit, each time on the same devices and versions; slower on a GPU: docs/runs.md.
    train.deterministic = False
    train.evaluate_every = 1  # epochs
    # The training ends when that many evaluations one after the other have not been the best so far; 0: never.
    train.patience = 0
    train.evaluation_batch_size = 8  # images that are evaluated at a time
    train.checkpoint_every = 1  # epochs
    train.keep_checkpoints = 2  # how many of the last ones stay
    train.log_every = 50  # steps
    train.sample_images = 4  # drawn with their detections at each evaluation
    # At the end, a page about what the best weights find: docs/reports.md. It takes as long as one more evaluation.
    train.report_page = True
    return train


def held_out(data: ml_collections.ConfigDict) -> dict[str, float]:
    """{part: share} of what a complete `config.data` keeps from the training images, see `gfl_tf.data.hold_out`."""
    shares = {"val": 0.0 if data.val_annotations else data.val_share, "calibration": data.calibration_share}
    return {part: share for part, share in shares.items() if share}


def filled(config: ml_collections.ConfigDict) -> ml_collections.ConfigDict:
    """A copy of a config in which every field beside `model` has a value.

    Raises:
        ValueError: a field that does not exist, such as a misspelt one, or a value that it cannot have, whatever the
            other fields are.
    """
    given = _plain(config.to_dict())
    rules.check(given, field_rules.TOP, "config")
    whole = ml_collections.ConfigDict({**TOP_DEFAULTS, **given, "data": default_data(), "train": default_train()})
    _check_former(given.get("data", {}))
    for part, of_part in (("data", field_rules.DATA), ("train", field_rules.TRAIN)):
        rules.check(given.get(part, {}), of_part, f"config.{part}")
        whole[part].update(given.get(part, {}))
    return whole


def check_given(arguments: collections.abc.Sequence[str]) -> None:
    """Checks the fields of a command line, before the config file is run that they change.

    Args:
        arguments: as of `config_files.overridden`. Those of `model`, and those of a part of a value, say nothing
            without the config.

    Raises:
        ValueError: an unknown field of `data` or `train`, a wrong value, or a path where nothing is.
    """
    config = filled(ml_collections.ConfigDict())
    unknown = r"--?(no)?config\.(model\b|[^=]*\[)"
    config = config_files.overridden(config, [each for each in arguments if not re.match(unknown, each)])
    config = filled(config)  # checks the values
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


def _plain(value):
    """With Python's own numbers in place of numpy's, as JSON needs them."""
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, (tuple, list)):
        return tuple(map(_plain, value))
    if isinstance(value, numbers.Real) and not isinstance(value, (bool, int, float)):
        return int(value) if isinstance(value, numbers.Integral) else float(value)
    return value


def _check_former(data):
    former = [name for name in data if name in FORMER_AUGMENTATIONS]
    if former:
        raise ValueError(
            f"config.data.{former[0]} is an entry of config.data.augmentations now, such as dict(name='flip', "
            "probability=0.5): see docs/augmentation.md"
        )
