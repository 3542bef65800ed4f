"""What the fields of a config beside `model` may be. The parts of a model check their own values."""

from gfl_tf.rules import (
    BELOW_1,
    BETWEEN_0_AND_1,
    COUNT,
    COUNT_OR_0,
    EMPTY,
    FLAG,
    NOT_NEGATIVE,
    POSITIVE,
    SHARE,
    TEXT,
    Rule,
    distinct,
    either,
    one_of,
    ordered,
    several,
    whole,
)

PRECISIONS = ("float32", "mixed_bfloat16", "mixed_float16")
NAME_CHARACTERS = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-.")

SIDES = several(COUNT, 2)
SIDE_RANGE = ordered(SIDES, "the smaller first")
SEED = Rule(
    "a whole number from 0 to 4294967295",  # numpy's
    lambda value: COUNT_OR_0.holds(value) and value < 2**32,
)
# It becomes names of folders and of TensorFlow's scopes.
NAME = Rule(
    "a text of letters, digits, '_', '-' and '.' that begins with a letter or digit",
    lambda value: isinstance(value, str) and set(value) <= NAME_CHARACTERS and value[:1].isalnum(),
)
FIELDS = Rule("a dict of fields", lambda value: isinstance(value, dict))

TOP = {"name": NAME, "seed": SEED, "precision": one_of(*PRECISIONS), "model": FIELDS, "data": FIELDS, "train": FIELDS}
DATA = {
    "source": one_of("coco", "shapes"),
    "directory": TEXT,
    "shapes": {"num_train": COUNT, "num_val": COUNT, "image_size": several(whole(64), 2), "seed": SEED},
    "path": TEXT,
    "train_annotations": TEXT,
    "train_images": TEXT,
    "val_annotations": TEXT,
    "val_images": TEXT,
    "val_share": BELOW_1,
    "calibration_share": BELOW_1,
    "format": one_of("auto", "coco", "voc", "yolo", "csv", "tfrecord"),
    "class_names": either(EMPTY, distinct(several(TEXT))),
    "keep_empty": FLAG,
    "on_bad_image": one_of("error", "skip"),
    "cache": FLAG,
    "scale": either(EMPTY, SIDES),
    "long_side_limits": SIDE_RANGE,
    "short_side_range": either(EMPTY, SIDE_RANGE),
    "long_side_range": either(EMPTY, SIDE_RANGE),
    "num_sides": COUNT,
    "augmentations": Rule("a list of operations, () for none", lambda value: isinstance(value, (tuple, list))),
    "mixing_until": SHARE,
}
DISTILLATION = {
    "temperature": POSITIVE,
    "weight": NOT_NEGATIVE,
    "vlr_weight": NOT_NEGATIVE,
    "vlr_gamma": SHARE,
    "class_weight": NOT_NEGATIVE,
    "class_temperature": POSITIVE,
}
TRAIN = {
    "batch_size": COUNT,
    "micro_batches": COUNT,
    "recompute": FLAG,
    "epochs": COUNT,
    "min_steps_per_epoch": COUNT,
    "optimizer": one_of("sgd", "adamw"),
    "learning_rate": POSITIVE,
    "base_batch_size": COUNT,
    "momentum": BELOW_1,
    "weight_decay": NOT_NEGATIVE,
    "bias_learning_rate_factor": NOT_NEGATIVE,
    "decay_bias": FLAG,
    "decay_norm": FLAG,
    "clip_norm": NOT_NEGATIVE,
    "on_divergence": one_of("stop", "skip", "go_back"),
    "max_go_backs": COUNT,
    "go_back_factor": BETWEEN_0_AND_1,
    "warmup_steps": COUNT_OR_0,
    "warmup_share": SHARE,
    "warmup_factor": SHARE,
    "schedule": one_of("step", "cosine"),
    "milestones": either(EMPTY, distinct(ordered(several(POSITIVE), "rising"))),
    "gamma": POSITIVE,
    "ema_momentum": SHARE,
    "swa_epochs": COUNT_OR_0,
    "swa_cycle_epochs": COUNT,
    "swa_learning_rate": POSITIVE,
    "swa_final_factor": SHARE,
    "swa_bn_batches": COUNT,
    "teacher": TEXT,
    "distillation": DISTILLATION,
    "deterministic": FLAG,
    "evaluate_every": COUNT,
    "patience": COUNT_OR_0,
    "evaluation_batch_size": COUNT,
    "checkpoint_every": COUNT,
    "keep_checkpoints": COUNT,
    "log_every": COUNT,
    "sample_images": COUNT_OR_0,
    "report_page": FLAG,
}
