"""Weights that a training starts from: how many are taken, what does not fit, whose classes; what is no such file."""

import json

import numpy as np
import pytest

import gfl_tf
from gfl_tf import detector_weights
from gfl_tf.backbones.resnet import ResNet
from gfl_tf.checkpoints import weight_file
from gfl_tf.config_files import RUN_FILE
from tests.checkpoints.detectors import small_gflv2
from tests.checkpoints.shapes import gflv2_shapes, random_weights
from tests.checkpoints.torch_writer import write_state_dict
from tests.tiny import build_tiny, values

CLASSES = ("cat", "dog", "cow")


@pytest.fixture(scope="module")
def resnet18():
    return ResNet(18)


@pytest.fixture(scope="module")
def model():
    return build_tiny(gfl_tf.GFL)


@pytest.fixture
def run_file(model, tmp_path):
    """Of a run with the classes of `CLASSES`."""
    weight_file.save_arrays(values(model), tmp_path / "best.npz")
    (tmp_path / RUN_FILE).write_text(json.dumps({"data": {"class_names": CLASSES}}))
    return tmp_path / "best.npz"


@pytest.fixture
def load(caplog, monkeypatch):
    """Loads a file into a model, and gives (the lines said, the warnings)."""
    monkeypatch.setattr(detector_weights.logging.get_absl_logger(), "propagate", True)

    def load(model, path, partial=False, class_names=()):
        said = []
        caplog.clear()
        detector_weights.load(model, str(path), partial, class_names, said.append)
        return said, [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]

    return load


def refusal(load, *arguments):
    with pytest.raises(ValueError) as raised:
        load(*arguments)
    assert "\n" not in str(raised.value)
    return str(raised.value)


def test_all_are_taken(model, run_file, load):
    count = len(weight_file.named_variables(model))
    for partial in (False, True):
        assert load(model, run_file, partial) == ([f"{count} of {count} tensors taken from {run_file}"], [])


def test_other_classes(run_file, load):
    other = build_tiny(gfl_tf.GFL, num_classes=80)
    differ = (
        "not taken: head/classification/kernel (3, 3, 16, 3) is (3, 3, 16, 80) in the model, head/classification/bias "
        "(3,) is (80,) in the model"
    )
    assert refusal(load, other, run_file) == (
        f"{run_file} does not fit the model, and nothing was loaded: {differ}. The file has 3 classes, the model 80. "
        "To take what fits: --config.model.partial_weights=True"
    )
    count = len(weight_file.named_variables(other))
    # Of 80 classes, the names of the three say nothing.
    expected = [f"{count - 2} of {count} tensors taken from {run_file}; {differ}"], []
    assert load(other, run_file, True, ["x"] * 80) == expected


def test_other_classes_with_several_anchors(tmp_path, load):
    weight_file.save_arrays(values(build_tiny(gfl_tf.RetinaNet)), tmp_path / "a.npz")
    assert "The file has 3 classes, the model 5. " in refusal(
        load, build_tiny(gfl_tf.RetinaNet, num_classes=5), tmp_path / "a.npz"
    )


def test_other_classes_of_the_reference(resnet18, tmp_path, load):
    gflv2 = small_gflv2(resnet18)
    weights = random_weights(gflv2_shapes(), seed=1)
    path = write_state_dict(tmp_path / "a.pth", weights, meta={"CLASSES": CLASSES})
    assert load(gflv2, path, class_names=CLASSES) == ([f"141 of 141 tensors taken from {path}"], [])
    weights["bbox_head.gfl_cls.weight"] = np.zeros([80, 8, 3, 3], np.float32)
    weights["bbox_head.gfl_cls.bias"] = np.zeros([80], np.float32)
    path = write_state_dict(tmp_path / "a.pth", weights, meta={"CLASSES": CLASSES})
    differ = (
        "not taken: bbox_head.gfl_cls.weight (80, 8, 3, 3) is (3, 8, 3, 3) in the model, bbox_head.gfl_cls.bias (80,) "
        "is (3,) in the model"
    )
    message = refusal(load, gflv2, path)
    assert f": {differ}. The file has 80 classes, the model 3. To take what fits: --config.model.partial_w" in message
    assert load(gflv2, path, True)[0] == [f"139 of 141 tensors taken from {path}; {differ}"]


def test_names_of_classes_stay_and_a_warning_says_where_they_differ(model, run_file, load):
    assert load(model, run_file, class_names=CLASSES)[1] == []
    assert load(model, run_file, class_names=("cat", "RBC", "cow"))[1] == [
        f"{run_file}: its classifier was trained for other names at 1 of 3 classes, the first at index 1: 'dog' there "
        "is 'RBC' here. The names stay."
    ]
    for names in ((), ("a",)):  # not known; of another number, which the classifier tells
        assert load(model, run_file, class_names=names)[1] == []
    for broken in ("{", "{}", '{"data": {}}'):
        (run_file.parent / RUN_FILE).write_text(broken)
        assert load(model, run_file, class_names=("a", "b", "c"))[1] == []


@pytest.mark.parametrize("partial", [False, True])
def test_another_backbone_is_refused_even_in_part(model, run_file, load, partial, tmp_path):
    with np.load(run_file) as file:
        arrays = {name.replace("v2_stack", "layer"): file[name] for name in file.files}
    np.savez(tmp_path / "other.npz", **arrays)
    message = refusal(load, model, tmp_path / "other.npz", partial)
    assert "other.npz has the weights of another model, and nothing was loaded: " in message
    assert "looks like a head of gfl_tf ('backbone/" in message
    assert "builds KerasCV's ResNet with a head of gfl_tf ('backbone/" in message
    assert message.endswith(f"For its backbone alone: --config.model.backbone.weights={tmp_path / 'other.npz'}")


def test_a_folder_is_not_a_file(model, run_file, load):
    assert refusal(load, model, run_file.parent) == (
        f"config.model.weights: {run_file.parent} is a folder: name a file in it, of a run {run_file}"
    )


CONTENTS = {
    "git-lfs": (b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n", "a pointer of git-lfs"),
    "web page": (b"<!DOCTYPE html>\n<html><body>404</body></html>", "a web page"),
    "HDF5": (
        b"\x89HDF\r\n\x1a\n" + bytes(99),
        "an HDF5 file, as Keras writes it: --config.model.backbone.weights takes",
    ),
    "text": (b"weights", "no .npz file|is the download complete"),
    "empty": (b"", "no .npz file|is empty"),
}


@pytest.mark.parametrize("name", ["a.npz", "a.pth", "a.pt", "a.pkl"])
@pytest.mark.parametrize("kind", CONTENTS)
def test_what_is_no_weight_file(model, kind, name, tmp_path, load):
    content, message = CONTENTS[kind]
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ValueError, match=rf"{name} .*({message})"):
        load(model, tmp_path / name)
    assert str(tmp_path / name) in refusal(load, model, tmp_path / name, True)


def test_arrays_that_are_no_weights_of_a_run(model, tmp_path, load):
    np.savez(tmp_path / "a.npz", x=np.zeros(3), y=np.zeros(4))
    message = refusal(load, model, tmp_path / "a.npz", True)
    assert "0 of the" in message and "looks like an unknown kind of model ('x', ...)" in message
    np.savez(tmp_path / "a.npz", x=np.array([None]))
    assert "is no weight file of gfl_tf, or damaged: Object arrays" in refusal(load, model, tmp_path / "a.npz")
    np.savez(tmp_path / "a.npz")
    assert "is no weight file of gfl_tf, which has arrays of numpy; it has nothing" in refusal(
        load, model, tmp_path / "a.npz"
    )


def test_a_model_of_keras_is_no_weight_file(model, tmp_path, load):
    model.backbone.save(tmp_path / "a.keras")
    assert "a.keras is no weight file of gfl_tf, which has arrays of numpy; it has " in refusal(
        load, model, tmp_path / "a.keras"
    )


def test_half_a_file(run_file, model, resnet18, tmp_path, load):
    path = write_state_dict(tmp_path / "a.pth", random_weights(gflv2_shapes()))
    for file in (run_file, path):
        content = file.read_bytes()
        file.write_bytes(content[: len(content) // 2])
    assert "best.npz is no weight file of gfl_tf, or damaged" in refusal(load, model, run_file)
    assert "the zip archive is damaged or incomplete" in refusal(load, small_gflv2(resnet18), path)
