"""The code of docs/extending.md is run: each detector of the page takes a training step, is saved and loaded."""

import re
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf

from gfl_tf import build
from gfl_tf.detectors.detector import Detector

PAGE = Path(__file__).resolve().parents[2] / "docs" / "extending.md"
DETECTORS = ("with_alpha_iou", "with_laplace", "with_nearest", "with_small_net", "from_config")
BOXES = np.float32([[[10, 4, 50, 44], [40, 8, 72, 56]]])


@pytest.fixture(scope="module")
def names():
    """What the page defines. Its changes of the tables are taken back."""
    tables = [build.BACKBONES, *(table for table in build.PARTS.values() if isinstance(table, dict))]
    before = [dict(table) for table in tables]
    defined = {"__name__": "extending"}
    lines_above = 0
    for block in re.finditer(r"^```python\n(.*?)^```", PAGE.read_text(), re.MULTILINE | re.DOTALL):
        lines_above = PAGE.read_text()[: block.start(1)].count("\n")
        exec(compile("\n" * lines_above + block[1], PAGE, "exec"), defined)
    yield defined
    for table, entries in zip(tables, before):
        table.clear()
        table.update(entries)


def test_all_detectors_of_the_page_are_tested(names):
    assert [name for name, value in names.items() if isinstance(value, Detector)] == list(DETECTORS)


def test_tests_of_the_page(names):
    names["test_nearest_by_hand"]()


@pytest.mark.parametrize("name", DETECTORS)
def test_trains_saves_and_loads(names, name, tmp_path):
    model = names[name]
    images = np.random.default_rng(0).uniform(0, 255, (1, 64, 96, 3)).astype(np.float32)
    labels = {"boxes": tf.constant(BOXES), "classes": tf.constant([[0.0, 2.0]])}
    before = [weight.numpy() for weight in model.trainable_weights]
    model.compile(optimizer=keras.optimizers.SGD(0.01), run_eagerly=True)
    metrics = model.train_step((tf.constant(images), labels))
    assert np.isfinite(float(metrics["loss"])) and float(metrics["num_positives"]) > 0
    assert float(metrics["box_loss"]) > 0 and float(metrics["distribution_loss"]) != 0
    changed = [not np.array_equal(*pair) for pair in zip(before, model.trainable_weights)]
    assert np.mean(changed) > 0.8

    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    for part in ("assigner", "boxes", "score", "grid"):
        assert getattr(loaded, part) == getattr(model, part)
    assert loaded.box_loss.get_config() == model.box_loss.get_config()
    tf.nest.map_structure(np.testing.assert_array_equal, loaded(images), model(images))
    found = loaded.detect(tf.constant(images))
    assert found["boxes"].shape == (1, 100, 4) and "edge_stddev" in found


def test_config_has_all_four(names):
    model = names["from_config"]
    assert model.box_loss.alpha == 2.0 and model.boxes.distribution_weight == 0.5
    assert model.assigner == names["NearestAssigner"](k=9) and model.backbone.name == "small_net"


def test_lines_of_the_table():
    """What the page says of `gfl_tf/build.py` fits it."""
    text = PAGE.read_text()
    for table, field in re.findall(r"build\.(PARTS)\[\"(\w+)\"\]", text):
        assert field in getattr(build, table)
    for name in re.findall(r"`((?:gfl_tf|tests|docs)/[\w/]+\.py)`", text):
        is_new = text.count(f"The module: `{name}`")
        assert is_new or (PAGE.parents[1] / name).exists(), name
