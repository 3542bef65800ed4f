"""The check of all image files of a data set: orientations, depths, progress."""

import numpy as np
import pytest
from PIL import Image, ImageOps

from gfl_tf.data import image_checks, pipeline
from gfl_tf.data.coco import load_coco

PIXELS = np.random.default_rng(0).integers(0, 256, (40, 60, 3), np.uint8)


def write(path, pixels=PIXELS, orientation=1):
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(pixels).save(path, exif=exif)


def load(folder, height, width, **options):
    """The data set of an image a.png that is annotated with this size."""
    entry = {"id": 1, "file_name": "a.png", "height": height, "width": width}
    return load_coco({"images": [entry], "annotations": [], "categories": [{"id": 1, "name": "x"}]}, folder, **options)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_the_annotations_size_decides_between_stored_and_turned(tmp_path, orientation, caplog):
    write(tmp_path / "a.png", orientation=orientation)
    assert load(tmp_path, 40, 60).images[0].orientation == 1
    assert ("The stored ones are read" in caplog.text) == (2 <= orientation <= 4)
    if orientation >= 5:
        assert load(tmp_path, 60, 40).images[0].orientation == orientation
    else:
        with pytest.raises(ValueError, match="is 60 x 40 pixels"):
            load(tmp_path, 60, 40)


@pytest.mark.parametrize("cache", [False, True])
def test_an_image_is_turned_where_it_is_read(tmp_path, cache):
    write(tmp_path / "a.png", orientation=6)
    with Image.open(tmp_path / "a.png") as image:
        expected = np.asarray(ImageOps.exif_transpose(image))
    batches = pipeline.evaluation_batches(load(tmp_path, 60, 40), 1, scale=(60, 40), cache=cache)
    images, labels = next(iter(batches))
    np.testing.assert_array_equal(images[0, :60, :40], expected)
    np.testing.assert_array_equal(labels["original_shape"], [[60, 40]])


def test_square_images_are_warned_of_once_with_their_number(tmp_path, caplog):
    for name in ("a.png", "b.png"):
        write(tmp_path / name, PIXELS[:, :40], orientation=8)
    checks = image_checks.check_files([tmp_path / "a.png", tmp_path / "b.png"], [(40, 40)] * 2)
    assert all(check.is_doubtful and check.orientation == 1 for check in checks)
    image_checks.warn_of_orientations(checks, ["a.png", "b.png"])
    assert caplog.text.count("2 images, such as a.png, have an EXIF orientation that keeps their size") == 1


@pytest.mark.parametrize("ending", ["png", "tif"])
@pytest.mark.parametrize("bits", [8, 12, 14, 16])
def test_images_of_16_bits_that_use_the_lower_ones_are_refused(tmp_path, ending, bits):
    values = np.random.default_rng(0).integers(0, 2**bits, (40, 60), np.uint16)
    Image.fromarray(values).save(tmp_path / f"{bits}.{ending}")
    (tmp_path / f"{bits}.{ending}").rename(tmp_path / "a.png")  # the name does not matter
    if bits == 16:
        assert len(load(tmp_path, 40, 60).images) == 1
    else:
        with pytest.raises(ValueError, match="1 images of the annotations have 16 bits, such as .*a.png, but no value"):
            load(tmp_path, 40, 60, on_bad_image="skip")


def test_tiff_of_a_kind_that_is_not_decoded_is_found(tmp_path):
    Image.fromarray(np.zeros((40, 60), np.float32)).save(tmp_path / "a.tif")
    (tmp_path / "a.tif").rename(tmp_path / "a.png")
    with pytest.raises(ValueError, match="a.png is cut short or damaged, or a kind of TIFF that is not decoded"):
        load(tmp_path, 40, 60)


def test_dark_images_among_others_are_none(tmp_path):
    for name, factor in (("a.png", 1), ("b.png", 200)):
        Image.fromarray(np.full((4, 6), 300 * factor, np.uint16)).save(tmp_path / name)
    image_checks.check_depth([tmp_path / "a.png", tmp_path / "b.png"], "x")
    with pytest.raises(ValueError, match="all but black"):
        image_checks.check_depth([tmp_path / "a.png"], "x")


def test_what_follows_an_image_does_no_harm(tmp_path):
    write(tmp_path / "a.png")
    (tmp_path / "a.png").write_bytes((tmp_path / "a.png").read_bytes() + b"a film")
    assert len(load(tmp_path, 40, 60).images) == 1


def test_progress(tmp_path):
    for name in "ab":
        write(tmp_path / f"{name}.png")
    seen = []
    image_checks.check_files(
        [tmp_path / "a.png", tmp_path / "b.png"], [(40, 60)] * 2, lambda done, total: seen.append((done, total))
    )
    assert seen == [(1, 2), (2, 2)]
