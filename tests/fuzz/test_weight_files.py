"""Weight files that are cut short or have wrong bits: refused in one line, or read as they were."""

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given
from hypothesis import strategies as st

from gfl_tf.checkpoints import state_dict, weight_file
from tests.checkpoints import torch_writer

pytestmark = pytest.mark.one_stack

ARRAYS = {
    "backbone/conv/kernel": np.arange(12, dtype=np.float32).reshape(3, 4),
    "head/box/bias": np.ones(3, np.float32),
}


def read_npz(path):
    variables = {name: tf.Variable(np.zeros_like(value)) for name, value in ARRAYS.items()}
    weight_file.load(variables, path)
    return {name: variable.numpy() for name, variable in variables.items()}


def read_state_dict(path):
    return {name: np.asarray(value) for name, value in state_dict.read(path).weights.items()}


def write_npz(path):
    np.savez(path, **ARRAYS)


def write_safetensors(path):
    safetensors = pytest.importorskip("safetensors.numpy", reason="the extra safetensors is not installed")
    safetensors.save_file(ARRAYS, path)


FILES = {
    "weights.npz": (write_npz, read_npz, True),
    "zip.pth": (lambda path: torch_writer.write_state_dict(path, ARRAYS), read_state_dict, True),
    # Neither of these formats has checksums: numbers may be others, but of the same names and shapes, or refused.
    "legacy.pth": (lambda path: torch_writer.write_legacy(path, {"a": torch_writer.tensor()}), read_state_dict, False),
    "weights.safetensors": (write_safetensors, read_state_dict, False),
}


@pytest.fixture(scope="module")
def originals(tmp_path_factory):
    """{file name: (its path, its arrays)}."""
    found = {}
    for name, (write, read, _) in FILES.items():
        path = tmp_path_factory.mktemp("weights") / name
        write(path)
        found[name] = path, read(path)
    return found


def check(originals, name, content):
    path, arrays = originals[name]
    damaged = path.parent / f"damaged-{name}"
    damaged.write_bytes(content)
    _, read, has_checksums = FILES[name]
    try:
        found = read(damaged)
    except ValueError as error:
        assert "\n" not in str(error) and str(damaged) in str(error)
        return
    if has_checksums:
        for key, value in found.items():
            np.testing.assert_array_equal(value, arrays[key])
    else:
        assert all(value.dtype.kind in "fiu" for value in found.values())


@pytest.mark.parametrize("name", FILES)
@given(share=st.floats(0, 1, exclude_max=True))
def test_cut_short(originals, name, share):
    content = originals[name][0].read_bytes()
    check(originals, name, content[: int(share * len(content))])


@pytest.mark.parametrize("name", FILES)
@given(places=st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.integers(0, 7)), min_size=1, max_size=4))
def test_wrong_bits(originals, name, places):
    content = bytearray(originals[name][0].read_bytes())
    for share, bit in places:
        content[int(share * len(content))] ^= 1 << bit
    check(originals, name, bytes(content))


@pytest.mark.parametrize("name", FILES)
@given(content=st.binary(max_size=64))
def test_anything_else(originals, name, content):
    check(originals, name, content)
