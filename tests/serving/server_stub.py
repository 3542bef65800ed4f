"""A stand-in for TensorFlow Serving: what its documentation says of REST and gRPC, over TensorFlow's own session.

https://www.tensorflow.org/tfx/serving/api_rest has the JSON mapping; where it is silent, the server's source of version
2.15.1 decided (util/json_tensor.cc, servables/tensorflow/predict_util.cc).
"""

import base64
import contextlib
import http.server
import json
import threading

import numpy as np
import tensorflow as tf
from tensorflow_serving.apis import predict_pb2


class Server:
    """Answers requests with a SavedModel, loaded as a C++ server loads it."""

    def __init__(self, version_dir):
        graph = tf.Graph()
        self._session = tf.compat.v1.Session(graph=graph)
        with graph.as_default():
            meta_graph = tf.compat.v1.saved_model.load(self._session, ["serve"], str(version_dir))
        self.signatures = meta_graph.signature_def

    def predict(self, request):
        """`PredictRequest` -> `PredictResponse`."""
        signature = self.signatures[request.model_spec.signature_name or "serving_default"]
        if set(request.inputs) != set(signature.inputs):
            raise ValueError(f"input size does not match signature: {sorted(request.inputs)}")
        feeds = {signature.inputs[name].name: tf.make_ndarray(tensor) for name, tensor in request.inputs.items()}
        outputs = self._session.run({name: info.name for name, info in signature.outputs.items()}, feeds)
        response = predict_pb2.PredictResponse()
        for name, value in outputs.items():
            response.outputs[name].CopyFrom(_as_proto_fields(value))
        return response

    def request_from_json(self, body):
        """(`PredictRequest`, whether in row format) of a REST body."""
        content = json.loads(body)
        request = predict_pb2.PredictRequest()
        request.model_spec.signature_name = content.get("signature_name", "serving_default")
        infos = self.signatures[request.model_spec.signature_name].inputs
        in_rows = "instances" in content
        if in_rows == ("inputs" in content):
            raise ValueError("expecting one of 'inputs' or 'instances'")
        columns = _columns_of_rows(content["instances"], infos) if in_rows else content["inputs"]
        if not isinstance(columns, dict) or _is_binary(columns):
            columns = dict(zip(infos, [columns]))
        if set(columns) != set(infos):
            raise ValueError(f"keys must be equal to: {','.join(infos)}")
        for name, value in columns.items():
            dtype = tf.as_dtype(infos[name].dtype)
            value = np.array(_decoded(value), object if dtype == tf.string else dtype.as_numpy_dtype)
            request.inputs[name].CopyFrom(tf.make_tensor_proto(value, dtype))
        return request, in_rows

    def answer(self, body):
        """REST body -> body of the answer."""
        request, in_rows = self.request_from_json(body)
        columns = {name: _to_json(name, tensor) for name, tensor in self.predict(request).outputs.items()}
        if not in_rows:
            return json.dumps({"outputs": columns})
        return json.dumps({"predictions": [dict(zip(columns, row)) for row in zip(*columns.values())]})


def _columns_of_rows(rows, infos):
    named = isinstance(rows[0], dict) and not _is_binary(rows[0])
    rows = rows if named else [{name: row for name in infos} for row in rows]
    if any(row.keys() != infos.keys() for row in rows):
        raise ValueError(f"keys must be equal to: {','.join(infos)}")
    return {name: [row[name] for row in rows] for name in infos}


def _is_binary(value):
    return isinstance(value, dict) and list(value) == ["b64"]


def _decoded(value):
    if isinstance(value, list):
        return [_decoded(item) for item in value]
    return base64.b64decode(value["b64"], validate=True) if _is_binary(value) else value


def _as_proto_fields(value):
    """A TensorProto whose values stand in the fields of their type, as the server's answers have them."""
    proto = tf.make_tensor_proto(value)
    if proto.tensor_content:
        proto.ClearField("tensor_content")
        {"f": proto.float_val, "i": proto.int_val}[value.dtype.kind].extend(value.ravel().tolist())
    return proto


def _to_json(name, tensor):
    value = tf.make_ndarray(tensor)
    if tensor.dtype != tf.string.as_datatype_enum:
        return value.tolist()

    def text(item):
        if isinstance(item, list):
            return [text(part) for part in item]
        return {"b64": base64.b64encode(item).decode()} if name.endswith("_bytes") else item.decode("utf-8")

    return text(value.tolist())


@contextlib.contextmanager
def running(server, model_name):
    """The URL at which `server` answers REST requests in the meantime."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self):
            body = self.rfile.read(int(self.headers["Content-Length"]))
            status = 200
            try:
                if self.path != f"/v1/models/{model_name}:predict":
                    status, text = 404, json.dumps({"error": f"Malformed request: POST {self.path}"})
                else:
                    text = server.answer(body)
            except (KeyError, ValueError, tf.errors.OpError) as error:
                status, text = 400, json.dumps({"error": str(error)})
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.end_headers()
            self.wfile.write(text.encode())

        def log_message(self, *_):
            pass

    with http.server.ThreadingHTTPServer(("localhost", 0), Handler) as listener:
        thread = threading.Thread(target=listener.serve_forever)
        thread.start()
        try:
            yield f"http://localhost:{listener.server_port}/v1/models/{model_name}"
        finally:
            listener.shutdown()
            thread.join()
