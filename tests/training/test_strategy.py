"""Replicas: N of them with b images each make the update of one with N * b."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from gfl_tf.training import strategy
from gfl_tf.training.strategy import build_strategy, check_batch_size

HERE = Path(__file__).parent


def test_mirrored_equals_one_device(tmp_path):
    script = [sys.executable, HERE / "mirrored_script.py", HERE / "tiny.py", tmp_path / "shapes", tmp_path]
    environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "2", "CUDA_VISIBLE_DEVICES": "-1"}
    done = subprocess.run(script, capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr[-4000:]
    for text in ("The step is skipped, 1 so far.", "1 steps were skipped", "left  1 skipped\n"):
        assert done.stdout.count(text) >= 4, text  # on all replicas alike: of each of the four trainings
    assert "on 1 CPU device," in done.stdout and "on 2 CPU devices," in done.stdout

    arrays = np.load(tmp_path / "weights.npz")
    for what in ("moving", "stochastic", "statistics"):
        one, mirrored = (
            [arrays[name] for name in arrays.files if name.startswith(f"{strategy}-{what}-")]
            for strategy in ("one_device", "mirrored")
        )
        assert len(one) == len(mirrored) > 0
        for expected, found in zip(one, mirrored):
            np.testing.assert_allclose(found, expected, rtol=2e-4, atol=2e-6, err_msg=what)
    # What is reported is of the whole batch too.
    for tag in ("train/loss", "train/classification_loss", "train/box_loss", "train/num_positives", "train/mean_iou"):
        mirrored, one = (_last(tmp_path / f"{strategy}-moving", tag) for strategy in ("mirrored", "one_device"))
        np.testing.assert_allclose(mirrored, one, rtol=1e-4)


def _last(run_dir, tag):
    events = EventAccumulator(str(run_dir / "logs"))
    events.Reload()
    return float(tf.make_ndarray(events.Tensors(tag)[-1].tensor_proto))


def test_names():
    assert build_strategy("one_device") is tf.distribute.get_strategy()
    assert isinstance(build_strategy("mirrored"), tf.distribute.MirroredStrategy)
    with pytest.raises(ValueError, match="choose one of auto, one_device, mirrored, multi_worker, tpu"):
        build_strategy("gpu")


def test_a_tpu_that_is_not_there(monkeypatch):
    monkeypatch.setenv("TPU_NAME", "local")
    with pytest.raises(ValueError, match="--strategy=tpu: no TPU can be reached"):
        build_strategy("tpu")


def test_a_gpu_without_its_libraries_is_said(tmp_path, monkeypatch, caplog):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")
    build_strategy("auto")
    assert "pip install" not in caplog.text
    driver = tmp_path / "version"
    driver.touch()
    monkeypatch.setattr(strategy, "NVIDIA_DRIVER", str(driver))
    monkeypatch.setattr(tf.config, "list_logical_devices", lambda kind: [])
    build_strategy("auto")
    assert 'pip install "gfl_tf[gpu]"' in caplog.text
    caplog.clear()
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "-1")  # the user wants none
    build_strategy("auto")
    assert "pip install" not in caplog.text


def test_batch_is_shared_evenly():
    class TwoReplicas:
        num_replicas_in_sync = 2

    check_batch_size(4, TwoReplicas)
    with pytest.raises(ValueError, match="config.train.batch_size is 3"):
        check_batch_size(3, TwoReplicas)
    check_batch_size(8, TwoReplicas, micro_batches=2)
    with pytest.raises(ValueError, match="micro_batches is 3, into which the 4 images of .*: choose a divisor of 4"):
        check_batch_size(8, TwoReplicas, micro_batches=3)
