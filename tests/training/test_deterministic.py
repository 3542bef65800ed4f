"""`train.deterministic`: two runs agree to the last bit."""

import os
import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf

from gfl_tf.checkpoints import weight_file
from gfl_tf.training import fit
from gfl_tf.training.run_dir import RunDirectory
from tests.training.conftest import CONFIG_FILE

# In a process of its own, as it holds until the end of the process.
TRAIN = """
import sys
from gfl_tf.config_files import load_config
from gfl_tf.training import fit
config = load_config(sys.argv[1])
config.data.directory = sys.argv[2]
config.data.augmentations = (dict(name="mosaic"), dict(name="flip"), dict(name="color_jitter"))
config.model.backbone.freeze_batch_norm = False
config.train.update(deterministic=True, epochs=1, milestones=(), ema_momentum=0.5)
fit.train(config, sys.argv[3])
"""


def test_it_is_switched_on(tiny_config, tmp_path, monkeypatch):
    class SwitchedOn(Exception):
        pass

    def enable():
        raise SwitchedOn

    monkeypatch.setattr(tf.config.experimental, "enable_op_determinism", enable)
    tiny_config.train.deterministic = True
    with pytest.raises(SwitchedOn):
        fit.train(tiny_config, tmp_path)


@pytest.mark.slow
def test_two_runs_are_the_same(shapes_directory, tmp_path):
    runs = [RunDirectory(tmp_path / name) for name in ("one", "other")]
    for run in runs:
        script = [sys.executable, "-c", TRAIN, CONFIG_FILE, shapes_directory, run.path]
        done = subprocess.run(script, capture_output=True, text=True, env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "2"})
        assert done.returncode == 0, done.stderr[-4000:]
    one, other = (weight_file.read(run.checkpoints / "ckpt-5.npz") for run in runs)
    assert set(one) == set(other)
    for name, value in one.items():
        np.testing.assert_array_equal(other[name], value, err_msg=name)
    metrics = [stored["metrics"] for run in runs for stored in run.evaluations().values()]
    assert len(metrics) == 2 and metrics[0] == metrics[1]
