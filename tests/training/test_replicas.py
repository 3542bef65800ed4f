"""However a batch is spread over replicas and workers, the training is the same."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from gfl_tf.build import RECIPES
from gfl_tf.training import config as configs
from tests.training import replicas_script, teachers, workers

SCRIPT = Path(__file__).parent / "replicas_script.py"
TOLERANCE = 1e-5
DETECTORS = [*RECIPES, replicas_script.TAUGHT]
# name: (strategy, CPU devices of a process, processes, replicas)
SPREADS = {
    "mirrored over 1": ("mirrored", 1, 1, 1),
    "mirrored over 2": ("mirrored", 2, 1, 2),
    "mirrored over 4": ("mirrored", 4, 1, 4),
    "2 workers": ("multi_worker", 1, 2, 2),
}


@pytest.mark.slow
def test_every_detector_trains_alike_on_all_replicas(tmp_path, capsys):
    print_table(tmp_path, DETECTORS, capsys)


def print_table(folder, detectors, capsys=None):
    """Checks the largest relative differences to a training on one device, of losses and weights, and prints them."""
    content = replicas_script.write_data(folder)
    config, _, _ = configs.load_datasets(replicas_script.config_of("gfl", folder))
    teachers.make(config, folder / "teacher")
    run(folder, "one_device", 1, 1, detectors)
    lines = [f"| largest relative difference | {' | '.join(detectors)} | shares without a box |"]
    lines.append("|---" + "| ---: " * (len(detectors) + 1) + "|")
    failed = []
    for name, (strategy, devices, processes, replicas) in SPREADS.items():
        run(folder, strategy, devices, processes, detectors)
        empty = replicas_script.empty_shares(content, replicas, seed=1)
        assert empty
        cells = []
        for detector in detectors:
            one = folder / f"one_device-1-{detector}"
            other = folder / f"{strategy}-{devices}-{detector}"
            of_losses = np.abs(losses(other) / losses(one) - 1).max()
            of_weights = difference(one / "last.npz", other / "last.npz")
            cells.append(f"{of_losses:.0e}, {of_weights:.0e}")
            failed += [cells[-1]] if max(of_losses, of_weights) > TOLERANCE else []
        lines.append(f"| {name}: losses, weights | {' | '.join(cells)} | {empty} of {10 * replicas} |")
    if capsys:
        with capsys.disabled():
            print("", *lines, sep="\n")
    else:
        print(*lines, sep="\n")
    assert not failed


def run(folder, strategy, devices, processes, detectors):
    command = [SCRIPT, folder, strategy, devices, *detectors]
    if processes > 1:
        with workers.started(command, processes) as started:
            results = workers.finished(started, timeout=3000)
    else:
        environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": "-1"}
        done = subprocess.run([sys.executable, *map(str, command)], capture_output=True, text=True, env=environment)
        results = [(done.returncode, done.stdout, done.stderr)]
    for returncode, _, stderr in results:
        assert returncode == 0, stderr[-3000:]


def losses(run_dir):
    """Of the 10 steps."""
    events = EventAccumulator(str(run_dir / "logs"), size_guidance={"tensors": 0}).Reload()
    found = np.array([float(tf.make_ndarray(event.tensor_proto)) for event in events.Tensors("train/loss")])
    assert len(found) == 10 and (found > 0).all()
    return found


def difference(one, other):
    """The largest of all variables, relative to the variable's largest number."""
    with np.load(one) as first, np.load(other) as second:
        assert first.files == second.files
        pairs = [(first[name].astype(np.float64), second[name].astype(np.float64)) for name in first.files]
    return max(np.abs(a - b).max() / max(np.abs(a).max(), 1e-30) for a, b in pairs)


if __name__ == "__main__":
    print_table(Path(sys.argv[1]), sys.argv[2:] or DETECTORS)
