"""Configs by path and by name."""

import copy
import subprocess
import sys

import pytest

import gfl_tf
from gfl_tf import config_files


def test_a_name_is_a_config_that_comes_along():
    assert "gflv2_r50_fpn_1x" in config_files.names() and "gfl_r101_fpn_dconv_c3-c5_ms2x" in config_files.names()
    path = config_files.find("gflv2_r50_fpn_1x")
    assert path.name == "gflv2_r50_fpn_1x.py" and config_files.find(path) == path == config_files.find(str(path))
    assert config_files.load_config("gflv2_r50_fpn_1x").name == "gflv2_r50_fpn_1x"


def test_a_model_by_name():
    assert gfl_tf.build_detector("gflv2_shapes").name == "gflv2_shapes"


def test_behind_a_colon_stands_an_argument():
    assert config_files.load_config("gflv2_shapes:fcos").name == "fcos_shapes"
    beside = str(config_files.find("gflv2_shapes"))
    assert config_files.load_config(f"{beside}:vfnet").name == "vfnet_shapes"
    assert config_files.load_config("papers:gfl_2c/0.5").model.boxes.bin_width == 0.5
    with pytest.raises(ValueError, match="there is no table 'gfl_9'; choose one of gfl_1a, "):
        config_files.load_config("papers:gfl_9")
    with pytest.raises(ValueError, match="gfl_3 has no row 'gfl'; choose of neither, "):
        config_files.load_config("papers:gfl_3/gfl")
    with pytest.raises(ValueError, match="gfl_r50_fpn_1x:atss: get_config.. of .* takes nothing"):
        config_files.load_config("gfl_r50_fpn_1x:atss")


def test_a_path_is_a_file_of_ones_own(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "gflv2_shapes.py").write_text("def get_config():\n    return {'name': 'mine'}\n")
    assert config_files.load_config("gflv2_shapes.py").name == "mine"
    assert config_files.load_config("gflv2_shapes").name == "gflv2_shapes"


@pytest.mark.parametrize("config", ["gflv2_r50_fpn_1", "configs/gflv2_r50_fpn_1y.py", "gflv2_r50_fpn_1y.py"])
def test_near_names_are_told(config):
    with pytest.raises(ValueError, match=r"no config .*such as gflv2_r50_fpn_1x, ") as error:
        config_files.find(config)
    assert config in str(error.value) and len(str(error.value).splitlines()) == 1


@pytest.mark.parametrize(
    "content, message",
    [
        ("def get_config(:", "nope.py, line 1, is no Python: "),
        ("get_config_ = 3", "nope.py has no get_config.., which returns the config"),
        ("def get_config():\n    pass", "get_config.. of .*nope.py returns None; it must be a ConfigDict"),
    ],
)
def test_a_file_that_is_no_config(tmp_path, content, message):
    (tmp_path / "nope.py").write_text(content)
    with pytest.raises(ValueError, match=message) as error:
        config_files.load_config(tmp_path / "nope.py")
    assert len(str(error.value).splitlines()) == 1


@pytest.mark.parametrize("name", ["0", "0" * 500])
def test_all_names_are_told_where_none_is_near(name):
    with pytest.raises(ValueError, match="atss_r50_fpn_1x.*vfnetx_r2_101"):
        config_files.find(name)


def test_needs_no_tensorflow():
    program = "import sys; from gfl_tf import config_files; config_files.names(); sys.exit('tensorflow' in sys.modules)"
    subprocess.run([sys.executable, "-c", program], check=True)


@pytest.mark.parametrize(
    "argument, field, expected",
    [
        ("--config.train.epochs=3", "epochs", 3),
        ("--config.train.learning_rate=1", "learning_rate", 1.0),
        ("--config.train.decay_bias", "decay_bias", True),
        ("--noconfig.train.decay_bias", "decay_bias", False),
        ("--config.train.milestones=(3, 4)", "milestones", (3, 4)),
    ],
)
def test_fields_from_a_command_line(argument, field, expected):
    config = config_files.load_config("gflv2_shapes")
    before = copy.deepcopy(config.to_dict())
    changed = config_files.overridden(config, [argument])
    assert changed.train[field] == expected and type(changed.train[field]) is type(expected)
    assert config.to_dict() == before


def test_a_field_of_an_operation_changes_a_copy():
    config = config_files.load_config("small")
    changed = config_files.overridden(config, ["--config.data.augmentations[1].probability=0.25"])
    assert (changed.data.augmentations[1]["probability"], config.data.augmentations[1]["probability"]) == (0.25, 0.5)


@pytest.mark.parametrize(
    "argument, message",
    [
        ("--config.train.epoch=3", "--config.train.epoch: the config has no such field. Did you mean train.epochs, "),
        ("--config.trian.epochs=3", "--config.trian.epochs: .* Did you mean train.epochs, "),
        ("--config.data.augmentations[7].probability=1", r"augmentations\[7\].probability: the config"),
        ("--config.train.epochs.x=1", "--config.train.epochs.x: the config has no such field"),
        ("--config.train.epochs=2.5", "--config.train.epochs=2.5: invalid literal"),
        ("--config.data.cache=maybe", "--config.data.cache=maybe: .*Non-boolean"),
        ("--config.train.epochs", "Missing value for flag --config.train.epochs"),
        ("--config.=1", "the config has no such field"),
    ],
)
def test_wrong_fields_of_a_command_line(argument, message):
    with pytest.raises(ValueError, match=message) as error:
        config_files.overridden(config_files.load_config("gflv2_shapes"), [argument])
    assert len(str(error.value).splitlines()) == 1
