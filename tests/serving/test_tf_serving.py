"""An export as TensorFlow Serving sees it: its settings files, its warm-up requests, requests of all signatures."""

import numpy as np
import pytest
import tensorflow as tf
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory, text_format, wrappers_pb2

from gfl_tf.serving import requests, tf_serving, warmup
from tests.serving import server_stub, warmup_requests

pytestmark = pytest.mark.one_stack

# The messages of TensorFlow Serving 2.15.1. The package tensorflow-serving-api has neither of them.
# {name: (number, type)}: tensorflow_serving/servables/tensorflow/session_bundle_config.proto
BATCHING_PARAMETERS = {
    "max_batch_size": (1, "Int64Value"),
    "batch_timeout_micros": (2, "Int64Value"),
    "max_enqueued_batches": (3, "Int64Value"),
    "num_batch_threads": (4, "Int64Value"),
    "thread_pool_name": (5, "StringValue"),
    "allowed_batch_sizes": (6, "repeated int64"),
    "pad_variable_length_inputs": (7, "bool"),
    "enable_large_batch_splitting": (8, "BoolValue"),
    "max_execution_batch_size": (9, "Int64Value"),
}
# tensorflow_serving/config/monitoring_config.proto
PROMETHEUS_CONFIG = {"enable": (1, "bool"), "path": (2, "string")}
MONITORING_CONFIG = {"prometheus_config": (1, "PrometheusConfig")}


@pytest.fixture(scope="module")
def messages():
    """{name: class} of the messages above."""
    file = descriptor_pb2.FileDescriptorProto(name="published.proto", package="tensorflow.serving", syntax="proto3")
    file.dependency.append("google/protobuf/wrappers.proto")
    published = {
        "BatchingParameters": BATCHING_PARAMETERS,
        "PrometheusConfig": PROMETHEUS_CONFIG,
        "MonitoringConfig": MONITORING_CONFIG,
    }
    for name, fields in published.items():
        message = file.message_type.add(name=name)
        for field_name, (number, kind) in fields.items():
            field = message.field.add(name=field_name, number=number)
            field.label = field.LABEL_REPEATED if kind.startswith("repeated ") else field.LABEL_OPTIONAL
            kind = kind.replace("repeated ", "")
            if kind.islower() or kind == "int64":
                field.type = getattr(field, f"TYPE_{kind.upper()}")
            else:
                package = "google.protobuf" if kind.endswith("Value") else "tensorflow.serving"
                field.type, field.type_name = field.TYPE_MESSAGE, f".{package}.{kind}"
    pool = descriptor_pool.DescriptorPool()
    pool.AddSerializedFile(wrappers_pb2.DESCRIPTOR.serialized_pb)
    pool.Add(file)
    classes = message_factory.GetMessages([file], pool=pool)
    return {name.rpartition(".")[2]: message for name, message in classes.items()}


def test_batching_parameters(messages, tmp_path):
    tf_serving.write(tmp_path, (1, 3, 5))
    text = (tmp_path / "batching_params.pbtxt").read_text()
    parameters = text_format.Parse(text, messages["BatchingParameters"]())
    assert list(parameters.allowed_batch_sizes) == [1, 3, 5]
    assert parameters.max_batch_size.value == 5
    assert parameters.num_batch_threads.value == 2
    assert parameters.max_enqueued_batches.value == 8
    assert not parameters.pad_variable_length_inputs
    assert not parameters.HasField("enable_large_batch_splitting")  # which would want max_execution_batch_size


def test_no_request_waits_for_others(messages, tmp_path):
    tf_serving.write(tmp_path)
    parameters = text_format.Parse((tmp_path / "batching_params.pbtxt").read_text(), messages["BatchingParameters"]())
    assert parameters.HasField("batch_timeout_micros") and parameters.batch_timeout_micros.value == 0
    assert tuple(parameters.allowed_batch_sizes) == tf_serving.BATCH_SIZES


def test_monitoring(messages, tmp_path):
    tf_serving.write(tmp_path)
    text = (tmp_path / "assets.extra" / "monitoring_config.txt").read_text()
    config = text_format.Parse(text, messages["MonitoringConfig"]())
    assert config.prometheus_config.enable
    assert config.prometheus_config.path == "/monitoring/prometheus/metrics"


def test_the_messages_refuse_what_they_do_not_have(messages):
    with pytest.raises(text_format.ParseError, match="no field named"):
        text_format.Parse("max_batch { value: 1 }", messages["BatchingParameters"]())
    with pytest.raises(text_format.ParseError):
        text_format.Parse("max_batch_size: 1", messages["BatchingParameters"]())


@pytest.mark.parametrize("batch_sizes", [(), (0, 1), (2, 1), (1, 1)])
def test_sizes_that_the_server_would_refuse(batch_sizes, tmp_path):
    with pytest.raises(ValueError, match="batch_sizes is"):
        tf_serving.write(tmp_path, batch_sizes)
    assert not list(tmp_path.iterdir())


@pytest.fixture(scope="module")
def server(tiny_export):
    return server_stub.Server(tiny_export)


@pytest.fixture(scope="module")
def url(server):
    with server_stub.running(server, "tiny") as url:
        yield url


def test_the_server_answers_the_warm_up(tiny_export, messages, server):
    written = (tiny_export / "batching_params.pbtxt").read_text()
    parameters = text_format.Parse(written, messages["BatchingParameters"]())
    replayed = warmup_requests.read(tiny_export)
    assert {request.model_spec.name for request in replayed} == {"tiny"}
    sizes, boxes = [], {}
    for request in replayed:
        encoded = tf.make_ndarray(request.inputs["image_bytes"]).tolist()
        outputs = {name: tf.make_ndarray(tensor) for name, tensor in server.predict(request).outputs.items()}
        assert {len(value) for value in outputs.values()} == {len(encoded)}
        assert (outputs["num_detections"] > 0).all()
        sizes.append(len(encoded))
        for image, found in zip(encoded, outputs["detection_boxes"]):
            # Whatever the batch, the same image gives the same.
            np.testing.assert_allclose(found, boxes.setdefault(image, found), atol=1e-3)
    assert sizes == list(parameters.allowed_batch_sizes) == [1, 2, 4]
    assert len(boxes) == len(warmup.RATIOS)


def test_every_signature_over_rest(url):
    picture = warmup.pictures((160, 96), 1 << 20)[0]
    (first,) = requests.ask(url, requests.rest_body(*requests.detection_inputs([picture])))
    found = requests.answer(first)
    assert found["status"] == "ok" and len(found["detections"]) == first["num_detections"] > 3
    assert list(found["detections"][0]) == ["class", "class_index", "score", "box", "edge_stddev"]
    names = ("circle", "square", "star")
    assert all(item["class"] == names[item["class_index"]] for item in found["detections"])

    pixels = tf.io.decode_jpeg(picture, dct_method="INTEGER_ACCURATE").numpy()  # as the model decodes
    (of_pixels,) = requests.ask(url, requests.rest_body({"image_tensor": pixels[np.newaxis]}, "image_tensor"))
    assert "status" not in of_pixels and of_pixels["num_detections"] == first["num_detections"]
    for name in ("detection_boxes", "detection_scores", "detection_edge_stddev"):
        np.testing.assert_allclose(of_pixels[name], first[name], rtol=1e-5, atol=1e-4)

    threshold = first["detection_scores"][2]
    inputs, name = requests.detection_inputs([picture] * 2, threshold, 9)
    inputs["max_detections"][1] = 1
    of_options = [requests.answer(item) for item in requests.ask(url, requests.rest_body(inputs, name))]
    assert [len(item["detections"]) for item in of_options] == [2, 1]


def test_an_image_that_cannot_be_read_over_rest(url):
    with pytest.raises(requests.RefusedError, match=r"(?s)status 400.*image_bytes\[1\]"):
        picture = warmup.pictures((160, 96), 1 << 20)[0]
        requests.ask(url, requests.rest_body({"image_bytes": [picture, b"not an image"]}))
