"""Zip archives: their checksums, and those that torch did not write."""

import struct
import zipfile

import numpy as np
import pytest

from gfl_tf.checkpoints import torch_file
from tests.checkpoints.torch_writer import pickled, tensor, write_zip

pytestmark = pytest.mark.one_stack


@pytest.mark.parametrize(
    "members, message",
    [
        (["conv/kernel.npy", "conv/bias.npy"], r"numpy's \(.npz\); .*--config.model.weights=FILE"),
        (["config.json", "model.weights.h5"], "a model of Keras"),
        (["a/FILE.pth", "b", "c", "d"], r"no single ARCHIVE/data.pkl, but 'a/FILE.pth', 'b', 'c'\. .*unpack it"),
    ],
)
def test_archives_of_something_else(members, message, tmp_path):
    path = tmp_path / "a.pth"
    with zipfile.ZipFile(path, "w") as archive:
        for member in members:
            archive.writestr(member, b"")
    with pytest.raises(ValueError, match=message):
        torch_file.read(path)


def _flip(path, text):
    """Changes one byte of where `text` is in the file."""
    content = bytearray(path.read_bytes())
    content[content.index(text)] ^= 1
    path.write_bytes(content)


def test_a_flipped_byte_is_found_by_the_checksum(tmp_path):
    values = np.arange(6, dtype="<f4").tobytes()
    path = write_zip(
        tmp_path / "a.pth", pickled({"a": tensor(), "b": tensor(key="1")}), {"0": values, "1": values[::-1]}
    )
    _flip(path, values[::-1])
    read = torch_file.read(path)
    assert read["a"].numpy().tolist() == [[0, 1, 2], [3, 4, 5]]
    with pytest.raises(ValueError, match="the record 'archive/data/1' does not have the checksum .* damaged"):
        read["b"].numpy()
    _flip(path, pickled({"a": tensor(), "b": tensor(key="1")}))
    with pytest.raises(ValueError, match="a.pth cannot be read .* 'archive/data.pkl' does not have the checksum"):
        torch_file.read(path)


def test_archives_without_checksums(tmp_path):
    """PyTorch's config.save.compute_crc32 = False writes 0 for each."""
    path = write_zip(tmp_path / "a.pth", pickled([tensor()]))
    with zipfile.ZipFile(path) as archive:
        checksums = [struct.pack("<I", entry.CRC) for entry in archive.infolist()]
    content = path.read_bytes()
    for checksum in checksums:
        content = content.replace(checksum, bytes(4))
    path.write_bytes(content)
    assert torch_file.read(path)[0].numpy().tolist() == [[0, 1, 2], [3, 4, 5]]
