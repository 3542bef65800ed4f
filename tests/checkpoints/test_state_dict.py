"""Which weights a file holds, and what it says about itself."""

import pickle
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from gfl_tf.checkpoints import pickles, state_dict, tensors
from tests.checkpoints.torch_writer import Global, Object, SavedClass, write_content, write_legacy, write_state_dict

DATA = Path(__file__).parent / "data"
# As in data/make_files.py.
SHAPES = {
    "backbone.conv1.weight": (2, 3, 2, 2),
    "backbone.bn1.weight": (2,),
    "backbone.bn1.num_batches_tracked": (),
    "bbox_head.scales.0.scale": (),
}


@pytest.mark.parametrize(
    "name",
    ["mmdet2", "mmdet2_legacy", "mmdet3", "flat", "flat_legacy_protocol4", "data_parallel", "half", "bfloat16"],
)
def test_weights(name):
    weights = state_dict.read(DATA / f"{name}.pth").weights
    weights = {key.removeprefix("module."): value for key, value in weights.items()}  # of data_parallel
    assert {key: value.shape for key, value in weights.items()} == SHAPES
    for k, value in enumerate(weights.values()):
        np.testing.assert_array_equal(value.astype(np.float32), np.arange(value.size).reshape(value.shape) + k)
    kind = name if name in ("half", "bfloat16") else "float32"
    assert weights["backbone.bn1.weight"].dtype.name == {"half": "float16"}.get(kind, kind)


def test_what_the_file_says():
    two, three = (state_dict.read(DATA / f"mmdet{version}.pth") for version in (2, 3))
    assert two.class_names == three.class_names == ("cat", "dog")
    assert two.ignored == ("meta", "optimizer")
    assert three.ignored == ("meta", "message_hub", "optimizer", "param_schedulers")
    assert two.metadata["mmdet_version"] == "2.3.0" and two.metadata["epoch"] == 12
    assert three.metadata["mmengine_version"] == "0.10.7" and three.metadata["epoch"] == 12
    flat = state_dict.read(DATA / "flat.pth")
    assert (flat.ignored, flat.metadata, flat.class_names) == ((), {}, None)


@pytest.mark.parametrize("name", ["mmengine_ema.pth", "mmcv_ema.pth"])
@pytest.mark.parametrize("ema, added", [(None, 100), (True, 100), (False, 0)])
def test_averaged_weights(name, ema, added):
    """The averaged weights are 100 more; mmengine_ema.pth is what mmengine's own hook wrote."""
    weights = state_dict.read(DATA / name, ema).weights
    prefix = "module." if name == "mmcv_ema.pth" else ""
    assert {key: value.ravel().tolist() for key, value in weights.items()} == {
        f"{prefix}backbone.weight": [added + i for i in range(6)],
        f"{prefix}backbone.bias": [added + 1, added + 2],
        f"{prefix}backbone.running_mean": [3, 4],
    }


def test_no_averaged_weights():
    with pytest.raises(ValueError, match="mmdet2.pth holds no averaged weights; import it without --ema"):
        state_dict.read(DATA / "mmdet2.pth", ema=True)


def test_no_weights(tmp_path):
    path = tmp_path / "a.pth"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a/data.pkl", pickle.dumps({"model": {}, "step": 3}, 2))
    with pytest.raises(ValueError, match="holds no weights: a dict of 'model', 'step'"):
        state_dict.read(path)


def test_entries_that_are_no_tensors():
    entries = {"a": tensors.Tensor(None, 0, (1,), (1,)), "b": 3, "c": pickles.Unknown("torch._utils.quantized")}
    with pytest.raises(ValueError, match=r"x.pth: .* no plain tensors: b \(a int\), c \(an object of 'torch._utils.q"):
        state_dict._tensors(entries, "x.pth")


@pytest.mark.parametrize(
    "meta, names",
    [
        ({"CLASSES": ("a", "b")}, ("a", "b")),
        ({"CLASSES": "balloon"}, ("balloon",)),
        ({"dataset_meta": {"classes": ["a"]}}, ("a",)),
        ({"dataset_meta": {"CLASSES": ("a",), "PALETTE": None}}, ("a",)),
        ({"CLASSES": None}, None),
        ({"CLASSES": (1, 2)}, None),
        ({"dataset_meta": None}, None),
    ],
)
def test_class_names(meta, names):
    assert state_dict._class_names(meta) == names


WEIGHTS = {"backbone.conv.weight": np.arange(6, dtype=np.float32), "head.bias": np.ones(2, np.float32)}


def under(prefix, weights=WEIGHTS):
    return {f"{prefix}{name}": value for name, value in weights.items()}


def assert_holds(path, expected, ignored=()):
    checkpoint = state_dict.read(path)
    assert list(checkpoint.weights) == list(expected)
    for name, value in expected.items():
        np.testing.assert_array_equal(checkpoint.weights[name], value)
    assert checkpoint.ignored == ignored


@pytest.mark.parametrize("key", ["model", "model_state_dict", "params", "weights"])
def test_weights_under_any_key(key, tmp_path):
    optimizer = {"state": {0: {"momentum_buffer": np.ones(6, np.float32)}}, "param_groups": [{"lr": 0.1}]}
    content = {"epoch": 3, key: WEIGHTS, "optimizer": optimizer, "meta": {"epoch": 3, "CLASSES": ("a",)}}
    path = write_content(tmp_path / "a.pth", content)
    assert_holds(path, under(f"{key}."), ignored=("epoch", "optimizer", "meta"))
    assert state_dict.read(path).class_names == ("a",)


def test_weights_deep_in_the_file(tmp_path):
    content = {"ema": {"module": WEIGHTS, "updates": 7}, "model": WEIGHTS, "args": Global("argparse", "Namespace")}
    path = write_content(tmp_path / "a.pth", content)
    assert_holds(path, {**under("ema.module."), **under("model.")}, ignored=("args",))


def test_other_weights_beside_the_state_dict(tmp_path):
    content = {"state_dict_ema": under("module."), "of something else": {"a.b": np.ones(3, np.float32)}}
    path = write_state_dict(tmp_path / "a.pth", WEIGHTS, **content)
    assert_holds(path, {**WEIGHTS, **under("state_dict_ema.module.")}, ignored=("of something else",))


def test_a_dict_that_holds_itself(tmp_path):
    path = tmp_path / "a.pth"
    itself = {"model": dict(WEIGHTS)}
    itself["again"] = itself["model"]["itself"] = itself
    path.write_bytes(pickle.dumps(itself))
    assert_holds(path, under("model."), ignored=("again",))


@pytest.mark.parametrize("nest", [lambda weights: weights, lambda weights: {"state_dict": weights}])
def test_weights_that_are_arrays_of_numpy(nest, tmp_path):
    path = tmp_path / "a.pkl"
    path.write_bytes(pickle.dumps(nest({**WEIGHTS})))
    assert_holds(path, WEIGHTS)
    with zipfile.ZipFile(tmp_path / "a.pth", "w") as archive:
        archive.writestr("a/data.pkl", pickle.dumps(nest(WEIGHTS), 2))
    assert_holds(tmp_path / "a.pth", WEIGHTS)


def test_whole_modules(tmp_path):
    take = r"torch.save\(torch.load\(FILE, 'cpu', weights_only=False\)"
    with pytest.raises(
        ValueError, match=rf"is a whole module .*'torch.nn.modules.linear.Linear'\) .*{take}.state_dict"
    ):
        state_dict.read(DATA / "whole_module.pth")

    net, attributes = Global("nets", "Net"), {"training": False, "_parameters": {}, "_modules": {}}
    path = write_legacy(tmp_path / "a.pth", Object(SavedClass(net), **attributes), {})
    with pytest.raises(ValueError, match=r"is a whole module \(pickled, of the class 'nets.Net'\)"):
        state_dict.read(path)
    path = write_content(tmp_path / "a.pth", {"epoch": 3, "model": Object(net, **attributes)})
    with pytest.raises(ValueError, match=rf"has under 'model' a whole module .*{take}\['model'\].state_dict"):
        state_dict.read(path)


@pytest.mark.parametrize(
    "content, message",
    [
        (
            b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n",
            "pointer of git-lfs.*git lfs pull",
        ),
        (b"<!DOCTYPE html>\n<html><title>Sign in</title></html>", "a web page.*download the file itself"),
        (b"\n\n  <html>", "a web page"),
        (b"\xef\xbb\xbf<?xml version='1.0'?><Error><Code>AccessDenied</Code></Error>", "a web page"),
        (b'{"weight_map": {"a": "model-00001-of-00002.safetensors"}}', "JSON.*several files"),
        (b"\x89HDF\r\n\x1a\n" + bytes(9), "an HDF5 file, as Keras writes it"),
        (b"\x1f\x8b\x08" + bytes(9), "gzip: unpack it first"),
    ],
)
@pytest.mark.parametrize("name", ["a.pth", "a.safetensors"])
def test_files_that_are_no_checkpoints(content, message, name, tmp_path):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ValueError, match=rf"{name} is .*{message}") as raised:
        state_dict.read(tmp_path / name)
    assert "\n" not in str(raised.value)


def test_a_text(tmp_path):
    (tmp_path / "a.pth").write_text("Not found")
    with pytest.raises(ValueError, match="begins with b'Not found'; is the download complete, and really a .pth file"):
        state_dict.read(tmp_path / "a.pth")


def test_a_flipped_byte_is_named_with_its_tensor(tmp_path):
    path = write_state_dict(tmp_path / "a.pth", WEIGHTS)
    content = bytearray(path.read_bytes())
    content[content.index(WEIGHTS["head.bias"].tobytes()) + 1] ^= 4
    path.write_bytes(content)
    with pytest.raises(ValueError, match="a.pth: head.bias: the record 'archive/data/1' does not have the checksum"):
        state_dict.read(path)


def test_safetensors(tmp_path):
    numpy = pytest.importorskip("safetensors.numpy", reason="needs the extra safetensors")
    more = {
        "half": np.ones(3, np.float16),
        "bf": np.arange(3).astype(tf.bfloat16.as_numpy_dtype),
        "": np.float32(2)[...],
    }
    numpy.save_file({**WEIGHTS, **more}, tmp_path / "a.safetensors", {"format": "pt"})
    content = (tmp_path / "a.safetensors").read_bytes()
    (tmp_path / "b.bin").write_bytes(content)
    for name in ("a.safetensors", "b.bin"):
        weights = state_dict.read(tmp_path / name).weights
        assert weights.keys() == {*WEIGHTS, *more}
        for key, value in {**WEIGHTS, **more}.items():
            np.testing.assert_array_equal(weights[key], value)
            assert weights[key].dtype == value.dtype
    for damaged in (content[:-4], content[:20], bytes(100), content.replace(b"F16", b"F8_")):
        (tmp_path / "a.safetensors").write_bytes(damaged)
        with pytest.raises(
            ValueError, match="a.safetensors cannot be read as .safetensors: .* is the download complete"
        ):
            state_dict.read(tmp_path / "a.safetensors")


def test_safetensors_without_the_library(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "safetensors", None)
    (tmp_path / "a.safetensors").write_bytes(bytes(20))
    with pytest.raises(ValueError, match="a.safetensors needs the library safetensors: pip install safetensors"):
        state_dict.read(tmp_path / "a.safetensors")


def test_numbers_that_safetensors_has_and_numpy_lacks(monkeypatch, tmp_path):
    """As versions before 0.8 answer where ml_dtypes was not imported."""
    numpy = pytest.importorskip("safetensors.numpy", reason="needs the extra safetensors")

    def load_file(path):
        raise TypeError("data type 'bfloat16' not understood")

    monkeypatch.setattr(numpy, "load_file", load_file)
    (tmp_path / "a.safetensors").write_bytes(bytes(20))
    with pytest.raises(ValueError, match="numbers of a type that numpy does not know .*bfloat16.*: save it as float32"):
        state_dict.read(tmp_path / "a.safetensors")
