"""Versions of an exported model: numbered upwards, whole or absent, never overwritten."""

import threading
import types

import pytest
import tensorflow as tf

from gfl_tf.detectors.decoder import PredictionDecoder
from gfl_tf.serving import export, signatures


@pytest.fixture
def exporting(monkeypatch, tmp_path):
    """`export.export` to `tmp_path`/m, in no time: of y = 2 x in place of a detector.

    Its attribute `decoders` lists the prediction decoders that the model had when it was traced.
    """
    weight = tf.Variable(2.0)
    model = types.SimpleNamespace(prediction_decoder=PredictionDecoder(nms="soft_gaussian"))

    @tf.function(input_signature=[tf.TensorSpec([], tf.float32)])
    def double(x):
        return {"y": x * weight}

    def trace(model, scale):
        run.decoders.append(model.prediction_decoder)
        return {"serving_default": double.get_concrete_function()}

    def run(**options):
        return export.export(model, (64, 64), tmp_path, "m", **options)

    run.decoders = []
    monkeypatch.setattr(signatures, "trace", trace)
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
    assert loaded.signatures["serving_default"](tf.constant(4.0))["y"] == 8.0


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


def test_exports_at_once_take_different_versions(tmp_path):
    count = 16
    directory = tmp_path / "m"
    barrier = threading.Barrier(count)
    taken = {}

    def take(number):
        complete = directory / f".exporting-{number}"
        complete.mkdir(parents=True)
        (complete / "content").write_text(str(number))
        barrier.wait()
        taken[number] = export.take_next_version(complete, directory)

    threads = [threading.Thread(target=take, args=[number]) for number in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert versions(directory) == sorted(str(version) for version in range(1, count + 1))
    assert {number: (path / "content").read_text() for number, path in taken.items()} == {
        number: str(number) for number in range(count)
    }


def test_decoder_can_be_changed_for_the_export(exporting):
    exporting(score_threshold=0.0, max_detections=7)
    exporting()
    original = PredictionDecoder(nms="soft_gaussian")
    changed = PredictionDecoder(nms="soft_gaussian", score_threshold=0.0, max_detections=7)
    assert [decoder.get_config() for decoder in exporting.decoders] == [changed.get_config(), original.get_config()]


@pytest.mark.parametrize(
    ["options", "message"],
    [
        ({"score_threshold": 1.5}, "score_threshold is 1.5"),
        ({"iou_threshold": -0.1}, "iou_threshold is -0.1"),
        ({"max_detections": 0}, "max_detections is 0"),
    ],
)
def test_values_out_of_range(exporting, tmp_path, options, message):
    with pytest.raises(ValueError, match=message):
        exporting(**options)
    assert not (tmp_path / "m").exists()


@pytest.mark.parametrize("name", ["", "a/b", "..", ".hidden"])
def test_names_that_are_no_folder(name, tmp_path):
    with pytest.raises(ValueError, match="name is"):
        export.export(None, (64, 64), tmp_path / "models", name)
    assert not (tmp_path / "models").exists()
