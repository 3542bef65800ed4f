"""Versions of an exported model: numbered upwards, whole or absent, never overwritten."""

import json
import types

import pytest
import tensorflow as tf

from gfl_tf.boxes.distributions import GeneralDistribution
from gfl_tf.detectors.decoder import PredictionDecoder
from gfl_tf.serving import export, network, signatures
from tests.serving import warmup_requests


@pytest.fixture
def exporting(monkeypatch, tmp_path):
    """`export.export` to `tmp_path`/m, in no time: of y = 2 x in place of a detector.

    Its attribute `used` lists what each export was made with: precision, decoder and the other options of the trace.
    """
    weight = tf.Variable(2.0)
    model = types.SimpleNamespace(
        prediction_decoder=PredictionDecoder(nms="soft_gaussian"),
        boxes=GeneralDistribution(),
        edge_calibration=None,
        num_classes=2,
    )

    @tf.function(input_signature=[tf.TensorSpec([None], tf.float32)])
    def double(x):
        return {"y": x * weight}

    def trace(model, scale, class_names, decoder, *options):
        run.used[-1] += (decoder.get_config(), options)
        concrete = double.get_concrete_function()
        return {"serving_default": concrete}, {"network": concrete}

    def serving_model(model, precision):
        run.used.append((precision,))
        return model

    def run(class_names=None, config=None, evaluation=None, **options):
        options = export.Options(**options)
        return export.export(model, (64, 64), tmp_path, "m", options, class_names, config, evaluation)

    run.used = []
    monkeypatch.setattr(signatures, "trace", trace)
    monkeypatch.setattr(network, "serving_model", serving_model)
    return run


def versions(directory):
    return sorted(path.name for path in directory.iterdir())


def test_next_version_is_above_the_highest(exporting, tmp_path):
    assert exporting() == tmp_path / "m" / "1"
    (tmp_path / "m" / "1").rename(tmp_path / "m" / "7")
    (tmp_path / "m" / "8").mkdir()  # empty, so that a rename would succeed
    (tmp_path / "m" / "notes").mkdir()
    assert exporting() == tmp_path / "m" / "9"
    assert versions(tmp_path / "m") == ["7", "8", "9", "notes"]
    assert not list((tmp_path / "m" / "8").iterdir())


def test_exports_and_loads(exporting):
    loaded = tf.saved_model.load(str(exporting()))
    assert loaded.signatures["serving_default"](tf.constant([4.0]))["y"] == 8.0
    assert loaded.stages["network"](tf.constant([4.0]))["y"] == 8.0


def test_version_is_readable_by_others(exporting, tmp_path):
    assert exporting().stat().st_mode == tmp_path.joinpath("m").stat().st_mode


def test_nothing_is_left_of_a_failed_export(exporting, monkeypatch, tmp_path):
    real_save = tf.saved_model.save

    def save_and_fail(*args, **kwargs):
        real_save(*args, **kwargs)
        raise OSError("disk full")

    monkeypatch.setattr(tf.saved_model, "save", save_and_fail)
    with pytest.raises(OSError, match="disk full"):
        exporting()
    assert versions(tmp_path / "m") == []


def test_every_option_is_used(exporting):
    exporting(
        precision="bfloat16", freeze=True, on_bad_image="report", max_pixels=500, canvas=(64, 96),
        nms="soft_linear", score_threshold=0.0, max_detections=7, iou_threshold=0.3, voting_sigma=0.02,
    )  # fmt: skip
    exporting()
    changed = PredictionDecoder(
        nms="soft_linear", score_threshold=0.0, max_detections=7, iou_threshold=0.3, voting_sigma=0.02
    )
    assert exporting.used == [
        ("bfloat16", changed.get_config(), ("report", 500, True, (64, 96))),
        ("float32", PredictionDecoder(nms="soft_gaussian").get_config(), ("error", signatures.MAX_PIXELS, False, None)),
    ]


@pytest.mark.parametrize(
    ["options", "message"],
    [
        ({"score_threshold": 1.5}, "score_threshold is 1.5"),
        ({"iou_threshold": -0.1}, "iou_threshold is -0.1"),
        ({"max_detections": 0}, "max_detections is 0"),
        ({"max_pixels": 0}, "max_pixels is 0"),
        ({"max_pixels": 1 << 64}, "max_pixels is 18446744073709551616; it must be .* below 2"),
        ({"precision": "int8"}, "precision is 'int8'; saved_model has float32, bfloat16, float16"),
        ({"format": "onnx", "precision": "float16"}, "precision is 'float16'; onnx has float32"),
        ({"on_bad_image": "ignore"}, "on_bad_image is 'ignore'"),
        ({"format": "onnx", "freeze": True}, "freeze is an option of saved_model, not of onnx"),
        ({"format": "onnx", "canvas": (64, 96)}, "canvas is an option of saved_model and tflite, not of onnx"),
        ({"canvas": (60, 96)}, "60 x 96 .* multiples of 32"),
        ({"format": "tflite"}, r"canvas is \(\); tflite needs the \(height, width\)"),
        ({"format": "tflite", "canvas": (60, 96)}, "60 x 96 .* multiples of 32"),
        ({"format": "tflite", "canvas": (64, 96), "precision": "int8"}, "int8 needs representative_images"),
        ({"format": "tflite", "canvas": (64, 96), "representative_images": "x"}, "int8 needs representative_images"),
        ({"nms": "none"}, "nms is 'none'; it must be one of"),
        ({"format": "tf"}, "format is 'tf'; choose one of saved_model, tflite, onnx"),
        ({"batch_sizes": (4, 2)}, "each larger than the one before"),
        ({"class_names": ["cat"]}, "1 class names for a model of 2"),
        ({"keep": -1}, "keep is -1"),
    ],
)
def test_values_out_of_range(exporting, tmp_path, options, message):
    with pytest.raises(ValueError, match=message):
        exporting(**options)
    assert not (tmp_path / "m").exists() or versions(tmp_path / "m") == []


def test_what_goes_with_it(exporting):
    evaluation = {"metrics": {"AP": 0.5}}
    options = {"batch_sizes": (1, 3), "keep": 2, "class_names": ["cat", "dog"]}
    extra = exporting(config={"name": "x"}, evaluation=evaluation, **options) / "assets.extra"
    found = {path.stem: json.loads(path.read_text()) for path in extra.glob("*.json")}
    assert found["class_names"] == ["cat", "dog"]
    assert (found["config"], found["evaluation"]) == ({"name": "x"}, evaluation)
    assert (found["build"]["options"]["batch_sizes"], found["build"]["options"]["keep"]) == ([1, 3], 2)
    batches = [request.inputs["image_bytes"] for request in warmup_requests.read(extra.parent)]
    assert [tf.make_ndarray(batch).shape for batch in batches] == [(1,), (3,)]


def test_old_versions_go(exporting, tmp_path):
    for _ in range(3):
        exporting(keep=2)
    assert versions(tmp_path / "m") == ["2", "3"]


@pytest.mark.parametrize("name", ["", "a/b", "..", ".hidden"])
def test_names_that_are_no_folder(name, tmp_path):
    with pytest.raises(ValueError, match="name is"):
        export.export(None, (64, 64), tmp_path / "models", name)
    assert not (tmp_path / "models").exists()


@pytest.mark.parametrize(["folder", "name"], [("models", "a[1]"), ("models", "a*b"), ("x?", "a"), ("x[1]", "a")])
def test_paths_where_tensorflow_finds_no_variables(folder, name, tmp_path):
    with pytest.raises(ValueError, match="TensorFlow finds no variables"):
        export.export(None, (64, 64), tmp_path / folder, name)
    assert list(tmp_path.iterdir()) == []
