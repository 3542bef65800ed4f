"""Exported models in programs that have TensorFlow alone: Python, TensorFlow 1's session and the C API."""

import functools
import json
import os
import pathlib
import subprocess

import numpy as np
import pytest
import tensorflow as tf

from gfl_tf.data import images as image_ops
from gfl_tf.serving import export, requests
from gfl_tf.training import run_dir

pytestmark = pytest.mark.one_stack

ROOT = pathlib.Path(__file__).resolve().parents[2]
PROGRAMS = pathlib.Path(__file__).parent / "clients"
CLIENTS = ["tf2", "tf1", "c_api"]
NAMES = ("circle", "square", "star")
SCALE = (160, 96)
SIZES = ((120, 200), (97, 51))
NOT_AN_IMAGE = b"not an image"
LIMITS = (3, 5)  # max_detections of the two images


@pytest.fixture(scope="module")
def images():
    rng = np.random.default_rng(0)
    coarse = [tf.image.resize(rng.uniform(0, 255, (6, 7, 3)), size, "bicubic") for size in SIZES]
    return [tf.cast(tf.clip_by_value(image, 0, 255), tf.uint8).numpy() for image in coarse]


@pytest.fixture(scope="module")
def gflv2(tiny_run, tiny_export):
    """(path, model) of an export that fails for bad images."""
    model, config = run_dir.load_run(tiny_run)
    assert config.data.scale == SCALE
    return str(tiny_export), model


@pytest.fixture(scope="module")
def vfnet(tiny_vfnet, tmp_path_factory):
    """(path, model) with star and deformable convolutions and soft-NMS, frozen, that reports bad images."""
    options = export.Options(on_bad_image="report", freeze=True, batch_sizes=(1,))
    return str(export.export(tiny_vfnet, SCALE, tmp_path_factory.mktemp("vfnet"), "m", options, NAMES)), tiny_vfnet


@pytest.fixture(scope="module")
def answers_of(gflv2, vfnet, images, bare_python, tmp_path_factory):
    """answers_of(client) -> (answers of GFLv2, answers of VarifocalNet), each client program running once."""
    encoded = [tf.io.encode_png(image).numpy() for image in images]
    options = {"score_threshold": np.float32([0, 0]), "max_detections": np.int32(LIMITS)}
    bodies = {
        gflv2[0]: [
            requests.rest_body({"image_bytes": encoded}),
            requests.rest_body({"image_bytes": [encoded[0], NOT_AN_IMAGE, encoded[1], b""]}),
        ],
        vfnet[0]: [requests.rest_body({"image_bytes": [NOT_AN_IMAGE, encoded[0]]})],
    }
    other_signatures = [
        requests.rest_body({"image_tensor": images[0][np.newaxis]}, "image_tensor"),
        requests.rest_body({"image_bytes": encoded, **options}, "image_bytes_with_options"),
    ]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}

    @functools.lru_cache(None)
    def answers(client):
        # A signature's first request takes seconds. The C API client has to make tensors of all types by itself.
        of_client = {**bodies, gflv2[0]: bodies[gflv2[0]] + other_signatures} if client == "c_api" else bodies
        folder = tmp_path_factory.mktemp(client)
        (folder / "requests.json").write_text(
            json.dumps({path: [json.loads(body) for body in of_path] for path, of_path in of_client.items()})
        )
        command = [bare_python, str(PROGRAMS / f"{client}.py"), "requests.json"]
        result = subprocess.run(command, capture_output=True, text=True, cwd=folder, env=environment)
        assert result.returncode == 0, result.stderr
        # TensorFlow's own line at its start, from 2.19 on.
        said = result.stderr.replace("WARNING: All log messages before absl::InitializeLog() is called", "")
        assert client == "tf1" or "WARNING" not in said  # TensorFlow 1's loader itself is deprecated
        printed = json.loads(result.stdout.splitlines()[-1])
        return printed[gflv2[0]], printed[vfnet[0]]

    return answers


@pytest.fixture(scope="module")
def expected(gflv2, vfnet, images):
    """What the models themselves find: [GFLv2's outputs for both images, VarifocalNet's for the first]."""
    return [[expected_of(gflv2[1], image) for image in images], [expected_of(vfnet[1], images[0])]]


def expected_of(model, image):
    """Outputs without padding, in the image's pixels."""
    resized = image_ops.resize_keep_ratio(image, SCALE)
    found = {name: value[0].numpy() for name, value in model.detect(resized[tf.newaxis]).items()}
    count = int(found["num_detections"])
    assert count > max(LIMITS)
    height, width = image.shape[:2]
    scale = np.tile([width / resized.shape[1], height / resized.shape[0]], 2)
    classes = found["classes"][:count].astype(int)
    outputs = {
        "detection_boxes": np.minimum(found["boxes"] * scale, np.tile([width, height], 2))[:count, [1, 0, 3, 2]],
        "detection_scores": found["confidence"][:count],
        "detection_classes": classes,
        "detection_class_names": np.array(NAMES)[classes],
    }
    if "edge_stddev" in found:
        outputs["detection_edge_stddev"] = found["edge_stddev"][:count] * scale
    return outputs


def assert_found(answer, index, expected, limit=None):
    """The outputs for one image are the first `limit` of what is expected."""
    assert "outputs" in answer, answer
    found = {name: np.asarray(values[index]) for name, values in answer["outputs"].items()}
    count = found.pop("num_detections")
    assert count == len(expected["detection_scores"][:limit])
    assert found.pop("status", "ok") == "ok"
    assert set(found) == set(expected)
    for name, values in expected.items():
        if name == "detection_class_names":
            np.testing.assert_array_equal(found[name][:count], values[:limit])
        else:
            np.testing.assert_allclose(
                found[name][:count], values[:limit], rtol=1e-4, atol=1e-2 if "box" in name else 0, err_msg=name
            )


@pytest.mark.parametrize("client", CLIENTS)
def test_finds_what_the_model_finds(answers_of, expected, client):
    of_gflv2, of_vfnet = answers_of(client)
    for index in range(2):
        assert_found(of_gflv2[0], index, expected[0][index])
    assert_found(of_vfnet[0], 1, expected[1][0])


def test_image_tensor(answers_of, expected):
    of_gflv2, _ = answers_of("c_api")
    assert_found(of_gflv2[2], 0, expected[0][0])


def test_options_of_the_request(answers_of, expected):
    of_gflv2, _ = answers_of("c_api")
    for index, limit in enumerate(LIMITS):
        assert_found(of_gflv2[3], index, expected[0][index], limit)
    assert len(of_gflv2[3]["outputs"]["detection_scores"][0]) == max(LIMITS)


@pytest.mark.parametrize("client", CLIENTS)
def test_request_fails_with_the_items_that_are_bad(answers_of, client):
    of_gflv2, _ = answers_of(client)
    message = of_gflv2[1]["error"]
    assert "image_bytes[1]: " in message and "image_bytes[3]: " in message
    assert "image_bytes[0]" not in message and "image_bytes[2]" not in message


@pytest.mark.parametrize("client", CLIENTS)
def test_bad_image_is_reported_beside_the_others(answers_of, client):
    _, of_vfnet = answers_of(client)
    outputs = of_vfnet[0]["outputs"]
    assert [status == "ok" for status in outputs["status"]] == [False, True]
    assert outputs["num_detections"][0] == 0 and set(outputs["detection_classes"][0]) == {-1}
    assert outputs["num_detections"][1] > 0


def test_frozen_has_no_variables(vfnet):
    path, _ = vfnet
    assert not [name for name, shape in tf.train.list_variables(f"{path}/variables/variables") if shape]


def test_holds_the_weights_alone(gflv2):
    """No optimizer, no metrics; what batch normalization adds to convolutions is folded into them."""
    path, model = gflv2
    shapes = [shape for _, shape in tf.train.list_variables(f"{path}/variables/variables")]
    assert 0.9 * model.count_params() < sum(map(np.prod, shapes)) <= model.count_params()
