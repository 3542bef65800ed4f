"""`train.recompute` and `train.micro_batches` in whole trainings."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from gfl_tf.checkpoints import weight_file
from gfl_tf.training.run_dir import RunDirectory
from tests.training import less_memory_script, test_replicas

SCRIPT = Path(__file__).parent / "less_memory_script.py"


@pytest.mark.slow
def test_a_training_in_less_memory_is_the_same(tmp_path):
    """With a step that makes no update; on one device and on two replicas; stopped and gone on with to the last bit."""
    environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": "-1"}
    command = [sys.executable, SCRIPT, tmp_path]
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr[-3000:]
    plain = tmp_path / "plain"
    for name in less_memory_script.RUNS:
        (skipped,) = json.loads(RunDirectory(tmp_path / name).diverged_steps.read_text())
        assert skipped["step"] == less_memory_script.SPOILED
        assert test_replicas.losses(tmp_path / name) == pytest.approx(
            test_replicas.losses(plain), rel=1e-5, nan_ok=True
        )
        assert test_replicas.difference(plain / "last.npz", tmp_path / name / "last.npz") < 1e-5
    whole, stopped = (
        weight_file.read(tmp_path / name / "checkpoints" / f"ckpt-{less_memory_script.STEPS}.npz")
        for name in ("less", "stopped")
    )
    assert whole.keys() == stopped.keys()
    assert all((whole[name] == stopped[name]).all() for name in whole)
