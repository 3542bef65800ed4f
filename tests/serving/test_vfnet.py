"""A SavedModel of VarifocalNet (star and deformable convolutions, soft-NMS) in a Python that has TensorFlow alone."""

import json
import os
import subprocess

import numpy as np
import tensorflow as tf

from gfl_tf.serving import export
from tests.bin.test_export import CLIENT


def test_bare_tensorflow_finds_what_the_model_finds(tiny_vfnet, bare_python, tmp_path):
    coarse = np.random.default_rng(0).uniform(0, 255, (5, 6, 3))
    image = tf.cast(tf.clip_by_value(tf.image.resize(coarse, (96, 160), "bicubic"), 0, 255), tf.uint8)
    tf.io.write_file(str(tmp_path / "image.png"), tf.io.encode_png(image))
    directory = export.export(tiny_vfnet, (160, 96), tmp_path, "vfnet")  # the size that the image has
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    client = [bare_python, "-c", CLIENT, str(directory), str(tmp_path / "image.png")]
    result = subprocess.run(client, capture_output=True, text=True, cwd=tmp_path, env=environment)
    assert result.returncode == 0, result.stderr
    answer = json.loads(result.stdout.splitlines()[-1])
    assert answer["unknown_ops"] == []
    found = {name: np.asarray(value)[0] for name, value in answer["outputs"].items()}
    expected = {name: value[0] for name, value in tiny_vfnet.detect(image[tf.newaxis]).items()}
    count = int(expected["num_detections"])
    assert count > 0 and found["num_detections"] == count
    np.testing.assert_allclose(found["detection_scores"][:count], expected["confidence"][:count], rtol=1e-4)
    boxes = tf.gather(expected["boxes"], [1, 0, 3, 2], axis=-1)
    np.testing.assert_allclose(found["detection_boxes"][:count], boxes[:count], atol=1e-2)
    np.testing.assert_array_equal(found["detection_classes"][:count], expected["classes"][:count])
