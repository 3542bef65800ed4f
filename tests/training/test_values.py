"""The values of a config's fields: which are refused, with what is said, and that nothing is written before."""

import ml_collections
import numpy as np
import pytest

from gfl_tf import field_rules
from gfl_tf.config_files import load_config
from gfl_tf.data import coco, formats
from gfl_tf.training import config as configs
from gfl_tf.training import fields, fit, relations
from tests.training import tiny

PARTS = {"data": (field_rules.DATA, fields.default_data()), "train": (field_rules.TRAIN, fields.default_train())}


def completed(**values):
    return configs.complete(ml_collections.ConfigDict({"model": {}, **values}))


def test_every_field_has_a_rule():
    for rules, defaults in PARTS.values():
        assert set(rules) == set(defaults)
    assert set(field_rules.DATA["shapes"]) == set(fields.default_data().shapes)
    assert set(completed()) == set(field_rules.TOP)


def test_choices_are_those_of_the_code():
    for name in ("auto", *formats.FORMATS):
        assert field_rules.DATA["format"].holds(name)
    assert all(map(field_rules.DATA["on_bad_image"].holds, coco.ON_BAD_IMAGE))


@pytest.mark.parametrize("part, name", [(part, name) for part, (rules, _) in PARTS.items() for name in rules])
def test_no_field_takes_what_no_field_can_be(part, name):
    for value in (None, object(), float("nan"), 1 + 2j, b"x"):
        with pytest.raises(ValueError, match=rf"^config.{part}.{name} is .*; it must be ") as error:
            completed(**{part: {name: value}})
        assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    "part, name, values",
    [
        ("data", "scale", [(0, 0), (640,), (640.5, 480), "640", (-1, 3), 640]),
        ("data", "long_side_limits", [(1333, 256), (0, 256), ()]),
        ("data", "short_side_range", [(800, 640), (0, 640), (640,)]),
        ("data", "num_sides", [0, 2.5]),
        ("data", "class_names", ["cat", ("cat", "cat"), (1, 2)]),
        ("data", "cache", [1, "yes"]),
        ("data", "on_bad_image", ["ignore", ""]),
        ("train", "batch_size", ["abc", 2.5, 0, -4, True]),
        ("train", "learning_rate", [-0.1, 0, "fast", float("inf")]),
        ("train", "momentum", [-0.5, 1.0, 2]),
        ("train", "clip_norm", [-1.0]),
        ("train", "weight_decay", [-1e-4]),
        ("train", "warmup_steps", [-1, 0.5]),
        ("train", "warmup_factor", [-0.1, 2.0]),
        ("train", "milestones", [(8, 3), (0, 3), (3, 3), (-1,), 8, ("8",)]),
        ("train", "gamma", [0.0, -0.1]),
        ("train", "patience", [-1]),
        ("train", "sample_images", [-1]),
        ("train", "swa_learning_rate", [0.0]),
        ("train", "optimizer", ["adam", ""]),
        ("train", "schedule", ["linear"]),
        ("train", "decay_bias", ["no", 0]),
    ],
)
def test_impossible_values(part, name, values):
    for value in values:
        with pytest.raises(ValueError, match=rf"^config.{part}.{name} is .*; it must be "):
            completed(**{part: {name: value}})


@pytest.mark.parametrize(
    "values, message",
    [
        ({"precison": "float32"}, "^config has no field precison. Did you mean precision. It has data, model, name, "),
        ({"precision": "double"}, "^config.precision is 'double'; it must be one of 'float32', "),
        ({"name": "runs/mine"}, "^config.name is 'runs/mine'; it must be a text of letters, "),
        ({"name": ""}, "^config.name is ''"),
        ({"name": ".."}, "^config.name is '..'"),
        ({"seed": -1}, "^config.seed is -1; it must be a whole number from 0 to 4294967295"),
        ({"seed": 1.5}, "^config.seed is 1.5"),
        ({"train": None}, "^config.train is None; it must be a dict of fields"),
        ({"train": 3}, "^config.train is 3"),
        ({"train": {"batchsize": 3}}, "^config.train has no field batchsize. Did you mean batch_size. It has "),
        ({"data": {"shapes": {"image_size": (32, 64)}}}, "^config.data.shapes.image_size is .*at least 64$"),
        ({"train": {"epochs": 5}}, r"^config.train.milestones is \(8, 11\), but .* after config.train.epochs = 5"),
        (
            {"train": {"optimizer": "adamw", "bias_learning_rate_factor": 2}},
            "^config.train.bias_learning_rate_factor is 2.0, which only config.train.optimizer='sgd' can do",
        ),
        (
            {"train": {"optimizer": "adamw", "momentum": 0.8}},
            "^config.train.momentum is 0.8, which config.train.optimizer='adamw' does not have: set it to 0.9",
        ),
        ({"data": {"num_sides": 3}}, "^config.data.num_sides is 3, but there is no range .*, or it to 6$"),
        (
            {"data": {"num_sides": 1, "short_side_range": (480, 800)}},
            r"short_side_range is \(480, 800\), but num_sides is 1, which leaves 480 alone",
        ),
        ({"data": {"short_side_range": (640, 1600)}}, "config.data.scale, .*short side is drawn from 640 to 1600"),
    ],
)
def test_what_is_said(values, message):
    with pytest.raises(ValueError, match=message) as error:
        completed(**values)
    assert "\n" not in str(error.value)


def test_milestones_say_nothing_of_a_cosine():
    assert completed(train={"epochs": 5, "schedule": "cosine"}).train.milestones == (8, 11)


def test_numbers_of_numpy_are_numbers():
    config = completed(
        train={"batch_size": np.int64(4), "learning_rate": np.float32(0.5)}, data={"scale": [np.int32(64), 64]}
    )
    assert (config.train.batch_size, config.train.learning_rate, config.data.scale) == (4, 0.5, (64, 64))
    assert configs.from_json(configs.to_json(config)).to_dict() == config.to_dict()


def test_a_warm_up_is_not_longer_than_the_run():
    train = completed(train={"warmup_steps": 100, "epochs": 12}).train
    relations.check_warmup(train, steps_per_epoch=9)
    with pytest.raises(ValueError, match="config.train.warmup_steps is 100, but the training has 96 steps"):
        relations.check_warmup(train, steps_per_epoch=8)
    train.warmup_share = 0.1
    relations.check_warmup(train, steps_per_epoch=8)


@pytest.mark.parametrize(
    "field, value, message",
    [
        ("precison", "float32", "config has no field precison"),
        ("train.batch_size", 0, "config.train.batch_size is 0"),
        ("train.milestones", (3,), "config.train.milestones"),
        ("train.warmup_steps", 1000, "config.train.warmup_steps is 1000, but the training has 10 steps"),
        ("model.head.prior", 2.0, "config.model: the head: prior is 2.0; it must be a number between 0 and 1"),
        ("model.head.channels", 0, "config.model: the head: channels is 0; it must be"),
        ("model.head.scale_levels", "no", "config.model: the head: scale_levels is 'no'; it must be True or False"),
        ("model.neck.channels", None, "config.model: the neck: channels is None"),
        (
            "model.std",
            (0.0, 1.0, 1.0),
            r"config.model.std is \(0.0, 1.0, 1.0\); it must be \(\) or 3 values .* above 0",
        ),
        ("model.decoder.score_threshold", 2.0, "config.model.decoder: score_threshold is 2.0; it must be"),
        ("model.decoder.max_detections", 2.5, "config.model.decoder: max_detections is 2.5"),
        ("model.boxes.num_bins", 0, "config.model.boxes: num_bins is 0; it must be"),
        ("model.boxes.num_bins", None, "config.model.boxes: num_bins is None"),
        ("model.assigner.k", "nine", "config.model.assigner: k is 'nine'"),
        ("model.grid.levels", 3, "config.model.grid: levels is 3"),
        ("model.classification_loss.beta", None, "config.model.classification_loss: beta is None"),
        ("model.box_weight", "2", "config.model: box_weight is '2'; it must be a number of at least 0"),
        ("model.num_classes", 0, "config.model.num_classes is 0"),
        ("model.backbone.freeze_batch_norm", "yes", "config.model.backbone.freeze_batch_norm is 'yes'"),
        ("model.backbone.arguments.depth", 50, "config.model.backbone: .* has no argument depth"),
        ("model.partial_weights", 1, "config.model.partial_weights is 1; it must be True or False"),
    ],
)
def test_nothing_is_written(tmp_path, field, value, message):
    config = load_config(tiny.__file__)
    config.data.directory = str(tmp_path / "data")
    values = config.to_dict()
    *parts, last = field.split(".")
    node = values
    for part in parts:
        node = node[part]
    node[last] = value
    with pytest.raises(ValueError, match=f"^{message}"):
        fit.train(ml_collections.ConfigDict(values), tmp_path / "run")
    assert not (tmp_path / "run").exists()
    assert field == "train.warmup_steps" or not (tmp_path / "data").exists()
