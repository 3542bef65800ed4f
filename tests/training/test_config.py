"""Completing, checking and storing configs."""

import json
import shutil
from pathlib import Path

import ml_collections
import pytest
from absl import logging

from gfl_tf.build import build_detector
from gfl_tf.config_files import load_config, overridden
from gfl_tf.training import config as configs
from gfl_tf.training.run_dir import RunDirectory, load_run
from tests.data.formats import examples

CONFIGS = sorted((Path(__file__).resolve().parents[2] / "configs").glob("*.py"))


def _dataset(folder, names=("cat", "dog")):
    """A COCO file with one category per name, descending ids, and one image with one box."""
    from PIL import Image

    (folder / "images").mkdir()
    Image.new("RGB", (40, 30)).save(folder / "images" / "a.png")
    content = {
        "images": [{"id": 1, "file_name": "a.png", "width": 40, "height": 30}],
        "annotations": [{"id": 1, "image_id": 1, "category_id": 9, "bbox": [5, 5, 20, 10]}],
        "categories": [{"id": 9 - index, "name": name} for index, name in enumerate(names)],
    }
    (folder / "a.json").write_text(json.dumps(content))
    return folder / "a.json", folder / "images"


def _config(**data):
    return ml_collections.ConfigDict({"name": "x", "model": {"num_classes": 80}, "data": data})


def test_classes_and_paths_are_filled_in(tmp_path, monkeypatch):
    _dataset(tmp_path)
    monkeypatch.chdir(tmp_path)
    config, train, val = configs.load_datasets(_config(train_annotations="a.json", train_images="images"))
    assert config.data.class_names == ("dog", "cat") and config.model.num_classes == 2
    assert config.data.train_images == str(tmp_path / "images") and config.data.val_annotations == ""
    assert len(train.images) == 1 and val is None
    assert config.train.to_dict() == configs.default_train().to_dict()


def test_given_class_names_decide_the_order(tmp_path):
    annotations, images = _dataset(tmp_path)
    given = _config(train_annotations=str(annotations), train_images=str(images), class_names=("cat", "dog"))
    assert configs.load_datasets(given)[0].data.class_names == ("cat", "dog")


def test_paths_of_data_that_shapes_would_not_use_are_refused(tmp_path):
    shapes = dict(num_train=1, num_val=1, image_size=(64, 64), seed=0)
    given = _config(source="shapes", directory=str(tmp_path), shapes=shapes)
    resolved, _, _ = configs.load_datasets(given)
    assert configs.load_datasets(resolved)[0].to_dict() == resolved.to_dict()
    given.data.train_images = str(tmp_path / "mine")
    with pytest.raises(ValueError, match="config.data.train_images is .*/mine, but the data of .*'shapes' lie in"):
        configs.load_datasets(given)


def test_the_callers_config_is_left_alone(tmp_path):
    annotations, images = _dataset(tmp_path)
    given = _config(train_annotations=str(annotations), train_images=str(images))
    before = given.to_dict()
    configs.load_datasets(given)
    assert given.to_dict() == before


def _folder(tmp_path, parts):
    """A folder as Roboflow writes COCO JSON."""
    for part in parts:
        examples.write_coco(tmp_path / part / "_annotations.coco.json", tmp_path / part)


def test_a_folder_gives_all_paths_that_are_not_set(tmp_path, monkeypatch, caplog):
    monkeypatch.setattr(logging.get_absl_logger(), "propagate", True)
    _folder(tmp_path, ["train", "valid", "other"])
    monkeypatch.chdir(tmp_path)
    config, _, val = configs.load_datasets(_config(path="."))
    assert not config.data.path and config.data.train_images == str(tmp_path / "train")
    assert config.data.val_annotations == str(tmp_path / "valid" / "_annotations.coco.json") and len(val.images) == 3
    assert configs.load_datasets(config)[0].to_dict() == config.to_dict()  # as a run that goes on
    given = _config(path=".", val_images="other", val_annotations="other/_annotations.coco.json")
    assert configs.load_datasets(given)[0].data.val_annotations.startswith(str(tmp_path / "other"))
    assert "No validation data" not in caplog.text


def test_a_folder_without_validation_data(tmp_path, monkeypatch, caplog):
    monkeypatch.setattr(logging.get_absl_logger(), "propagate", True)
    _folder(tmp_path, ["train"])
    assert configs.load_datasets(_config(path=str(tmp_path)))[2] is None
    assert caplog.text.count("No validation data (config.data.val_annotations), and none held out") == 1
    caplog.clear()
    config, train, val = configs.load_datasets(_config(path=str(tmp_path), val_share=0.4))
    assert (len(train.images), len(val.images), caplog.text) == (2, 1, "")
    for part, again in (("train", train), ("val", val)):
        images = configs.load_split(config, part).images
        assert [record.id for record in images] == [record.id for record in again.images]
    _folder(tmp_path, ["valid"])
    assert len(configs.load_datasets(_config(path=str(tmp_path), val_share=0.4))[1].images) == 3


def test_images_without_boxes_are_left_out_of_training_alone(tmp_path):
    """A fifth of 20 images is held out, whatever they hold; half of them have no box."""
    annotations, images = _dataset(tmp_path)
    content = json.loads(annotations.read_text())
    image, box = content["images"][0], content["annotations"][0]
    content["images"] = [{**image, "id": number, "file_name": f"{number}.png"} for number in range(20)]
    content["annotations"] = [{**box, "id": number, "image_id": number} for number in range(10)]
    for number in range(20):
        shutil.copy(images / "a.png", images / f"{number}.png")
    annotations.write_text(json.dumps(content))
    given = {"train_annotations": str(annotations), "train_images": str(images), "val_share": 0.2}
    _, train, val = configs.load_datasets(_config(**given))
    config, with_boxes, same = configs.load_datasets(_config(**given, keep_empty=False))
    assert len(train.images) == 16 and any(not len(record.boxes) for record in val.images)
    assert [record.id for record in same.images] == [record.id for record in val.images]
    assert [record.id for record in with_boxes.images] == [each.id for each in train.images if len(each.boxes)]
    assert len(configs.load_split(config, "train").images) == len(with_boxes.images)


@pytest.mark.parametrize("layout", ["voc", "yolo"])
def test_validation_images_below_the_training_images_are_named(tmp_path, monkeypatch, caplog, layout):
    monkeypatch.setattr(logging.get_absl_logger(), "propagate", True)
    if layout == "voc":
        for folder in (tmp_path, tmp_path / "val"):
            examples.write_voc(folder, folder)
    else:
        examples.write_labels(tmp_path / "labels" / "val", tmp_path / "images" / "val")
        examples.write_labels(tmp_path / "labels", tmp_path / "images")
        examples.write_text(tmp_path / "data.yaml", "names: [cat, dog]\ntrain: images\nval: images/val")
    _, train, val = configs.load_datasets(_config(path=str(tmp_path)))
    assert len(val.images) == 3 and len(train.images) == 6
    assert "3 of the 3 validation images are training images, too, such as" in caplog.text


def test_yolo_is_read_by_its_splits_and_needs_no_images_folder(tmp_path):
    for part in ("train", "val"):
        path = examples.write_yolo(tmp_path, part, "names: [cat, dog]")
    config, train, val = configs.load_datasets(_config(train_annotations=str(path), val_annotations=str(path)))
    assert "train" in train.images[0].path and "val" in val.images[0].path and config.data.val_images == ""


def test_classes_of_the_training_data_are_those_of_the_validation_data(tmp_path):
    """VOC has no list of classes: a class without an object in one part is still the same class."""
    for part in ("train", "valid"):
        examples.write_voc(tmp_path / part, tmp_path / part)
    (tmp_path / "valid" / "a.xml").unlink()  # the only one with a dog
    _, train, val = configs.load_datasets(_config(path=str(tmp_path)))
    assert val.class_names == train.class_names == examples.CLASSES
    assert val.category_ids == train.category_ids


@pytest.mark.parametrize(
    "data, message",
    [
        ({}, r"config.data.train_annotations is not set.*--config.data.train_annotations=data/annotations/train.json"),
        ({"train_annotations": "no.json"}, "config.data.train_annotations: there is no annotation file .*no.json"),
        (
            {"train_annotations": "/", "format": "vok"},
            "config.data.format is 'vok'; it must be one of 'auto', 'coco', 'voc'",
        ),
        ({"path": "/none"}, r"config.data.path: no training data \(tfrecord, coco, yolo, voc, csv\) in /none"),
        (
            {"train_annotations": "/", "val_images": "v"},
            "config.data.val_images is v, but config.data.val_annotations is",
        ),
        ({"path": "/none", "source": "shapes"}, "config.data.path is /none, but config.data.source is 'shapes'"),
        ({"source": "shapes"}, "config.data.directory is not set"),
        ({"source": "voc"}, "config.data.source is 'voc'"),
        ({"flip": 0.0}, "config.data.flip is an entry of config.data.augmentations now"),
        ({"augmentations": ({"name": "flp"},)}, r"config.data.augmentations\[0\]: there is no operation 'flp'"),
        ({"augmentations": ("flip",)}, r"config.data.augmentations\[0\]: 'flip' is no dict"),
        ({"augmentations": ({"name": "flip"}, {"name": "blur", "sigma": 3})}, r"augmentations\[1\]: blur: sigma is 3"),
        ({"augmentations": ({"name": "flip"}, {"name": "zoom"})}, r"config.data.augmentations\[1\]: zoom works as"),
        ({"mixing_until": 1.5}, "config.data.mixing_until is 1.5; it must be a number from 0 to 1"),
        ({"mixing_until": -0.1}, "config.data.mixing_until is -0.1"),
        ({"keep_empty": "maybe"}, "config.data.keep_empty is 'maybe'; it must be True or False"),
        ({"shapes": 3}, "config.data.shapes is 3; it must be a dict of fields, which are image_size, num_train, "),
        (
            {"train_anotations": "a.json"},
            "config.data has no field train_anotations. Did you mean train_annotations. It has augmentations",
        ),
    ],
)
def test_errors_name_the_field(data, message):
    with pytest.raises(ValueError, match=message):
        configs.load_datasets(_config(**data))


def test_counts_are_at_least_one():
    config = _config()
    config.train = {"evaluate_every": 0}
    with pytest.raises(ValueError, match="config.train.evaluate_every is 0; it must be a whole number of at least 1"):
        configs.complete(config)


@pytest.mark.parametrize(
    "train, message",
    [
        ({"swa_epochs": 3, "swa_cycle_epochs": 2}, "config.train.swa_epochs is 3; it must be 0 or a multiple of .* 2"),
        ({"swa_epochs": -1}, "config.train.swa_epochs is -1"),
        ({"swa_epochs": 2, "ema_momentum": 0.9}, "only one average"),
        ({"swa_epochs": 2, "patience": 3}, "does not come to its averaging"),
        ({"warmup_share": 1.5}, "config.train.warmup_share is 1.5; it must be a number from 0 to 1"),
        ({"min_steps_per_epoch": 0}, "config.train.min_steps_per_epoch is 0; it must be a whole number of at least 1"),
        ({"swa_bn_batches": 0}, "config.train.swa_bn_batches is 0; it must be a whole number of at least 1"),
    ],
)
def test_weight_averaging_that_cannot_be(train, message):
    config = _config()
    config.train = train
    with pytest.raises(ValueError, match=message):
        configs.complete(config)


def test_a_run_from_before_a_field_goes_on(tmp_path):
    config = configs.complete(_config())
    run = RunDirectory(tmp_path)
    run.checkpoints.mkdir()
    (run.checkpoints / "ckpt-1.index").touch()
    older = config.to_dict()
    del older["train"]["swa_epochs"]
    run.config_file.write_text(json.dumps(older))
    run.start(config)
    assert run.read_config().train.swa_epochs == 0
    config.train.swa_epochs = 2
    with pytest.raises(ValueError, match="config.train.swa_epochs: 0 in the run, now 2"):
        run.start(config)


def test_images_folder_is_checked(tmp_path):
    annotations, _ = _dataset(tmp_path)
    with pytest.raises(ValueError, match="config.data.train_images: there is no folder"):
        configs.load_datasets(_config(train_annotations=str(annotations), train_images=str(tmp_path / "none")))


def test_json_round_trip_keeps_tuples():
    operations = ({"name": "zoom", "factor": (0.5, 2.0)}, {"name": "flip", "probability": 0.25})
    config = configs.complete(_config(scale=(640, 512), augmentations=operations))
    again = configs.from_json(configs.to_json(config))
    assert again.to_dict() == config.to_dict() and again.data.scale == (640, 512)
    assert again.data.augmentations == operations and type(again.data.augmentations[0]) is dict
    assert configs.differing_fields(config, again) == []


@pytest.mark.parametrize(
    "flag, expected",
    [
        ("=({'name': 'blur', 'sigma': (0.5, 1)},)", ({"name": "blur", "sigma": (0.5, 1)},)),
        ("=()", ()),
        (
            "[0].probability=0.125",
            ({"name": "flip", "probability": 0.125}, {"name": "vertical_flip", "probability": 0.5}),
        ),
    ],
)
def test_operations_on_the_command_line(flag, expected):
    config = overridden(load_config("gflv2_shapes"), [f"--config.data.augmentations{flag}"])
    assert configs.complete(config).data.augmentations == expected


def test_differing_fields():
    flip = ({"name": "flip", "probability": 0.25},)
    one, other = configs.complete(_config(augmentations=flip)), configs.complete(_config(augmentations=()))
    other.train.log_every = 7
    del other.model["num_classes"]
    found = configs.differing_fields(one, other, ignored=("train.log_every",))
    assert found == [("data.augmentations", flip, ()), ("model.num_classes", 80, None)]


def test_run_directory_without_a_run(tmp_path):
    with pytest.raises(ValueError, match="holds no run"):
        load_run(tmp_path)


def test_run_without_weights(tmp_path):
    RunDirectory(tmp_path / "run").start(configs.complete(_config()))
    with pytest.raises(ValueError, match="has no best.npz yet"):
        load_run(tmp_path / "run")
    with pytest.raises(ValueError, match="choose one of best, last"):
        load_run(tmp_path / "run", "newest")


def test_unknown_precision():
    config = configs.complete(_config())
    config.precision = "float16"
    with pytest.raises(ValueError, match="config.precision is 'float16'; it must be one of"):
        build_detector(config)


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_every_config_is_whole(path):
    config = load_config(path)
    whole = configs.complete(config)
    for part in ("data", "train"):
        given = config[part].to_dict()
        assert {name: value for name, value in whole[part].to_dict().items() if name in given} == given


def test_published_schedules():
    """VarifocalNet's own: biases at twice the rate without decay, another start of the warm-up; VFNet-X's averaging."""
    vfnet, gfl, vfnetx = (
        configs.complete(load_config(path)).train
        for name in ("vfnet_r50_fpn_ms2x", "gfl_r50_fpn_ms2x", "vfnetx_r2_101_fpn_mdconv_c3-c5")
        for path in CONFIGS
        if path.stem == name
    )
    assert (vfnet.bias_learning_rate_factor, vfnet.decay_bias, vfnet.warmup_factor) == (2.0, False, 0.1)
    assert (gfl.bias_learning_rate_factor, gfl.decay_bias, gfl.warmup_factor) == (1.0, True, 0.001)
    assert (vfnet.epochs, vfnet.milestones, vfnet.swa_epochs) == (24, (16, 22), 0)
    assert (vfnetx.epochs, vfnetx.milestones, vfnetx.swa_epochs) == (41, (36, 40), 18)


def test_weights_of_an_older_version(tmp_path):
    RunDirectory(tmp_path / "run").start(configs.complete(_config()))
    (tmp_path / "run" / "best.weights.h5").touch()
    with pytest.raises(ValueError, match="was trained by gfl_tf 0.1.0"):
        load_run(tmp_path / "run")
