"""Requests to an exported model in TensorFlow Serving, and its answers: over REST and over gRPC.

An example of a client. `ask` sends REST requests with Python's own urllib; for gRPC see `predict_request`.
"""

import base64
import collections.abc
import http.client
import json
import os
import pathlib
import re
import ssl
import typing
import urllib.error
import urllib.parse
import urllib.request

import numpy as np
import tensorflow as tf
from tensorflow_serving.apis import predict_pb2

from gfl_tf import detections

WANTED_URL = "http://HOST:PORT/v1/models/NAME, with the port of TensorFlow Serving's REST API (8501 by default)"
# Of a server that is busy or starting, or of a proxy before it: what they say of one request, not of the URL.
PASSING = {408, 413, 429, 500, 502, 503, 504}


class RefusedError(ValueError):
    """The server's answer to a request is an error."""


def detection_inputs(
    images: collections.abc.Iterable[bytes], score_threshold: float | None = None, max_detections: int | None = None
) -> tuple[dict[str, typing.Any], str]:
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


def rest_body(inputs: dict[str, typing.Any], signature_name: str = "serving_default") -> bytes:
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


def ask(url: str, body: bytes, timeout: float = 60.0) -> list[dict[str, typing.Any]]:
    """Sends a REST request.

    Args:
        url: "http://HOST:8501/v1/models/NAME", with "/versions/N" for other than the newest.
        body: bytes of `rest_body`.
        timeout: seconds.

    Returns:
        The answer's "predictions": a dict of outputs per item of the batch.

    Raises:
        RefusedError: the server refused the request; has its message.
        OSError: there is no server, it did not answer in time, or its answer was cut off.
        ValueError: the URL cannot be one, the server has no such model, or what answers is no TensorFlow Serving.
    """
    url = _model_url(url)
    request = urllib.request.Request(f"{url}:predict", body, {"Content-Type": "application/json"})
    status, content = _send(request, url, timeout)
    value = _from_json(content)
    if status == 200 and isinstance(value.get("predictions"), list):
        return value["predictions"]
    error = value.get("error")
    if status != 200 and isinstance(error, str):
        if status == 404 or error.startswith("Malformed request"):
            raise ValueError(
                f"the server has no model at {url} (status {status}: {_brief(error)}); check the model's name"
            )
        raise RefusedError(f"the server answered with status {status}: {_brief(error)}")
    if status == 200 and not value and content.lstrip().startswith(b"{"):
        raise _cut_off(url, len(content))
    if status in PASSING:
        raise RefusedError(f"the server, or a proxy before it, answered with status {status} and {_kind(content)}")
    raise ValueError(
        f"{url} answers with status {status} and {_kind(content)}, as TensorFlow Serving does not; give {WANTED_URL}"
    )


def _model_url(url):
    """The URL without what may follow it. Raises ValueError where it cannot be one."""
    url = url.strip().removesuffix(":predict").rstrip("/")
    try:
        parts = urllib.parse.urlsplit(url)
        parts.port  # which it reads only now
        (parts.hostname or "").encode("idna")
    except ValueError as error:
        raise ValueError(f"{_brief(url)} is no URL of a model ({_brief(error)}); give {WANTED_URL}") from error
    if parts.scheme not in ("http", "https") or not parts.hostname or not parts.path:
        raise ValueError(f"{_brief(url)} is no URL of a model; give {WANTED_URL}")
    if re.search(r"[\0- \x7f]", url) or not parts.path.isascii():
        quoted = parts._replace(path=urllib.parse.quote(parts.path, safe="/%:@")).geturl()
        raise ValueError(f"{_brief(url)} is no URL: it has spaces or letters that must be quoted, as in {quoted}")
    return url


def _send(request, url, timeout):
    """(status, content) of the answer; `url` for messages."""
    try:
        try:
            with urllib.request.urlopen(request, timeout=timeout) as answer:
                return answer.status, answer.read()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read()
    except http.client.IncompleteRead as error:
        raise _cut_off(url, len(error.partial)) from error
    except OSError as error:
        reason = getattr(error, "reason", error)
        hint = "; does it speak https? Try http://" if isinstance(reason, ssl.SSLError) else ""
        hint = f"; give {WANTED_URL}" if isinstance(reason, http.client.RemoteDisconnected) else hint
        raise OSError(f"{url} does not answer: {_brief(reason)}{hint}") from error
    except http.client.HTTPException as error:
        raise ValueError(f"{url} does not speak HTTP/1. Is it the port of gRPC? Give {WANTED_URL}") from error


def _from_json(content):
    """The object in JSON; an empty one where it is something else."""
    try:
        value = json.loads(content)
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}


def _kind(content):
    """What an answer is that was not expected."""
    text = content.decode("utf-8", "replace").strip()
    if text.startswith("<"):
        title = re.search(r"<title[^>]*>(.*?)</title>", text, re.DOTALL | re.IGNORECASE)
        return f"a web page, {_brief(title[1])!r}" if title else "a web page"
    return f"the text {_brief(text, 60)!r}" if text else "no text"


def _cut_off(url, length):
    return OSError(
        f"{url}: the answer was cut off or damaged, at {length} bytes; look into the server's log, or a proxy's"
    )


def _brief(text, length=300):
    """In one line."""
    text = " ".join(str(text).split())
    return text if len(text) <= length else f"{text[:length]}..."


def ask_for_files(
    url: str,
    paths: collections.abc.Iterable[str | os.PathLike],
    score_threshold: float | None = None,
    max_detections: int | None = None,
    timeout: float = 60.0,
) -> collections.abc.Iterator[dict[str, typing.Any]]:
    """Asks for the detections in image files, one request each: the server merges requests as it is set up to.

    Args:
        url, timeout: see `ask`.
        paths: image files.
        score_threshold, max_detections: see `detection_inputs`.

    Yields:
        {"file": path, and what `answer` returns} per file; where the server refuses one, that is its "status".

    Raises:
        ValueError, OSError: see `detection_inputs` and `ask`; a file cannot be read; the model is another one than
            gfl_tf exports.
    """
    checked = False
    for path in paths:
        inputs, signature_name = detection_inputs([pathlib.Path(path).read_bytes()], score_threshold, max_detections)
        try:
            answers = ask(url, rest_body(inputs, signature_name), timeout)
            answered = answer(answers[0] if len(answers) == 1 else answers)
        except RefusedError as error:
            if not checked:  # whether it is the image's fault
                _check_signature(_model_url(url), inputs, signature_name, timeout)
                checked = True
            answered = {"status": str(error), "detections": []}
        yield {"file": str(path), **answered}


def _check_signature(url, inputs, signature_name, timeout):
    """Raises ValueError where the server says of the model that it takes other inputs than those of gfl_tf's."""
    try:
        _, content = _send(urllib.request.Request(f"{url}/metadata"), url, timeout)
        signatures = _from_json(content)["metadata"]["signature_def"]["signature_def"]
        taken = {name: sorted(signature["inputs"]) for name, signature in signatures.items()}
    except (OSError, ValueError, LookupError, TypeError, AttributeError):
        return  # it does not tell
    if taken.get(signature_name) != sorted(inputs):
        has = "; ".join(f"{name}({', '.join(names)})" for name, names in sorted(taken.items()))
        raise ValueError(
            f"{url} is not an export of gfl_tf, or not of this version: it has no signature "
            f"{signature_name}({', '.join(inputs)}), but {_brief(has)}. Check the model's name"
        )


def predict_request(
    model_name: str, inputs: dict[str, typing.Any], signature_name: str = "serving_default"
) -> predict_pb2.PredictRequest:
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


def predictions(response: predict_pb2.PredictResponse) -> list[dict[str, typing.Any]]:
    """`ask`'s answer from the `PredictResponse` of a gRPC request."""
    columns = {name: tf.make_ndarray(tensor) for name, tensor in response.outputs.items()}
    rows = [dict(zip(columns, row)) for row in zip(*columns.values())]
    return [{name: _python_value(value) for name, value in row.items()} for row in rows]


def _python_value(value):
    value = np.asarray(value).tolist()
    if isinstance(value, bytes):
        return value.decode()
    return [_python_value(item) for item in value] if isinstance(value, list) else value


def answer(prediction: dict[str, typing.Any]) -> dict[str, typing.Any]:
    """The outputs of one image, without padding.

    Args:
        prediction: dict of one item of `ask`'s answer.

    Returns:
        {"status": "ok" or why there are no detections, "detections": those of `gfl_tf.detections.to_json`, best first,
        in pixels of the image}.

    Raises:
        ValueError: it is something else than an export of gfl_tf gives.
    """
    if not isinstance(prediction, dict) or not {"num_detections", "detection_scores"} <= prediction.keys():
        outputs = ", ".join(prediction) if isinstance(prediction, dict) else json.dumps(prediction)
        raise ValueError(
            f"the model is not an export of gfl_tf: it gives {_brief(outputs, 60)}, not num_detections and the like. "
            "Check the model's name"
        )
    rows = detections.to_json(detections.from_served(prediction))
    return {"status": prediction.get("status", "ok"), "detections": rows}
