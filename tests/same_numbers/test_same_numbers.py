"""One training on both stacks: the same losses and the same weights, and each goes on from the other's checkpoint.

TensorFlow 2.15 with Keras 2.15 and TensorFlow with Keras 3 compute on this machine, side by side: what is stored from
another processor would differ by more than the tolerance.
"""

import functools
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from gfl_tf import compat
from tests.same_numbers import train_script

pytestmark = pytest.mark.skipif(not compat.KERAS_3, reason="the tests of the stack latest compare both")
HERE = Path(__file__).parent
CASES = ["sgd_clip_norm_eval_frozen", "adamw_ema"]
SLOW_CASES = ["adamw_ema_two_replicas", "sgd_swa", "sgd_two_replicas", "mixed_bfloat16", "mixed_float16"]
RESUMED = ["adamw_ema", "sgd_swa", "mixed_float16"]
# Relative, of the loss. Both stacks begin with equal forward passes in 16 bits too, but their gradients are rounded
# in other places, by a few units of the last place, and 20 steps add up: 9e-4 and 1e-4 where TensorFlow computes in
# float32 inside, 1.2e-2 and 3.5e-3 on a CPU with 16-bit instructions, whose oneDNN differs between the two.
TOLERANCE = {"mixed_bfloat16": 2**-5, "mixed_float16": 2**-7}
# Of a weight's norm. Weights that start at zero, such as offsets, are a sum of 20 small updates.
WEIGHT_TOLERANCE = {"mixed_bfloat16": 0.8, "mixed_float16": 0.8}


def trained(python, *arguments):
    """{case: what train_script.py prints of it}, by the stack of this Python."""
    environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": "-1"}
    environment["PYTHONPATH"] = str(HERE.parents[1])
    command = [python, str(HERE / "train_script.py"), *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr[-4000:]
    results = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    return {result["case"]: result for result in results}


def with_slow(cases):
    return [pytest.param(case, marks=pytest.mark.slow) if case in SLOW_CASES else case for case in cases]


@pytest.fixture(scope="module")
def runs(other_python, tmp_path_factory):
    """Function of a case to (folder, results) of this stack and of the other one; a process trains a list of cases."""

    @functools.cache
    def train(cases):
        both = []
        for name, python in (("this", sys.executable), ("other", other_python)):
            folder = tmp_path_factory.mktemp(name)
            both.append((folder, trained(python, folder, *cases)))
        return both

    return lambda case: train(tuple(SLOW_CASES if case in SLOW_CASES else CASES))


@pytest.mark.parametrize("case", with_slow(CASES + SLOW_CASES))
def test_twenty_steps(runs, case):
    (_, this), (_, other) = runs(case)
    assert list(this[case]["losses"]) == list(other[case]["losses"]) == [str(step) for step in range(1, 21)]
    for step, loss in this[case]["losses"].items():
        assert loss == pytest.approx(other[case]["losses"][step], rel=TOLERANCE.get(case, 1e-5)), step
    first, second = (this[case]["losses"][step] for step in ("1", "20"))
    assert abs(first - second) > 1e-3  # it did learn
    tolerance = WEIGHT_TOLERANCE.get(case, 1e-4)
    assert this[case]["kept"] == pytest.approx(other[case]["kept"], rel=tolerance, abs=1e-6)


@pytest.mark.parametrize("case", with_slow([*CASES, "adamw_ema_two_replicas", "sgd_swa", "sgd_two_replicas"]))
def test_weights_of_the_other_stack_give_its_detections(runs, case):
    _, (folder, other) = runs(case)
    found = train_script.detections(folder / case)
    assert found["num_detections"] == other[case]["found"]["num_detections"] != [0]
    for name, values in found.items():
        np.testing.assert_allclose(values, other[case]["found"][name], rtol=1e-4, atol=1e-4, err_msg=name)


@pytest.mark.parametrize("who", ["this", "other"])
@pytest.mark.parametrize("case", with_slow(RESUMED))
def test_goes_on_from_the_other_stacks_checkpoint(runs, other_python, tmp_path, case, who):
    """This stack with the other's run, and the other with this one's."""
    (this_folder, whole), (other_folder, _) = runs(case)
    python, folder = (sys.executable, other_folder) if who == "this" else (other_python, this_folder)
    losses = trained(python, tmp_path, "--resume", folder, case)[case]["losses"]
    assert list(losses) == [str(step) for step in range(9, 21)]
    for step, loss in losses.items():
        assert loss == pytest.approx(whole[case]["losses"][step], rel=TOLERANCE.get(case, 1e-5)), step
