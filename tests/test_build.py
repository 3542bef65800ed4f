"""config -> model: what each field does, and what a wrong one says."""

import sys
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

import gfl_tf
from gfl_tf import losses
from gfl_tf.build import default_model
from gfl_tf.checkpoints import weight_file
from gfl_tf.config_files import load_config
from gfl_tf.heads.gfl import GFLHead, GFLV2Head
from gfl_tf.training import config as configs

CONFIGS = sorted((Path(__file__).resolve().parents[1] / "configs").glob("*.py"))
TINY_BACKBONE = dict(
    stackwise_filters=(64, 16, 16, 16),
    stackwise_blocks=(1, 1, 1, 1),
    stackwise_strides=(1, 2, 2, 2),
    block_type="basic_block",
    include_rescaling=True,
)


def shrink(config):
    """Every module of `config` in a tiny size, random weights."""
    config.model.backbone.update(name="resnet", weights="")
    with config.model.backbone.unlocked():
        config.model.backbone.arguments = TINY_BACKBONE
    config.model.neck.channels = 16
    if config.model.neck.name == "pafpnx":
        config.model.neck.groups = 4
    config.model.head.update(channels=16, num_convs=1, groups=4)
    return config


@pytest.fixture
def config():
    config = load_config(CONFIGS[0])
    config.name = "tiny"
    config.model = default_model()
    return shrink(config)


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_every_config_describes_a_model(path):
    config = shrink(load_config(path))
    assert config.name == path.stem
    model = gfl_tf.build_detector(config)
    detectors = {"atss": gfl_tf.ATSS, "gfl": gfl_tf.GFL, "gflv2": gfl_tf.GFLV2, "vfnet": gfl_tf.VFNet}
    assert type(model) is detectors[config.model.detector]
    outputs = model(tf.zeros((1, 64, 64, 3)))
    assert outputs["classification"].shape == (1, 64 + 16 + 4 + 1 + 1, config.model.num_classes)
    assert ("quality" in outputs) == (config.model.detector == "gflv2")


def test_a_path_will_do(tmp_path):
    """A config file of the user's own, outside the repository."""
    path = tmp_path / "mine.py"
    path.write_text(
        "import ml_collections\n"
        "from gfl_tf.build import default_model\n"
        "def get_config():\n"
        "    config = ml_collections.ConfigDict(dict(name='mine', model=default_model()))\n"
        f"    config.model.backbone.arguments = {TINY_BACKBONE!r}\n"
        "    config.model.num_classes = 7\n"
        "    config.model.neck.channels = 32\n"
        "    return config\n"
    )
    for given in (path, str(path)):
        model = gfl_tf.build_detector(given)
        assert model.name == "mine" and model.num_classes == 7
    # The papers' values, where the file says nothing.
    assert model.head.num_bins == 16 and len(model.head.base.class_tower) == 4
    assert model.head.base.class_tower[3].conv.filters == 256
    assert (model.quality_weight, model.box_weight, model.distribution_weight) == (1.0, 2.0, 0.25)
    assert model.prediction_decoder.get_config() == gfl_tf.PredictionDecoder().get_config()


def test_fields_reach_the_model(config):
    config.model.update(
        bounding_box_format="xywh", num_classes=5, mean=(1.0, 2, 3), std=(4.0, 5, 6), bin_width=0.5, box_weight=3.0
    )
    config.model.head.num_bins = 8
    config.model.dgqp.update(k=2, hidden=12, statistics=("mean", "variance"))
    config.model.decoder.update(nms="soft_gaussian", max_detections=17)
    model = gfl_tf.build_detector(config)
    assert isinstance(model.head, GFLV2Head)
    assert (model.bounding_box_format, model.pad_value, model.bin_width) == ("xywh", (1, 2, 3), 0.5)
    assert model.box_weight == 3.0
    assert model.head.dgqp.statistics == ("mean", "variance")
    assert [tuple(weight.shape) for weight in model.head.dgqp.weights][:2] == [(8, 12), (12,)]
    assert model.predict(np.zeros((1, 64, 64, 3)), verbose=0)["boxes"].shape == (1, 17, 4)
    assert model(tf.zeros((1, 64, 64, 3)))["box"].shape[-1] == 4 * 9
    assert model.prediction_decoder.nms == "soft_gaussian"


def test_composed_form(config):
    config.model.dgqp.composed_channels = 16
    model = gfl_tf.build_detector(config)
    assert isinstance(model, gfl_tf.GFLV2) and isinstance(model.head, GFLHead)
    assert set(model.output) == {"classification", "box"}
    assert model.head.composed.outputs == 16


@pytest.mark.parametrize("name, loss", [("focal", losses.FocalLoss), ("varifocal", losses.VarifocalLoss)])
def test_classification_loss(config, name, loss):
    config.model.update(detector="gfl", classification_loss=name)
    assert isinstance(gfl_tf.build_detector(config).classification_loss, loss)


def test_frozen_batch_norm(config):
    config.model.backbone.freeze_batch_norm = True
    names = [variable.name for variable in gfl_tf.build_detector(config).backbone.trainable_variables]
    assert names and not any("gamma" in name or "beta" in name for name in names)


def test_a_model_of_keras_applications(config):
    levels = dict(P3="conv_pw_5_relu", P4="conv_pw_11_relu", P5="conv_pw_13_relu")
    with config.model.backbone.unlocked():
        config.model.backbone.name = "keras_applications"
        config.model.backbone.arguments = dict(model="MobileNet", alpha=0.25, levels=levels)
    config.model.update(mean=(127.5,) * 3, std=(127.5,) * 3)
    model = gfl_tf.build_detector(configs.from_json(configs.to_json(config)))
    assert model.backbone.pyramid_level_inputs == levels and model.mean == (127.5,) * 3
    config.model.backbone.arguments.levels.P4 = "conv_pw_12_relu"
    with pytest.raises(ValueError, match=r"P4 \(conv_pw_12_relu\) must have 1/16 of the image's size"):
        gfl_tf.build_detector(config)


KERAS_HUB_RESNET = dict(
    backbone="ResNetBackbone",
    input_conv_filters=(64,),
    input_conv_kernel_sizes=(7,),
    stackwise_num_filters=(64, 16, 16, 16),
    stackwise_num_blocks=(1, 1, 1, 1),
    stackwise_num_strides=(1, 2, 2, 2),
    block_type="basic_block",
)


def test_a_model_of_keras_hub(config, tmp_path, caplog):
    """With the weights of a preset; the normalization that they were trained with is known from it."""
    keras_hub = pytest.importorskip("keras_hub", reason="KerasHub is not installed; it needs Keras 3")
    with config.model.backbone.unlocked():
        config.model.backbone.name = "keras_hub"
        config.model.backbone.arguments = KERAS_HUB_RESNET
    first = gfl_tf.build_detector(configs.from_json(configs.to_json(config)))
    first.backbone.save_to_preset(tmp_path)
    config.model.backbone.weights = str(tmp_path)

    def warnings():
        caplog.clear()
        second = gfl_tf.build_detector(config)
        assert first.backbone.get_weights()
        for one, other in zip(first.backbone.get_weights(), second.backbone.get_weights()):
            np.testing.assert_array_equal(one, other)
        return [record.getMessage() for record in caplog.records if "config.model.mean" in record.getMessage()]

    assert warnings() == []
    keras_hub.layers.ImageConverter(scale=[1 / 63.75] * 3, offset=[-2.0] * 3).save_to_preset(tmp_path)
    (warning,) = warnings()
    assert warning.startswith("config.model.mean is None and std is None, but the backbone weights")
    config.model.update(mean=(127.5,) * 3, std=(63.75,) * 3)
    assert warnings() == []


def test_keras_hub_is_not_there(config, monkeypatch):
    monkeypatch.setitem(sys.modules, "keras_hub", None)
    with config.model.backbone.unlocked():
        config.model.backbone.name = "keras_hub"
        config.model.backbone.arguments = KERAS_HUB_RESNET
    with pytest.raises(ValueError, match="config.model of tiny: KerasHub .*pip install .*keras-hub$"):
        gfl_tf.build_detector(config)


@pytest.mark.parametrize("name", ["backbone.weights.h5", "detector.npz"])
def test_backbone_weights_from_a_file(config, name, tmp_path):
    first = gfl_tf.build_detector(config)
    if name.endswith(".npz"):
        weight_file.save(weight_file.named_variables(first), tmp_path / name)
    else:
        first.backbone.save_weights(tmp_path / name)
    config.model.backbone.weights = str(tmp_path / name)
    second = gfl_tf.build_detector(config)
    assert first.backbone.get_weights()
    for one, other in zip(first.backbone.get_weights(), second.backbone.get_weights()):
        np.testing.assert_array_equal(one, other)


def test_a_whole_detector_to_start_from(config, tmp_path):
    first = gfl_tf.build_detector(config)
    weight_file.save(weight_file.named_variables(first), tmp_path / "run.npz")
    config.model.update(weights=str(tmp_path / "run.npz"))
    # The backbone's own weights would be overwritten: they are not even looked for.
    config.model.backbone.weights = "missing.weights.h5"
    second = gfl_tf.build_detector(config)
    for one, other in zip(first.get_weights(), second.get_weights()):
        np.testing.assert_array_equal(one, other)

    config.model.num_classes = 7
    with pytest.raises(ValueError):
        gfl_tf.build_detector(config)
    assert gfl_tf.build_detector(config, load_weights=False).num_classes == 7
    config.model.partial_weights = True
    third = gfl_tf.build_detector(config)
    np.testing.assert_array_equal(third.head.base.box.kernel, first.head.base.box.kernel)
    assert third.head.base.classification.kernel.shape[-1] == 7


WRONG = [
    ("detector", "fcos", r"config.model.detector: 'fcos' is not one of \['atss', 'gfl', 'gflv2', 'vfnet'\]"),
    ("weights", "missing.pth", "config.model.weights: there is no file .*missing.pth"),
    ("backbone.weights", "missing.pth", "config.model.backbone.weights: there is no file .*missing.pth"),
    ("backbone.weights", "https://127.0.0.1:9/resnet50.pth", "could not fetch the backbone weights 'https://127"),
    ("backbone.name", "vgg", "config.model.backbone.name: 'vgg' is not one of .*'resnet'"),
    ("neck.name", "bifpn", "config.model.neck.name: 'bifpn'"),
    ("classification_loss", "hinge", "config.model.classification_loss: 'hinge'"),
    ("backbone.weights", "missing.weights.h5", "'missing.weights.h5' is neither a file nor one of .*resnet50_imagenet"),
    ("decoder.nms", "linear", "nms is one of .* not 'linear'"),
    ("head.groups", 5, "16 channels do not divide into 5 groups"),
    ("dgqp.statistics", ("median",), "median"),
    ("box_wait", 1.0, "config.model of tiny: .*box_wait"),
    ("head.depth", 2, "config.model of tiny: .*depth"),
    ("neck.depth", 2, "config.model of tiny: .*depth"),
    ("decoder.iou", 0.5, "config.model of tiny: .*iou"),
    ("backbone.arguments.depth", 50, "config.model of tiny: .*depth"),
]


@pytest.mark.parametrize("field, value, message", WRONG, ids=[f"{field}={value}" for field, value, _ in WRONG])
def test_a_wrong_field_is_named(config, field, value, message):
    with config.unlocked():
        parts = field.split(".")
        node = config.model
        for part in parts[:-1]:
            node = node[part]
        node[parts[-1]] = value
    with pytest.raises(ValueError, match=message):
        gfl_tf.build_detector(config)


def test_the_product_score_has_its_own_loss(config):
    """GFLv2's decomposed form would ignore the choice: it says so."""
    config.model.classification_loss = "focal"
    with pytest.raises(ValueError, match="its own joint loss"):
        gfl_tf.build_detector(config)
    config.model.dgqp.composed_channels = 16
    assert isinstance(gfl_tf.build_detector(config).classification_loss, losses.FocalLoss)


def test_fields_of_varifocal_net(config):
    """Tables 2 and 3 of the paper."""
    config.model = default_model("vfnet")
    shrink(config)
    model = gfl_tf.build_detector(config)
    assert (model.classification_weight, model.box_weight, model.refined_box_weight) == (1.0, 1.5, 2.0)
    loss = model.classification_loss
    assert (type(loss), loss.alpha, loss.gamma, loss.iou_weighted) == (losses.VarifocalLoss, 0.75, 2.0, True)
    assert model.head.star and model.head.refine and model.neck.extra_relu and model.quality_targets

    config.model.varifocal.update(alpha=1.25, gamma=2.5, iou_weighted=False)
    loss = gfl_tf.build_detector(config).classification_loss
    assert (loss.alpha, loss.gamma, loss.iou_weighted) == (1.25, 2.5, False)

    config.model.head.update(star=False, refine=False)
    config.model.update(classification_loss="focal", quality_targets=False)
    model = gfl_tf.build_detector(config)
    assert isinstance(model.classification_loss, losses.FocalLoss) and not model.quality_targets
    assert set(model.output) == {"classification", "box"} and not model.head.star


def test_missing_config_file():
    with pytest.raises(ValueError, match="no config file at configs/nowhere.py"):
        gfl_tf.build_detector("configs/nowhere.py")
