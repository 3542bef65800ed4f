"""Detections of image files: the distributions shown are those of the boxes."""

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from gfl_tf.training import run_dir
from gfl_tf.visualization import predict


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
