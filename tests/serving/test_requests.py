"""Requests and answers as a client writes and reads them, against a stand-in for TensorFlow Serving."""

import base64
import json
import os
import subprocess
import sys
from concurrent import futures
from pathlib import Path

import grpc
import numpy as np
import pytest
import tensorflow as tf
from tensorflow_serving.apis import prediction_service_pb2_grpc

from gfl_tf.serving import requests
from tests.serving import server_stub

pytestmark = pytest.mark.one_stack

ROOT = Path(__file__).resolve().parents[2]


def png(height, width, grey):
    return tf.io.encode_png(np.full((height, width, 3), grey, np.uint8)).numpy()


IMAGES = [png(5, 7, 51), png(8, 4, 204)]


class Fake(tf.Module):
    """An export's signatures; finds the whole image twice, with its brightness and half of that as score."""

    def _found(self, images, threshold, limit, depth):
        size = tf.cast(tf.shape(images)[:2], tf.float32)
        scores = tf.reduce_mean(tf.cast(images, tf.float32)) / 255 / tf.constant([1.0, 2.0])
        count = tf.minimum(tf.reduce_sum(tf.cast(scores > threshold, tf.int32)), limit)
        valid = tf.range(depth) < count

        def padded(values, padding):
            values = tf.concat([values, tf.repeat(values[:1], depth, axis=0)], axis=0)[:depth]
            return tf.where(tf.reshape(valid, [-1] + [1] * (values.shape.rank - 1)), values, padding)

        box = tf.concat([[0.0, 0.0], size], axis=0)
        return {
            "detection_boxes": padded(tf.stack([box, box / 3]), 0.0),
            "detection_scores": padded(scores, 0.0),
            "detection_classes": padded(tf.constant([1, 0]), -1),
            "detection_class_names": padded(tf.constant(["ä", "b"]), ""),
            "num_detections": count,
        }

    def _from_bytes(self, image_bytes, thresholds, limits):
        depth = tf.reduce_max(limits)

        def one(item):
            encoded, threshold, limit = item
            image = tf.io.decode_png(encoded, channels=3)
            return {**self._found(image, threshold, limit, depth), "status": tf.constant("ok")}

        spec = {
            "detection_boxes": tf.TensorSpec([None, 4]),
            "detection_scores": tf.TensorSpec([None]),
            "detection_classes": tf.TensorSpec([None], tf.int32),
            "detection_class_names": tf.TensorSpec([None], tf.string),
            "num_detections": tf.TensorSpec([], tf.int32),
            "status": tf.TensorSpec([], tf.string),
        }
        return tf.map_fn(one, (image_bytes, thresholds, limits), fn_output_signature=spec)

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="image_bytes")])
    def serving_default(self, image_bytes):
        count = tf.shape(image_bytes)[0]
        return self._from_bytes(image_bytes, tf.fill([count], 0.0), tf.fill([count], 3))

    @tf.function(input_signature=[tf.TensorSpec([None, None, None, 3], tf.uint8, name="image_tensor")])
    def image_tensor(self, image_tensor):
        # Of a single image.
        return {name: value[tf.newaxis] for name, value in self._found(image_tensor[0], 0.0, 3, 3).items()}

    @tf.function(
        input_signature=[
            tf.TensorSpec([None], tf.string, name="image_bytes"),
            tf.TensorSpec([None], tf.float32, name="score_threshold"),
            tf.TensorSpec([None], tf.int32, name="max_detections"),
        ]
    )
    def image_bytes_with_options(self, image_bytes, score_threshold, max_detections):
        return self._from_bytes(image_bytes, score_threshold, max_detections)


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    directory, module = tmp_path_factory.mktemp("fake"), Fake()
    names = ("serving_default", "image_tensor", "image_bytes_with_options")
    signatures = {name: getattr(module, name).get_concrete_function() for name in names}
    tf.saved_model.save(module, str(directory), signatures=signatures)
    return server_stub.Server(directory)


@pytest.fixture(scope="module")
def url(server):
    with server_stub.running(server, "cells") as url:
        yield url


def assert_found(prediction, image, scores):
    found = requests.answer(prediction)
    height, width = tf.io.decode_png(image).shape[:2]
    assert found["status"] == "ok" and len(found["detections"]) == len(scores)
    for index, (detection, score) in enumerate(zip(found["detections"], scores)):
        assert list(detection) == ["class", "class_index", "score", "box"]
        assert (detection["class_index"], detection["class"]) == ((1, "ä"), (0, "b"))[index]
        assert detection["score"] == pytest.approx(score, abs=1e-6)
        divided = 3 if index else 1
        assert detection["box"] == pytest.approx([0, 0, width / divided, height / divided], abs=0.005)


def test_rest(url):
    answer = requests.ask(url, requests.rest_body(*requests.detection_inputs(IMAGES)))
    assert len(answer) == 2
    assert_found(answer[0], IMAGES[0], (0.2, 0.1))
    assert_found(answer[1], IMAGES[1], (0.8, 0.4))


def test_rest_with_options(url):
    inputs, name = requests.detection_inputs(IMAGES, score_threshold=0.3, max_detections=1)
    answer = requests.ask(url, requests.rest_body(inputs, name))
    assert_found(answer[0], IMAGES[0], ())
    assert_found(answer[1], IMAGES[1], (0.8,))
    inputs.update(score_threshold=[0.15, 0.0], max_detections=[4, 2])  # each image its own
    answer = requests.ask(url, requests.rest_body(inputs, name))
    assert [len(item["detection_scores"]) for item in answer] == [4, 4]
    assert_found(answer[0], IMAGES[0], (0.2,))
    assert_found(answer[1], IMAGES[1], (0.8, 0.4))


def test_rest_of_pixels(url):
    pixels = tf.io.decode_png(IMAGES[1]).numpy()
    body = requests.rest_body({"image_tensor": pixels[np.newaxis]}, "image_tensor")
    (answer,) = requests.ask(url, body)
    assert_found(answer, IMAGES[1], (0.8, 0.4))


def test_body_is_what_the_documentation_shows(server):
    inputs, name = requests.detection_inputs(IMAGES[:1], 0.25, 2)
    encoded = {"b64": base64.b64encode(IMAGES[0]).decode()}
    assert json.loads(requests.rest_body(inputs, name)) == {
        "signature_name": "image_bytes_with_options",
        "instances": [{"image_bytes": encoded, "score_threshold": 0.25, "max_detections": 2}],
    }
    # Other ways to write the same.
    expected = requests.predict_request("", {"image_bytes": IMAGES[:1]})
    for body in (
        {"instances": [{"image_bytes": encoded}]},
        {"instances": [encoded]},
        {"inputs": {"image_bytes": [encoded]}},
        {"inputs": [encoded]},
    ):
        request, in_rows = server.request_from_json(json.dumps(body))
        assert request == expected and in_rows == ("instances" in body)
    columns = json.loads(server.answer(json.dumps(body)))["outputs"]
    assert columns["num_detections"] == [2] and columns["detection_class_names"] == [["ä", "b", ""]]


@pytest.fixture(scope="module")
def grpc_stub(server):
    """`PredictionServiceStub` of a gRPC server that answers as `server`."""

    class Servicer(prediction_service_pb2_grpc.PredictionServiceServicer):
        def Predict(self, request, context):
            return server.predict(request)

    listener = grpc.server(futures.ThreadPoolExecutor(1))
    prediction_service_pb2_grpc.add_PredictionServiceServicer_to_server(Servicer(), listener)
    port = listener.add_insecure_port("localhost:0")
    listener.start()
    with grpc.insecure_channel(f"localhost:{port}") as channel:
        yield prediction_service_pb2_grpc.PredictionServiceStub(channel)
    listener.stop(None).wait()


@pytest.mark.parametrize("options", [(), (0.3, 1)])
def test_rest_and_grpc_ask_and_answer_the_same(server, url, grpc_stub, options):
    inputs, name = requests.detection_inputs(IMAGES, *options)
    body = requests.rest_body(inputs, name)
    request = requests.predict_request("cells", inputs, name)
    from_rest, _ = server.request_from_json(body)
    for key, tensor in request.inputs.items():
        np.testing.assert_array_equal(tf.make_ndarray(from_rest.inputs[key]), tf.make_ndarray(tensor))
        assert from_rest.inputs[key].dtype == tensor.dtype
    assert requests.predictions(grpc_stub.Predict(request, timeout=60)) == requests.ask(url, body)


def test_bytes_stay_bytes():
    any_bytes = [b"\0\xff\0", b"", b"\x89PNG\r\n\0"]
    request = requests.predict_request("m", {"image_bytes": any_bytes})
    assert list(request.inputs["image_bytes"].string_val) == any_bytes
    instances = json.loads(requests.rest_body({"image_bytes": any_bytes}))["instances"]
    assert [base64.b64decode(item["image_bytes"]["b64"]) for item in instances] == any_bytes


def test_pixels_are_sent_as_they_are():
    pixels = np.zeros((2, 100, 100, 3), np.uint8)
    request = requests.predict_request("m", {"image_tensor": pixels}, "image_tensor")
    assert pixels.nbytes <= request.ByteSize() < pixels.nbytes + 200


def test_one_option_alone():
    with pytest.raises(ValueError, match="belong together"):
        requests.detection_inputs(IMAGES, score_threshold=0.3)


def test_what_the_server_refuses(url):
    with pytest.raises(ValueError, match="status 400.*keys must be equal to"):
        requests.ask(url, requests.rest_body({"image_bytes": IMAGES}, "image_bytes_with_options"))
    with pytest.raises(ValueError, match="status 404.*Malformed request"):
        requests.ask(f"{url}2", requests.rest_body({"image_bytes": IMAGES}))


def test_answer_of_an_image_that_cannot_be_read():
    prediction = {"num_detections": 0, "detection_scores": [0.0], "status": "not an image"}
    assert requests.answer(prediction) == {"status": "not an image", "detections": []}


def query(*flags):
    command = [sys.executable, str(ROOT / "bin" / "query_server"), *map(str, flags)]
    return subprocess.run(command, capture_output=True, text=True, env={**os.environ, "PYTHONPATH": str(ROOT)})


def test_command_line(url, tmp_path):
    paths = [tmp_path / "a.png", tmp_path / "b.png", tmp_path / "broken.png"]
    for path, content in zip(paths, [*IMAGES, b"not an image"]):
        path.write_bytes(content)
    done = query(f"--url={url}", f"--images={paths[0]},{paths[1]}")
    assert done.returncode == 0, done.stderr
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert [line["file"] for line in lines] == [str(path) for path in paths[:2]]
    assert [item["score"] for item in lines[1]["detections"]] == pytest.approx([0.8, 0.4])
    assert lines[0]["detections"][0]["class"] == "ä" and '"ä"' in done.stdout

    done = query(f"--url={url}", f"--images={paths[2]},{paths[1]}", "--score_threshold=0.5", "--max_detections=9")
    assert done.returncode == 1
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert "status 400" in lines[0]["status"] and lines[0]["detections"] == []
    assert [item["score"] for item in lines[1]["detections"]] == pytest.approx([0.8])
    assert "query_server: 1 of 2 images" in done.stderr and "Traceback" not in done.stderr


def test_url(url):
    body = requests.rest_body({"image_bytes": IMAGES})
    assert requests.ask(f"{url}/", body) == requests.ask(url, body)
    with pytest.raises(ValueError, match="localhost:8501/v1/models/cells is no URL of a model"):
        requests.ask("localhost:8501/v1/models/cells", body)


def test_no_server(tmp_path):
    (tmp_path / "a.png").write_bytes(IMAGES[0])
    answers = requests.ask_for_files("http://localhost:1/v1/models/cells", [tmp_path / "a.png"])
    with pytest.raises(OSError, match="http://localhost:1/v1/models/cells does not answer"):
        next(answers)
