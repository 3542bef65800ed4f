"""Requests to an exported model in TensorFlow Serving, and its answers: over REST and over gRPC.

An example of a client. `ask` sends REST requests with Python's own urllib; for gRPC see `predict_request`.
"""

import base64
import json
import pathlib
import urllib.error
import urllib.request

import numpy as np
import tensorflow as tf
from tensorflow_serving.apis import predict_pb2

from gfl_tf import detections


class RefusedError(ValueError):
    """The server's answer to a request is an error."""


def detection_inputs(images, score_threshold=None, max_detections=None):
    """The inputs, and the name of the signature that takes them.

    Args:
        images: list of bytes, encoded images.
        score_threshold, max_detections: for all of the images; both, or neither for the export's own.

    Returns:
        (dict of inputs with the batch first, signature name) for `rest_body` and `predict_request`.

    Raises:
        ValueError: one of the two options without the other: the signature has no optional inputs.
    """
    if (score_threshold is None) != (max_detections is None):
        raise ValueError("score_threshold and max_detections belong together: give both or neither")
    images = list(images)
    if score_threshold is None:
        return {"image_bytes": images}, "serving_default"
    options = {
        "score_threshold": np.full(len(images), score_threshold, np.float32),
        "max_detections": np.full(len(images), max_detections, np.int32),
    }
    return {"image_bytes": images, **options}, "image_bytes_with_options"


def rest_body(inputs, signature_name="serving_default"):
    """The body of a REST request, in the row format: one object of "instances" per item of the batch.

    Args:
        inputs: {name: array, or list of bytes}, all with the batch first. Bytes become {"b64": ...}.
        signature_name: a signature of the export.

    Returns:
        bytes, JSON.
    """
    columns = [[_json_value(item) for item in values] for values in inputs.values()]
    instances = [dict(zip(inputs, row)) for row in zip(*columns)]
    return json.dumps({"signature_name": signature_name, "instances": instances}).encode()


def _json_value(item):
    if isinstance(item, bytes):
        return {"b64": base64.b64encode(item).decode("ascii")}
    return np.asarray(item).tolist()


def ask(url, body, timeout=60.0):
    """Sends a REST request.

    Args:
        url: "http://HOST:8501/v1/models/NAME", with "/versions/N" for other than the newest.
        body: bytes of `rest_body`.
        timeout: seconds.

    Returns:
        The answer's "predictions": a dict of outputs per item of the batch.

    Raises:
        RefusedError: the server refused the request; has its message.
        OSError: there is no server, or it did not answer in time.
        ValueError: the URL has no scheme.
    """
    url = url.rstrip("/")
    if not url.startswith(("http://", "https://")):
        raise ValueError(f"{url} is no URL of a model; give http://HOST:PORT/v1/models/NAME")
    request = urllib.request.Request(f"{url}:predict", body, {"Content-Type": "application/json"})
    try:
        with urllib.request.urlopen(request, timeout=timeout) as response:
            return json.load(response)["predictions"]
    except urllib.error.HTTPError as error:
        text = error.read().decode("utf-8", "replace")
        try:
            text = json.loads(text)["error"]
        except (ValueError, KeyError, TypeError):
            pass  # not TensorFlow Serving's own error: a proxy's page
        raise RefusedError(f"the server answered with status {error.code}: {text}") from error
    except OSError as error:
        raise OSError(f"{url} does not answer: {getattr(error, 'reason', error)}") from error


def ask_for_files(url, paths, score_threshold=None, max_detections=None, timeout=60.0):
    """Asks for the detections in image files, one request each: the server merges requests as it is set up to.

    Args:
        url, timeout: see `ask`.
        paths: image files.
        score_threshold, max_detections: see `detection_inputs`.

    Yields:
        {"file": path, and what `answer` returns} per file; where the server refuses one, that is its "status".

    Raises:
        ValueError, OSError: see `detection_inputs` and `ask`; a file cannot be read.
    """
    for path in paths:
        inputs, signature_name = detection_inputs([pathlib.Path(path).read_bytes()], score_threshold, max_detections)
        try:
            (prediction,) = ask(url, rest_body(inputs, signature_name), timeout)
            answered = answer(prediction)
        except RefusedError as error:
            answered = {"status": str(error), "detections": []}
        yield {"file": str(path), **answered}


def predict_request(model_name, inputs, signature_name="serving_default"):
    """A gRPC request; `tensorflow_serving.apis.prediction_service_pb2_grpc.PredictionServiceStub.Predict` takes it.

    Args:
        model_name: the server's name of the model.
        inputs, signature_name: as in `rest_body`.

    Returns:
        `PredictRequest`.
    """
    request = predict_pb2.PredictRequest()
    request.model_spec.name = model_name
    request.model_spec.signature_name = signature_name
    for name, value in inputs.items():
        request.inputs[name].CopyFrom(tf.make_tensor_proto(value))
    return request


def predictions(response):
    """`ask`'s answer from the `PredictResponse` of a gRPC request."""
    columns = {name: tf.make_ndarray(tensor) for name, tensor in response.outputs.items()}
    rows = [dict(zip(columns, row)) for row in zip(*columns.values())]
    return [{name: _python_value(value) for name, value in row.items()} for row in rows]


def _python_value(value):
    value = np.asarray(value).tolist()
    if isinstance(value, bytes):
        return value.decode()
    return [_python_value(item) for item in value] if isinstance(value, list) else value


def answer(prediction):
    """The outputs of one image, without padding.

    Args:
        prediction: dict of one item of `ask`'s answer.

    Returns:
        {"status": "ok" or why there are no detections, "detections": those of `gfl_tf.detections.to_json`, best first,
        in pixels of the image}.
    """
    rows = detections.to_json(detections.from_served(prediction))
    return {"status": prediction.get("status", "ok"), "detections": rows}
