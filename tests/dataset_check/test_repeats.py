"""The hash of a picture: what it finds and what it does not."""

import io

import numpy as np
import pytest
from PIL import Image

from gfl_tf.dataset_check.repeats import MAX_DISTANCE, difference_hash, fingerprint, nearest

pytestmark = pytest.mark.one_stack


def picture(seed, size=(320, 240)):
    """Blurred noise, as varied as a photograph."""
    fields = np.random.default_rng(seed).integers(0, 256, (30, 40, 3), np.uint8)
    return Image.fromarray(fields).resize(size, Image.Resampling.BICUBIC)


def encoded(image, quality=95):
    file = io.BytesIO()
    image.save(file, "JPEG", quality=quality)
    return Image.open(io.BytesIO(file.getvalue()))


ORIGINALS = np.array([difference_hash(encoded(picture(seed))) for seed in range(100)])


def test_each_bit_is_a_step_to_the_right():
    values = np.arange(72, dtype=np.uint8).reshape(8, 9)
    values[3, 5] = 0
    expected = np.ones([8, 8], bool)
    expected[3, 4] = False
    np.testing.assert_array_equal(difference_hash(Image.fromarray(values)), expected.ravel())


@pytest.mark.parametrize(
    "change",
    [
        lambda image: encoded(image, quality=60),
        lambda image: encoded(image.resize((200, 150))),
        lambda image: encoded(image.resize((640, 300)), quality=60),
        lambda image: image.convert("L"),
        lambda image: image.point(lambda value: value // 2 + 20),
    ],
    ids=["quality 60", "smaller", "larger, of another shape and quality 60", "grey", "darker"],
)
def test_the_same_picture_is_found_and_no_other(change):
    index, distance = nearest(np.array([difference_hash(change(picture(seed))) for seed in range(100)]), ORIGINALS)
    np.testing.assert_array_equal(index, np.arange(100))
    assert distance.max() <= MAX_DISTANCE


def test_other_pictures_are_far():
    _, distance = nearest(ORIGINALS, ORIGINALS, only_before=True)
    assert distance[0] == 65 and distance[1:].min() > 2 * MAX_DISTANCE


def test_the_nearest_across_chunks(monkeypatch):
    bits = np.random.default_rng(0).random((50, 64)) < 0.5
    bits[[40, 45]] = bits[7]
    bits[45, :3] ^= True
    for chunk in (3, 50):
        monkeypatch.setattr("gfl_tf.dataset_check.repeats.CHUNK", chunk)
        index, distance = nearest(bits, bits, only_before=True)
        assert (index[40], distance[40], index[45], distance[45]) == (7, 0, 7, 3)
        assert (distance[np.setdiff1d(np.arange(50), [40, 45])] > MAX_DISTANCE).all()
        np.testing.assert_array_equal(nearest(bits, bits)[1], 0)


@pytest.mark.parametrize("value", [0, 128, 255])
def test_pictures_without_contrast_have_no_hash(value):
    noise = np.random.default_rng(0).integers(-3, 4, (240, 320))
    pixels = np.clip(value + noise, 0, 255).astype(np.uint8)
    assert difference_hash(Image.fromarray(pixels)) is None


def test_sixteen_bits():
    values = np.arange(72, dtype=np.uint16).reshape(8, 9) * 900
    assert difference_hash(Image.fromarray(values)).all()


def test_damaged_files_have_none(tmp_path):
    (tmp_path / "a.png").write_bytes(b"no image")
    assert fingerprint(str(tmp_path / "a.png")).is_damaged
