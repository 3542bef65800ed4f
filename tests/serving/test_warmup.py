"""What lies in the file of warm-up requests."""

import numpy as np
import pytest
import tensorflow as tf

from gfl_tf.data import images as image_ops
from gfl_tf.serving import tf_serving, warmup
from tests.serving import warmup_requests

SCALE = (1333, 800)
MAX_PIXELS = 1333 * 800


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """A folder with the warm-up requests of a model at full size."""
    directory = tmp_path_factory.mktemp("version")
    warmup.write(directory, "cells", warmup.pictures(SCALE, MAX_PIXELS))
    return directory


def images(request):
    return tf.make_ndarray(request.inputs["image_bytes"]).tolist()


def test_one_request_per_batch_size(written):
    found = warmup_requests.read(written)
    assert [len(images(request)) for request in found] == list(tf_serving.BATCH_SIZES)
    for request in found:
        assert (request.model_spec.name, request.model_spec.signature_name) == ("cells", "serving_default")
        assert list(request.inputs) == ["image_bytes"] and not request.output_filter
        assert request.inputs["image_bytes"].dtype == tf.string.as_datatype_enum


def test_images_have_the_sizes_that_the_network_sees(written):
    encoded = [image for request in warmup_requests.read(written) for image in images(request)]
    sizes = [tuple(tf.io.decode_jpeg(image).shape) for image in encoded]
    assert set(sizes) == {(800, 1067, 3), (1067, 800, 3), (800, 1200, 3), (1200, 800, 3), (800, 800, 3)}
    for height, width, _ in sizes:
        assert tuple(image_ops.keep_ratio_size((height, width), SCALE).numpy()) == (height, width)
    batch = sizes[-tf_serving.BATCH_SIZES[-1] :]
    assert {np.sign(width - height) for height, width, _ in batch} == {-1, 0, 1}
    assert len(set(encoded)) == len(warmup.RATIOS)


@pytest.mark.parametrize("max_pixels", [500_000, 1])
def test_images_are_not_larger_than_the_model_takes(max_pixels):
    for image in warmup.pictures(SCALE, max_pixels):
        height, width, _ = tf.io.decode_jpeg(image).shape
        assert 0.99 * max_pixels < height * width <= max_pixels


def test_small_and_the_same_each_time(written, tmp_path):
    again = warmup.write(tmp_path, "cells", warmup.pictures(SCALE, MAX_PIXELS))
    assert again == tmp_path / "assets.extra" / "tf_serving_warmup_requests"
    assert again.read_bytes() == (written / warmup.PATH).read_bytes()
    assert again.stat().st_size < 1e6


def test_images_of_ones_own(tmp_path):
    own = [b"any\0bytes\xff\0", b"\0"]
    warmup.write(tmp_path, "cells", own, batch_sizes=(1, 3))
    assert [images(request) for request in warmup_requests.read(tmp_path)] == [own[:1], [own[1], *own]]


@pytest.mark.parametrize(
    ["given", "batch_sizes", "message"],
    [([], (1,), "no images"), ([b"x"], range(1, 1002), "1001 batch sizes: TensorFlow Serving allows 1000")],
)
def test_what_the_server_would_refuse(given, batch_sizes, message, tmp_path):
    with pytest.raises(ValueError, match=message):
        warmup.write(tmp_path, "cells", given, batch_sizes)
