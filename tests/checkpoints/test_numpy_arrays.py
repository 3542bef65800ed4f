"""Arrays of numpy's in pickles, of every protocol."""

import pickle

import numpy as np
import pytest
import tensorflow as tf

from gfl_tf.checkpoints import torch_file
from tests.checkpoints.torch_writer import write_zip

pytestmark = pytest.mark.one_stack


def arrays():
    base = np.arange(6, dtype=np.float32).reshape(2, 3)
    kinds = {name: base.astype(name) for name in ("float16", "float64", "int8", "uint8", "int64", ">f4", "bool")}
    bfloat16 = base.astype(tf.bfloat16.as_numpy_dtype)
    more = {
        "transposed": base.T,
        "sliced": base[:, ::2],
        "scalar": np.float32(7),
        "empty": base[:0],
        "zero": base[1, 2, ...],
    }
    return {**kinds, **more, "bfloat16": bfloat16, "cube": np.asfortranarray(np.arange(24.0).reshape(2, 3, 4))}


@pytest.mark.parametrize("protocol", range(6))
def test_arrays_of_numpy(protocol, tmp_path):
    path, expected = tmp_path / "a.pkl", arrays()
    path.write_bytes(pickle.dumps(expected, protocol))
    for read in (torch_file.read(path), torch_file.read(write_zip(tmp_path / "a.pth", path.read_bytes()))):
        assert list(read) == list(expected)
        for name, value in expected.items():
            found = read[name].numpy()
            np.testing.assert_array_equal(found.astype(np.float64), value.astype(np.float64), err_msg=name)
            assert (found.shape, found.dtype) == (value.shape, value.dtype), name


def test_names_of_numpy_1(tmp_path):
    content = pickle.dumps(np.arange(3), 2).replace(b"numpy._core.", b"numpy.core.")
    read = torch_file.read(write_zip(tmp_path / "a.pth", content))
    assert b"numpy.core." in content and read.numpy().tolist() == [0, 1, 2]


def test_other_arrays_of_numpy_are_inert(tmp_path):
    values = {"objects": np.array([{}, len], object), "text": np.array(["a"]), "times": np.zeros(1, "M8[s]")}
    read = torch_file.read(write_zip(tmp_path / "a.pth", pickle.dumps(values, 2)))
    assert [value.has_numbers for value in read.values()] == [False] * 3
    lie = pickle.dumps(np.zeros(3, np.float32), 4).replace(b"K\x03\x85", b"K\x04\x85")
    with pytest.raises(ValueError, match="out of its storage"):
        torch_file.read(write_zip(tmp_path / "b.pth", lie)).numpy()
