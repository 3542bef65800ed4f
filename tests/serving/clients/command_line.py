"""What the client programs have in common: requests to SavedModels in, JSON out.

    python CLIENT.py REQUESTS.json

REQUESTS.json is {path of a SavedModel: [request, ...]}, requests as TensorFlow Serving's REST interface takes them:
    {"signature_name": "serving_default", "instances": [{"image_bytes": {"b64": "..."}}, ...]}
The last printed line is {path: [answer, ...]}, an answer being {"outputs": {name: nested lists}} or {"error": message}.
"""

import base64
import importlib.util
import json
import sys

import numpy as np


def decoded(value):
    """Numbers as they are, bytes from their Base64."""
    return base64.b64decode(value["b64"]) if isinstance(value, dict) else value


def listed(value):
    """An array as nested lists for JSON, its bytes as text."""
    value = np.asarray(value)
    if value.dtype == object:
        return np.vectorize(bytes.decode, otypes=[object])(value).tolist()
    return value.tolist()


def answers_of(answer, requests):
    answers = []
    for request in requests:
        instances = request["instances"]
        inputs = {name: [decoded(instance[name]) for instance in instances] for name in instances[0]}
        try:
            outputs = answer(request["signature_name"], inputs)
            answers.append({"outputs": {name: listed(value) for name, value in outputs.items()}})
        except Exception as error:
            answers.append({"error": str(error)})
    return answers


def main(open_model):
    """Prints the answers; open_model(path) returns answer(signature_name, inputs) -> {name: array}, which may raise."""
    for name in ("gfl_tf", "keras_cv", "tensorflow_addons"):
        assert importlib.util.find_spec(name) is None, f"{name} is here: this Python is none of others"
    with open(sys.argv[1]) as file:
        requests = json.load(file)
    answers = {path: answers_of(open_model(path), requests[path]) for path in requests}
    print(json.dumps(answers))
