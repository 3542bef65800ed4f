"""Which weights a file holds, and what it says about itself."""

import pickle
import zipfile
from pathlib import Path

import numpy as np
import pytest

from gfl_tf.checkpoints import pickles, state_dict, tensors

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
    assert {key: value.ravel().tolist() for key, value in weights.items()} == {
        "backbone.weight": [added + i for i in range(6)],
        "backbone.bias": [added + 1, added + 2],
        "backbone.running_mean": [3, 4],
    }


def test_no_averaged_weights():
    with pytest.raises(ValueError, match="mmdet2.pth holds no averaged weights; import it without --ema"):
        state_dict.read(DATA / "mmdet2.pth", ema=True)


def test_no_weights(tmp_path):
    with pytest.raises(ValueError, match="holds no weights: an object of 'torch.nn.modules.linear.Linear'"):
        state_dict.read(DATA / "whole_module.pth")
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
