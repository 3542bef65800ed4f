"""Resident memory of a training with its evaluations: flat over the epochs."""

import subprocess
import sys

import pytest

from tests.training.conftest import CONFIG_FILE

# Prints the resident memory in MiB after each evaluation, of the whole validation data.
PROGRAM = """
import sys
from gfl_tf.config_files import load_config
from gfl_tf.training import fit, validation

config = load_config(sys.argv[1])
config.data.directory = sys.argv[2]
config.train.update(epochs=20, milestones=())

def evaluate(self, step, whole=validation.Validation.evaluate):
    whole(self, step)
    pages = int(open("/proc/self/statm").read().split()[1])
    print("resident", pages * 4096 / 2**20)

validation.Validation.evaluate = evaluate
fit.train(config, sys.argv[3])
"""


@pytest.mark.slow
def test_resident_memory_is_flat_over_20_epochs(shapes_directory, tmp_path):
    command = [sys.executable, "-c", PROGRAM, str(CONFIG_FILE), str(shapes_directory), str(tmp_path / "run")]
    printed = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    resident = [float(line.split()[1]) for line in printed.splitlines() if line.startswith("resident")]
    assert len(resident) == 20
    # In the first ones, pools of TensorFlow's allocator still grow.
    assert max(resident[10:]) < max(resident[:10]) + 20, resident
