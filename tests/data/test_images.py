"""Image files: which of a folder, and what is said of one that cannot be read."""

import numpy as np
import pytest
import tensorflow as tf

from gfl_tf.data import images


def test_find_files(tmp_path):
    for name in ("b.png", "a.JPEG", "c.txt", "d.gif", "sub/e.jpg"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    folder = [tmp_path / name for name in ("a.JPEG", "b.png", "d.gif")]
    assert images.find_files([str(tmp_path)]) == folder
    assert images.find_files([tmp_path / "c.txt", tmp_path, tmp_path / "b.png"]) == [tmp_path / "c.txt", *folder]


def test_no_image(tmp_path):
    with pytest.raises(ValueError, match="no image in"):
        images.find_files([tmp_path])
    with pytest.raises(ValueError, match="no image or folder .*missing.jpg"):
        images.find_files([tmp_path / "missing.jpg"])


def test_read_file(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (5, 7, 3), np.uint8)
    content = tf.io.encode_png(pixels).numpy()
    (tmp_path / "a.png").write_bytes(content)
    np.testing.assert_array_equal(images.read_file(tmp_path / "a.png"), pixels)
    (tmp_path / "a.png").write_bytes(content[:-20])
    for name in ("a.png", "b.png"):
        with pytest.raises(ValueError, match=f"{name} cannot be read: missing, cut short"):
            images.read_file(tmp_path / name)
