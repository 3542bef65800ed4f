"""Detections of image files: the distributions shown are those of the boxes."""

import json

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from gfl_tf.training import run_dir
from gfl_tf.visualization import predict

pytestmark = pytest.mark.one_stack


@pytest.fixture(scope="module")
def model_and_config(tiny_run):
    return run_dir.load_run(tiny_run)


def test_distributions_belong_to_their_boxes(model_and_config):
    model, config = model_and_config
    height, width = 190, 283
    image = tf.cast(tf.random.stateless_uniform([1, height, width, 3], [1, 2], maxval=256, dtype=tf.int32), tf.uint8)
    found = predict.detect_function(model, config.data.scale, with_distributions=True)(image)
    assert found["num_detections"] > 0
    found = {name: value[0].numpy() for name, value in found.items()}
    found = {name: value[: found["num_detections"]] for name, value in found.items() if value.ndim}
    bins = np.arange(found["probabilities"].shape[-1]) * found["bin_px"][:, np.newaxis]
    distances = np.einsum("dsn,dn->ds", found["probabilities"], bins)
    boxes = np.concatenate([found["points"] - distances[:, :2], found["points"] + distances[:, 2:]], axis=-1)
    # The resized height and width are whole numbers, so that the axes' factors differ a little.
    np.testing.assert_allclose(np.clip(boxes, 0, [width, height] * 2), found["boxes"], atol=2.0)
    assert (found["boxes"][:, 2:] - found["boxes"][:, :2]).min() > 20, "boxes too small for that tolerance"
    stddev = np.sqrt(
        np.einsum("dsn,dsn->ds", found["probabilities"], (bins[:, np.newaxis] - distances[..., None]) ** 2)
    )
    np.testing.assert_allclose(stddev, found["edge_stddev"], rtol=0.02)


def test_never_writes_among_the_images(tmp_path):
    (tmp_path / "a.jpg").touch()
    with pytest.raises(ValueError, match="holds images to read"):
        predict.predict(None, [tmp_path / "a.jpg"], tmp_path, (64, 64), ())
    assert [path.name for path in tmp_path.iterdir()] == ["a.jpg"]


def test_what_is_not_read_is_named_and_the_rest_goes_on(tiny_atss, tmp_path, caplog):
    """WebP and TIFF are read; a photo of a kind that is not is skipped, a text passed over; doubts are counted."""
    folder = tmp_path / "images"
    folder.mkdir()
    image = Image.fromarray(np.random.default_rng(0).integers(0, 256, (50, 70, 3)).astype(np.uint8))
    exif = Image.Exif()
    exif[0x0112] = 6
    image.save(folder / "a.webp", exif=exif)
    image.save(folder / "b.tif")
    Image.fromarray(np.full((50, 70), 4095, np.uint16)).save(folder / "c.png")
    (folder / "d.heic").write_bytes(b"a photo")
    (folder / "e.jpg").write_bytes(b"")
    for name in ("notes.txt", ".hidden"):
        (folder / name).touch()
    content = predict.predict(tiny_atss, [folder], tmp_path / "found", (160, 96), ("a", "b", "c"))
    assert content == json.loads((tmp_path / "found" / predict.JSON_FILE).read_text())
    assert [(each["picture"], each["width"]) for each in content["images"]] == [
        ("a.jpg", 70),
        ("b.jpg", 70),
        ("c.jpg", 70),
    ]
    skipped = {str(folder / "d.heic"): "is no JPEG, PNG", str(folder / "e.jpg"): "is empty"}
    assert [each["file"] for each in content["skipped"]] == list(skipped)
    for each in content["skipped"]:
        assert each["reason"].startswith(f"{each['file']} {skipped[each['file']]}") and each["reason"] in caplog.text
    assert "1 files are not named like images and are passed over: notes.txt" in caplog.text
    assert "1 of 5 images: their EXIF orientation is ignored" in caplog.text
    assert "1 of 5 images: they have 16 bits" in caplog.text


def test_a_detector_without_distributions(tiny_atss, tmp_path):
    """ATSS: pictures and JSON without edge uncertainty; asked for distributions, it says that there are none."""
    image = np.random.default_rng(0).integers(0, 256, (50, 70, 3)).astype(np.uint8)
    Image.fromarray(image).save(tmp_path / "a.png")
    content = predict.predict(tiny_atss, [tmp_path / "a.png"], tmp_path / "found", (160, 96), ("a", "b", "c"))
    detections = content["images"][0]["detections"]
    assert detections and set(detections[0]) == {"box", "class", "class_index", "score"}
    assert (tmp_path / "found" / "a.jpg").exists()
    with pytest.raises(ValueError, match="AnchorDeltas does not predict distributions"):
        predict.detect_function(tiny_atss, (160, 96), with_distributions=True)
