"""config -> model: what each field does, and what a wrong one says."""

import json
import runpy
import sys
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf

import gfl_tf
from gfl_tf import build, config_files, losses
from gfl_tf.build import PARTS, RECIPES, default_model
from gfl_tf.checkpoints import weight_file
from gfl_tf.config_files import load_config
from gfl_tf.heads.tower_head import TowerHead
from gfl_tf.scores.dgqp import DGQPScore
from gfl_tf.training import config as configs
from tests.tiny import values

CONFIGS = sorted((Path(__file__).resolve().parents[1] / "configs").glob("*_*.py"))  # not the tables of papers
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


def tiny(detector):
    config = load_config(CONFIGS[0])
    config.name = "tiny"
    config.model = default_model(detector)
    return shrink(config)


@pytest.fixture
def config():
    return tiny("gflv2")


def set_field(config, field, value):
    with config.unlocked():
        *parts, last = field.split(".")
        node = config
        for part in parts:
            node = node[part]
        if last in node:
            del node[last]  # a ConfigDict keeps the type of a field
        node[last] = value


def loss_of(model):
    """Of an image with one box."""
    labels = {"boxes": tf.constant([[[8.0, 10, 50, 60]]]), "classes": tf.constant([[1]])}
    images = tf.random.uniform((1, 64, 64, 3), maxval=255)
    return float(model.compute_loss(images, labels, model(images)))


def part_types(parts):
    return [type(getattr(parts, name)) for name in ("assigner", "boxes", "score", "classification_loss", "box_loss")]


@pytest.mark.one_stack
@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_every_config_describes_a_model(path):
    config = shrink(load_config(path))
    assert config.name == path.stem
    model = gfl_tf.build_detector(config)
    recipe = RECIPES[path.stem.split("_")[0].removesuffix("x")]
    assert part_types(model) == part_types(recipe)
    assert model.output["classification"].shape[-1] == config.model.num_classes
    assert ("quality" in model.output) == recipe.score.has_quality_output


# The rows of papers: tests/ablation/test_tables.py.
OWN = [f"{name}:{detector}" for name in ("small", "gflv2_shapes", "papers") for detector in RECIPES]
PUBLISHED = [f"published:{model}" for model in runpy.run_path(str(config_files.find("published")))["MODELS"]]
SMALL = [f"small:gflv2/{backbone}" for backbone in runpy.run_path(str(config_files.find("small")))["BACKBONES"]]
TUNED = [
    f"finetune:{name}" for name in ("vfnet_r50_fpn_1x", "gfl_kerascv_r50_1x", "published:fcos_r50_caffe_fpn_gn-head_1x")
]


@pytest.mark.one_stack
@pytest.mark.parametrize("name", [*PUBLISHED, *OWN, *SMALL, *TUNED])
def test_every_argument_of_a_config_describes_parts(name, monkeypatch):
    """All that there is to a detector but for its backbone, which comes last."""

    class Reached(Exception):
        pass

    def build_backbone(**arguments):
        raise Reached

    config = load_config(name)
    monkeypatch.setitem(build.BACKBONES, config.model.backbone.name, build_backbone)
    with pytest.raises(Reached):
        gfl_tf.build_detector(config, load_weights=False)


@pytest.mark.parametrize("row", ["gfl_1a/fcos/iou_branch", "gfl_2a/atss/gaussian", "gflv2_5/retinanet_gflv2"])
def test_rows_of_the_papers_learn(row):
    assert np.isfinite(loss_of(gfl_tf.build_detector(shrink(load_config(f"papers:{row}")))))


@pytest.mark.one_stack
@pytest.mark.parametrize("detector", RECIPES)
def test_a_config_is_its_recipe(detector):
    """In full width, by way of JSON, as a run directory has it."""
    config = configs.from_json(configs.to_json(load_config(CONFIGS[0])))
    config.model = configs.from_json(configs.to_json(default_model(detector)))
    with config.unlocked():
        config.model.backbone.arguments = TINY_BACKBONE
    by_config = gfl_tf.build_detector(config)
    backbone = build.BACKBONES["resnet"](**TINY_BACKBONE)
    by_recipe = RECIPES[detector](backbone, 80, "xyxy", name=config.name)

    def description(model):
        content = {name: value for name, value in model.get_config().items() if name != "backbone"}
        return json.loads(json.dumps(content))

    assert description(by_config) == description(by_recipe)
    shapes = [
        {name: value.shape for name, value in weight_file.named_variables(model).items()}
        for model in (by_config, by_recipe)
    ]
    assert shapes[0] == shapes[1]


@pytest.mark.parametrize(
    "field, name", [(field, name) for field, known in PARTS.items() if isinstance(known, dict) for name in known]
)
def test_every_part_by_name(field, name):
    """It is built with its own defaults, among the parts of GFL, and the detector learns and predicts."""
    config = tiny("vfnet" if (field, name) == ("head", "vfnet") else "gfl")
    small = {"neck": dict(channels=16), "head": dict(channels=16, num_convs=1, groups=4)}.get(field, {})
    set_field(config, f"model.{field}", {"name": name, **small, **({"groups": 4} if name == "pafpnx" else {})})
    model = gfl_tf.build_detector(config)
    assert type(getattr(model, field)) is PARTS[field][name]
    assert np.isfinite(loss_of(model))
    assert model.detect(tf.zeros((1, 64, 64, 3)))["boxes"].shape == (1, 100, 4)


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
    assert model.boxes.num_bins == 16 and len(model.head.class_tower) == 4
    assert model.head.class_tower[3].conv.filters == 256
    assert (model.classification_weight, model.box_weight, model.boxes.distribution_weight) == (1.0, 2.0, 0.25)
    assert model.prediction_decoder == gfl_tf.PredictionDecoder()


def test_fields_reach_the_model(config):
    config.model.update(
        bounding_box_format="xywh", num_classes=5, mean=(1.0, 2, 3), std=(4.0, 5, 6), box_weight=3.0,
        classification_weight=0.5, count_empty_images=False,
    )  # fmt: skip
    config.model.boxes.update(num_bins=8, bin_width=0.5)
    config.model.score.update(k=2, hidden=12, statistics=("mean", "variance"))
    config.model.assigner.k = 5
    config.model.grid.offset = 0.5
    config.model.classification_loss.beta = 1.5
    config.model.decoder.update(nms="soft_gaussian", max_detections=17)
    model = gfl_tf.build_detector(config)
    assert (model.bounding_box_format, model.pad_value, model.boxes.bin_width) == ("xywh", (1, 2, 3), 0.5)
    assert (model.box_weight, model.classification_weight, model.count_empty_images) == (3.0, 0.5, False)
    assert (model.assigner.k, model.grid.offset, model.classification_loss.beta) == (5, 0.5, 1.5)
    assert type(model.head) is TowerHead and model.head.dgqp.statistics == ("mean", "variance")
    assert [tuple(weight.shape) for weight in model.head.dgqp.weights][:2] == [(8, 12), (12,)]
    assert model.predict(np.zeros((1, 64, 64, 3)), verbose=0)["boxes"].shape == (1, 17, 4)
    assert model(tf.zeros((1, 64, 64, 3)))["box"].shape[-1] == 4 * 9
    assert model.prediction_decoder.nms == "soft_gaussian"


def test_composed_form(config):
    config.model.score.composed_channels = 16
    model = gfl_tf.build_detector(config)
    assert isinstance(model.score, DGQPScore) and set(model.output) == {"classification", "box"}
    assert model.head.dgqp.outputs == 16


@pytest.mark.one_stack
@pytest.mark.parametrize("name", PARTS["classification_loss"])
def test_classification_loss_of_the_product(config, name):
    """Each serves GFLv2's score too, whose second logit it is given."""
    set_field(config, "model.classification_loss", {"name": name})
    model = gfl_tf.build_detector(config)
    assert type(model.classification_loss) is PARTS["classification_loss"][name]
    before = loss_of(model)
    model.head.dgqp.output_layer.bias.assign([-5.0])
    assert np.isfinite(before) and abs(loss_of(model) - before) > 1e-3 * before


@pytest.mark.one_stack
@pytest.mark.parametrize("neck, levels", [("fpn", (2, 3, 4, 5)), ("pafpnx", (2, 3, 4, 5, 6)), ("fpn", (4, 5, 6))])
def test_levels(neck, levels):
    config = tiny("gfl")
    set_field(config, "model.neck", {"name": neck, "channels": 16, **({"groups": 4} if neck == "pafpnx" else {})})
    config.model.grid.levels = levels
    model = gfl_tf.build_detector(config)
    assert model.neck.levels == model.head.levels == levels
    outputs = model(tf.zeros((1, 64, 128, 3)))
    assert outputs["box"].shape[1] == sum(-(-64 // 2**level) * -(-128 // 2**level) for level in levels)
    assert np.isfinite(loss_of(model))


@pytest.mark.one_stack
@pytest.mark.parametrize("detector", ["retinanet", "fcos", "gflv2"])
def test_anchors(detector):
    """Nine a point, also where a detector has a quality or several numbers a side."""
    config = tiny(detector)
    for field in ("grid", "assigner"):
        set_field(config, f"model.{field}", default_model("retinanet")[field])
    model = gfl_tf.build_detector(config)
    outputs = model(tf.zeros((1, 64, 64, 3)))
    places = 9 * (64 + 16 + 4 + 1 + 1)
    assert {name: value.shape[1] for name, value in outputs.items()} == dict.fromkeys(outputs, places)
    assert np.isfinite(loss_of(model))
    assert model.detect(tf.zeros((1, 64, 64, 3)))["boxes"].shape == (1, 100, 4)


@pytest.mark.parametrize("precision, dtype", [("float32", "float32"), ("mixed_bfloat16", "bfloat16")])
def test_precision(config, precision, dtype):
    config.precision = precision
    model = gfl_tf.build_detector(config)
    assert keras.mixed_precision.global_policy().name == "float32"  # afterwards, as before
    assert model.head.class_tower[0].compute_dtype == model.backbone.layers[-1].compute_dtype == dtype
    assert {value.dtype for value in model(tf.zeros((1, 64, 64, 3))).values()} == {tf.float32}
    assert {tf.as_dtype(weight.dtype) for weight in model.weights} == {tf.float32}


def test_unknown_precision(config):
    config.precision = "double"
    with pytest.raises(ValueError, match="config.precision is 'double'; it must be one of .*'mixed_bfloat16'"):
        gfl_tf.build_detector(config)


def test_precision_is_as_before_after_an_error(config):
    config.precision = "mixed_bfloat16"
    config.model.boxes.bin_width = -1.0
    with pytest.raises(ValueError):
        gfl_tf.build_detector(config)
    assert keras.mixed_precision.global_policy().name == "float32"


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
    with pytest.raises(ValueError, match="config.model.backbone: KerasHub .*pip install .*keras-hub$"):
        gfl_tf.build_detector(config)


@pytest.mark.parametrize("name", ["backbone.weights.h5", "detector.npz"])
def test_backbone_weights_from_a_file(config, name, tmp_path):
    first = gfl_tf.build_detector(config)
    if name.endswith(".npz"):
        weight_file.save_arrays(values(first), tmp_path / name)
    else:
        first.backbone.save_weights(tmp_path / name)
    config.model.backbone.weights = str(tmp_path / name)
    said = []
    second = gfl_tf.build_detector(config, say=said.append)
    assert said == [f"backbone: 60 of 60 tensors taken from {tmp_path / name}"]
    assert first.backbone.get_weights()
    for one, other in zip(first.backbone.get_weights(), second.backbone.get_weights()):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize(
    "name, message",
    [
        (
            "wide.npz",
            r"wide.npz has the .*; not taken: .*kernel \(3, 3, 64, 32\) is \(3, 3, 64, 16\) in the model.* more$",
        ),
        ("other.npz", "other.npz has the weights of another model, .*0 of the 60 .* builds KerasCV's ResNet"),
        ("head.npz", r"head.npz is no weight file of gfl_tf, which has arrays backbone/...; it has head/x$"),
        ("page.npz", "page.npz is no weight file of gfl_tf, or damaged: it is a web page"),
        ("page.pth", "page.pth is a web page"),
        ("page.weights.h5", "config.model.backbone.weights: Keras cannot load .*page.weights.h5: "),
        ("wide.weights.h5", "config.model.backbone.weights: Keras cannot load .*wide.weights.h5: "),
        ("cut.weights.h5", "config.model.backbone.weights: Keras cannot load .*cut.weights.h5: "),
        ("page.txt", "config.model.backbone.weights: Keras cannot load .*page.txt: "),
        ("", "config.model.backbone.weights: '.*' is neither a file nor one of "),
    ],
)
def test_backbone_weights_that_do_not_fit(config, name, message, tmp_path):
    path = tmp_path / name
    kind, _, ending = name.partition(".")
    if kind in ("wide", "cut"):
        config.model.backbone.arguments.stackwise_filters = (64, 32, 32, 32)
        wide = gfl_tf.build_detector(config)
        config.model.backbone.arguments.stackwise_filters = (64, 16, 16, 16)
        if ending == "npz":
            weight_file.save_arrays(values(wide), path)
        else:
            wide.backbone.save_weights(path)
        path.write_bytes(path.read_bytes()[: 3000 if kind == "cut" else None])
    elif kind in ("other", "head"):
        np.savez(path, **{"backbone/x" if kind == "other" else "head/x": np.zeros(3)})
    elif kind:
        path.write_text("<html></html>")
    config.model.backbone.weights = str(path)
    with pytest.raises(ValueError, match=message) as raised:
        gfl_tf.build_detector(config)
    assert "\n" not in str(raised.value)


def test_a_whole_detector_to_start_from(config, tmp_path):
    first = gfl_tf.build_detector(config)
    weight_file.save_arrays(values(first), tmp_path / "run.npz")
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
    np.testing.assert_array_equal(third.head.box.kernel, first.head.box.kernel)
    assert third.head.classification.kernel.shape[-1] == 7


def test_weights_of_another_kind_of_detector_are_refused(config, tmp_path):
    weight_file.save_arrays(values(gfl_tf.build_detector(config)), tmp_path / "run.npz")
    other = tiny("gfl")
    other.model.weights = str(tmp_path / "run.npz")
    with pytest.raises(ValueError, match="run.npz.*without a place in the model:.*head/dgqp.*/hidden/kernel"):
        gfl_tf.build_detector(other)


WRONG = [
    ("precision", "double", "config.precision is 'double'; it must be one of .*'mixed_bfloat16'"),
    ("model.backbone.name", "vgg", "config.model.backbone.name is 'vgg'; it must be one of .*'resnet'"),
    ("model.backbone.depth", 50, "config.model.backbone has no field depth; it has arguments"),
    ("model.backbone.arguments.depth", 50, "config.model.backbone: ResNetBackbone has no argument depth"),
    *(
        (f"model.{field}.name", name, rf"config.model.{field}.name is {name!r}; it must be one of '")
        for field, known in PARTS.items()
        if isinstance(known, dict)
        for name in ("nonesuch", None)
    ),
    *((f"model.{field}.depth", 2, rf"config.model.{field}: \w+ has no field depth.* [Ii]t has \w+") for field in PARTS),
    ("model.detector", "gfl", r"of an earlier version of gfl_tf, .*default_model\('gfl'\) has the fields"),
    ("model.neck", "fpn", r"config.model.neck is 'fpn'; it must be dict\(name="),
    ("model.grid", "P3", r"config.model.grid is 'P3'; it must be dict\("),
    ("model.neck.levels", (3, 4), "config.model: the neck takes levels from .*grid"),
    ("model.head.num_classes", 3, "config.model: the head takes num_classes from"),
    ("model.head.box_outputs", 4, "config.model: the head takes box_outputs from"),
    ("model.head.quality", "box", "config.model: the head takes quality from"),
    ("model.head.prior", 1.0, "config.model: the head: prior is 1.0"),
    ("model.box_wait", 1.0, "config.model has no field box_wait. Did you mean box_weight. It has assigner"),
    ("model.grid.levels", (3, 5), r"config.model.grid: levels is \(3, 5\)"),
    ("model.grid.levels", (1, 2, 3, 4, 5), r"config.model.grid: levels is \(1, 2"),
    ("model.grid.levels", (6, 7), r"config.model.grid: levels is \(6, 7\)"),
    ("model.grid.anchor_scales", (), r"config.model.grid: anchor_scales is \(\)"),
    ("model.assigner.k", 0, "config.model.assigner: k is 0"),
    ("model.boxes.num_bins", 0, "config.model.boxes: num_bins is 0"),
    ("model.boxes.bin_width", -0.5, "config.model.boxes: bin_width is -0.5"),
    ("model.boxes.distribution_weight", -1.0, "config.model.boxes: distribution_weight is -1.0"),
    ("model.score.weight_boxes_by", "area", "config.model.score: weight_boxes_by is 'area'"),
    ("model.score.guided", "score", "config.model.score: guided is 'score'"),
    ("model.score.statistics", ("median",), r"config.model.score: statistics is \('median',\)"),
    ("model.score.k", 0, "config.model.score: k is 0"),
    ("model.score.composed_channels", -1, "config.model.score: composed_channels is -1"),
    ("model.score.prior", 0.0, "config.model.score: prior is 0.0"),
    ("model.classification_loss.beta", -1.0, "config.model.classification_loss: beta is -1.0"),
    ("model.decoder.nms", "linear", "config.model.decoder: nms is 'linear'"),
    ("model.decoder.score_threshold", 1.5, "config.model.decoder: score_threshold is 1.5"),
    ("model.decoder.max_detections", 0, "config.model.decoder: max_detections is 0"),
    ("model.box_weight", -1.0, "config.model: box_weight is -1.0"),
    ("model.classification_weight", -1.0, "config.model: classification_weight is -1.0"),
    ("model.refined_box_weight", -1.0, "config.model: refined_box_weight is -1.0"),
    ("model.head.groups", 5, "config.model: the head: 16 channels do not divide into 5 groups"),
    ("model.score.k", 18, "config.model: DGQP's k = 18 is larger than the 17 bins of a side"),
    ("model.mean", (1.0, 2.0, 3.0), "config.model: mean and std belong together"),
    ("model.bounding_box_format", "xyz", "config.model: .*xyz"),
]


@pytest.mark.one_stack
@pytest.mark.parametrize("field, value, message", WRONG, ids=[f"{field}={value}" for field, value, _ in WRONG])
def test_a_wrong_field_is_named(config, monkeypatch, field, value, message):
    """With its value, before anything of size is built."""
    if not field.startswith("model.backbone."):
        monkeypatch.setitem(build.BACKBONES, "resnet", None)  # it would fail otherwise
    set_field(config, field, value)
    with pytest.raises(ValueError, match=message):
        gfl_tf.build_detector(config)


# What only the built model, or what is outside of it, can tell.
WRONG_LATER = [
    ("weights", "missing.pth", "config.model.weights: there is no file .*missing.pth"),
    ("backbone.weights", "missing.pth", "config.model.backbone.weights: there is no file .*missing.pth"),
    ("backbone.weights", "https://127.0.0.1:9/resnet50.pth", "could not fetch the backbone weights 'https://127"),
    ("backbone.weights", "missing.weights.h5", "'missing.weights.h5' is neither a file nor one of .*resnet50_imagenet"),
]


@pytest.mark.parametrize("field, value, message", WRONG_LATER, ids=[f"{row[0]}={row[1]}" for row in WRONG_LATER])
def test_what_does_not_fit_is_named(config, field, value, message):
    set_field(config, f"model.{field}", value)
    with pytest.raises(ValueError, match=message):
        gfl_tf.build_detector(config)


@pytest.mark.one_stack
@pytest.mark.parametrize("field", ["backbone", "num_classes", "assigner", "boxes", "score", "classification_loss"])
def test_a_missing_field_is_named(config, field):
    with config.unlocked():
        del config.model[field]
    with pytest.raises(ValueError, match=f"config.model.{field} is missing"):
        gfl_tf.build_detector(config)


@pytest.mark.parametrize("field", ["assigner", "head"])
def test_an_error_of_our_own_is_none_of_the_users(config, monkeypatch, field):
    """It comes through as it is, not as a wrong value of a field."""

    class Broken(PARTS[field][config.model[field].name]):
        def __init__(self, *args, **kwargs):
            raise TypeError("a mistake inside")

    monkeypatch.setitem(PARTS[field], "broken", Broken)
    set_field(config, f"model.{field}", {"name": "broken"})
    with pytest.raises(TypeError, match="^a mistake inside$"):
        gfl_tf.build_detector(config)


def test_parts_that_do_not_fit_each_other():
    config = tiny("vfnet")
    set_field(config, "model.boxes", {"name": "general"})
    with pytest.raises(ValueError, match="config.model: VarifocalNet's head puts out four distances in pixels a point"):
        gfl_tf.build_detector(config)
    config = tiny("gfl")
    config.model.grid.anchor_scales = (4.0, 8.0)
    with pytest.raises(ValueError, match="ATSS has one anchor a point; this grid has 2"):
        loss_of(gfl_tf.build_detector(config))


@pytest.mark.one_stack
def test_fields_of_varifocal_net():
    """Tables 2 and 3 of the paper."""
    config = tiny("vfnet")
    model = gfl_tf.build_detector(config)
    assert (model.classification_weight, model.box_weight, model.refined_box_weight) == (1.0, 1.5, 2.0)
    loss = model.classification_loss
    assert (type(loss), loss.alpha, loss.gamma, loss.iou_weighted) == (losses.VarifocalLoss, 0.75, 2.0, True)
    assert model.head.star and model.head.refine and model.neck.extra_relu and model.score.quality_targets

    config.model.classification_loss.update(alpha=1.25, gamma=2.5, iou_weighted=False)
    loss = gfl_tf.build_detector(config).classification_loss
    assert (loss.alpha, loss.gamma, loss.iou_weighted) == (1.25, 2.5, False)

    config.model.head.update(star=False, refine=False)
    config.model.score.quality_targets = False
    set_field(config, "model.classification_loss", {"name": "focal"})
    model = gfl_tf.build_detector(config)
    assert isinstance(model.classification_loss, losses.FocalLoss) and not model.score.quality_targets
    assert set(model.output) == {"classification", "box"} and not model.head.star


def test_missing_config_file():
    with pytest.raises(ValueError, match="no config file at configs/nowhere.py"):
        gfl_tf.build_detector("configs/nowhere.py")
