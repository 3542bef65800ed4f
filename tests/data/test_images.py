"""Image files: which of a folder, how they are turned, and what is said of one that cannot be read."""

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image, ImageOps

from gfl_tf.data import images


def test_find_files(tmp_path):
    for name in ("b.png", "a.JPEG", "c.txt", "d.gif", "sub/e.jpg", "f.heic", "g.webp", "h.TIF", "i.avif", ".hidden"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    folder = [tmp_path / name for name in ("a.JPEG", "b.png", "d.gif", "f.heic", "g.webp", "h.TIF", "i.avif")]
    assert images.find_files([str(tmp_path)]) == folder
    assert images.find_files([tmp_path / "c.txt", tmp_path, tmp_path / "b.png"]) == [tmp_path / "c.txt", *folder]
    assert images.other_files([tmp_path, tmp_path / "b.png"]) == [tmp_path / "c.txt"]


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
    with pytest.raises(ValueError, match="a.png is cut short or damaged"):
        images.read_file(tmp_path / "a.png")
    with pytest.raises(ValueError, match="b.png cannot be opened: No such file"):
        images.read_file(tmp_path / "b.png")


def read(path, expected_hw, orientation=1):
    """`images.decode_named` of a file, as the training pipeline has it."""
    encoded = tf.data.Dataset.from_tensors(path).map(tf.io.read_file)
    return images.decode_named(encoded, path, expected_hw, orientation)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_orient_is_what_pillow_does(orientation, tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (5, 7, 3), np.uint8)
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(pixels).save(tmp_path / "a.png", exif=exif)
    with Image.open(tmp_path / "a.png") as image:
        expected = np.asarray(ImageOps.exif_transpose(image))
    np.testing.assert_array_equal(images.orient(pixels, orientation), expected)
    np.testing.assert_array_equal(read(str(tmp_path / "a.png"), expected.shape[:2], orientation), expected)


def first_of(path, size=(5, 7)):
    """The first image of a pipeline like those of training."""
    files = tf.data.Dataset.from_tensor_slices(([str(path)], [size]))
    return next(iter(files.map(read, num_parallel_calls=2)))


@pytest.mark.parametrize("name", ["a.png", "Ä' \"]].png"])
def test_a_file_that_goes_bad_is_named_in_one_line(name, tmp_path):
    path = tmp_path / name
    with pytest.raises(ValueError) as error, images.named_errors("Or skip it."):
        first_of(path)
    assert str(error.value).startswith(f"Image file {path} cannot be read: it is missing, cut short")
    path.write_bytes(tf.io.encode_png(np.zeros((7, 5, 3), np.uint8)).numpy())
    with pytest.raises(ValueError) as other, images.named_errors("Or skip it."):
        first_of(path)
    assert f"Image file {path} is 7 x 5 (height x width), but its annotations say 5 x 7." in str(other.value)
    for text in (str(error.value), str(other.value)):
        assert text.endswith("out of the annotations. Or skip it.") and "\n" not in text


def test_other_errors_pass():
    with pytest.raises(tf.errors.InvalidArgumentError, match="another"), images.named_errors("Or skip it."):
        tf.debugging.Assert(False, ["another"])
