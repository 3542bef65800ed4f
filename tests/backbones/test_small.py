"""The config of small models: each of its backbones builds, and costs what the table in its header says."""

import re
import runpy

import pytest
import tensorflow as tf

import gfl_tf
from gfl_tf import config_files

FILE = config_files.find("small")
BACKBONES = list(runpy.run_path(str(FILE))["BACKBONES"])
# | backbone | channels | millions of parameters | ...
ROWS = {name: row for name, *row in re.findall(r"^ *\| `(\w+)` \| (\d+) \| ([\d.]+) \|", FILE.read_text(), re.M)}


def test_every_backbone_has_its_costs():
    assert list(ROWS) == BACKBONES


@pytest.mark.parametrize("backbone", [BACKBONES[0], *(pytest.param(n, marks=pytest.mark.slow) for n in BACKBONES[1:])])
def test_builds_and_costs(backbone):
    config = config_files.load_config(f"small:gflv2/{backbone}")
    model = gfl_tf.build_detector(config)
    outputs = model(tf.zeros((1, 64, 64, 3)))
    assert outputs["classification"].shape == (1, 8 * 8 + 4 * 4 + 2 * 2 + 1 + 1, 80)
    used = {id(weight): weight for layer in model.layers for weight in layer.weights}
    channels, millions = ROWS[backbone]
    assert config.model.neck.channels == config.model.head.channels == int(channels)
    assert f"{sum(int(tf.size(weight)) for weight in used.values()) / 1e6:.2f}" == millions


def test_another_backbone_is_refused():
    with pytest.raises(ValueError, match="small has no backbone 'vgg'; choose one of csp_darknet_tiny, "):
        config_files.load_config("small:gflv2/vgg")
