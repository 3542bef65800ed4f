"""What a client is told where no export of gfl_tf answers: each a line that says what it is and what to do."""

import contextlib
import json
import os
import socket
import subprocess
import sys
import threading
from concurrent import futures
from pathlib import Path

import grpc
import numpy as np
import pytest
import tensorflow as tf

from gfl_tf.serving import requests

pytestmark = pytest.mark.one_stack

ROOT = Path(__file__).resolve().parents[2]
GIVE = "[Gg]ive http://HOST:PORT/v1/models/NAME, with the port of TensorFlow Serving's REST API"
PAGE = b"<!DOCTYPE html>\n<html><head>\n<title>Some\nproxy</title></head>\n<body>lots\nof\nlines</body></html>"
SERVING = {"inputs": {"image_bytes": {"dtype": "DT_STRING"}}, "outputs": {}}
CLASSIFIER = {"inputs": {"pixels": {"dtype": "DT_FLOAT"}}, "outputs": {}}


@pytest.fixture
def image(tmp_path):
    (tmp_path / "a.png").write_bytes(tf.io.encode_png(np.zeros((4, 4, 3), np.uint8)).numpy())
    return tmp_path / "a.png"


def http(status, body, missing=0):
    """An answer; `missing`: bytes that its header promises and that do not come."""
    body = body if isinstance(body, bytes) else json.dumps(body).encode()
    return f"HTTP/1.1 {status} X\r\nContent-Length: {len(body) + missing}\r\nConnection: close\r\n\r\n".encode() + body


@contextlib.contextmanager
def answering(post, get=http(404, PAGE)):
    """URL of a model at a server that sends these bytes, whatever it is asked."""
    with socket.create_server(("localhost", 0)) as listener:
        thread = threading.Thread(target=_answer, args=(listener, post, get))
        thread.start()
        port = listener.getsockname()[1]
        try:
            yield f"http://localhost:{port}/v1/models/cells"
        finally:
            with socket.create_connection(("localhost", port)) as last:
                last.sendall(b"END\r\n\r\n")
            thread.join()


def _answer(listener, post, get):
    while True:
        connection, _ = listener.accept()
        with connection, connection.makefile("rb") as stream:
            if connection.recv(1, socket.MSG_PEEK) == b"\x16":  # the first of TLS, which this server does not speak
                connection.sendall(post)
                continue
            lines = list(iter(lambda: stream.readline().strip().lower(), b""))
            if lines[0] == b"end":
                return
            length = [int(line.split(b":")[1]) for line in lines if line.startswith(b"content-length:")]
            stream.read(*length or [0])
            connection.sendall(get if lines[0].startswith(b"get") else post)


def ask(url, *images):
    return list(requests.ask_for_files(url, images, timeout=20))


@pytest.mark.parametrize(
    "answer, message",
    [
        (http(200, PAGE), rf"answers with status 200 and a web page, 'Some proxy', as .* does not; {GIVE}"),
        (http(404, PAGE), rf"answers with status 404 and a web page, 'Some proxy', as .* does not; {GIVE}"),
        (http(405, b"<html>"), rf"answers with status 405 and a web page, as .* does not; {GIVE}"),
        (http(501, b"no\nPOST"), rf"answers with status 501 and the text 'no POST', as .* does not; {GIVE}"),
        (http(200, b""), rf"answers with status 200 and no text, as .* does not; {GIVE}"),
        (http(200, {"hello": 1}), rf"""status 200 and the text '{{"hello": 1}}', as .* does not; {GIVE}"""),
        (http(200, [1]), rf"status 200 and the text '\[1\]', as .* does not; {GIVE}"),
        (http(200, b'{"predictions": [', missing=9), "the answer was cut off or damaged, at 17 bytes; look into the"),
        (http(200, b'{"predictions": ['), "the answer was cut off or damaged, at 17 bytes; look into the server's log"),
        (http(200, {"predictions": [[0.25, 0.75]]}), r"not an export of gfl_tf: it gives \[0.25, 0.75\], not num_"),
        (http(200, {"predictions": [{"logits": [1]}]}), "not an export of gfl_tf: it gives logits, not num_detections"),
        (http(200, {"predictions": [1, 2]}), r"not an export of gfl_tf: it gives \[1, 2\], not num_detections"),
        (
            http(404, {"error": "Servable not found for request: Latest(cells)"}),
            r"no model at \S+/cells \(status 404: Servable not found for .*\); check the model's name",
        ),
        (http(400, {"error": "Malformed request: POST /v1"}), "no model at .*status 400: Malformed request: POST /v1"),
        (b"SSH-2.0-OpenSSH_9.6\r\n", f"does not speak HTTP/1. Is it the port of gRPC. {GIVE}"),
        (b"", f"does not answer: Remote end closed connection without response; {GIVE}"),
    ],
)
def test_something_else_answers(answer, message, image):
    with answering(answer) as url, pytest.raises((OSError, ValueError), match=message) as raised:
        ask(url, image, image)
    assert "\n" not in str(raised.value) and not isinstance(raised.value, requests.RefusedError)


def test_the_port_of_grpc(image):
    server = grpc.server(futures.ThreadPoolExecutor(1))
    port = server.add_insecure_port("localhost:0")
    server.start()
    try:
        with pytest.raises(ValueError, match=f"does not speak HTTP/1. Is it the port of gRPC. {GIVE}"):
            ask(f"http://localhost:{port}/v1/models/cells", image)
    finally:
        server.stop(None).wait()


def test_https_where_it_is_http(image):
    with answering(b"HTTP/1.1 400 X\r\n\r\n") as url:
        with pytest.raises(OSError, match="does not answer: .*SSL.*; does it speak https. Try http://"):
            ask(url.replace("http:", "https:"), image)


@pytest.mark.parametrize("status", [413, 429, 500, 502, 503, 504])
def test_what_passes_is_the_status_of_an_image(status, image):
    with answering(http(status, PAGE)) as url:
        answers = ask(url, image, image)
    text = f"the server, or a proxy before it, answered with status {status} and a web page, 'Some proxy'"
    assert [answer["status"] for answer in answers] == [text] * 2


def metadata(**signatures):
    return http(200, {"model_spec": {}, "metadata": {"signature_def": {"signature_def": signatures}}})


def test_another_model(image):
    """It refuses each image; its metadata tell that images are not to blame."""
    refusal = http(400, {"error": 'JSON Value: {\n  "b64": "..."\n} Type: Object is not of expected type: float'})
    with answering(refusal, metadata(serving_default=CLASSIFIER)) as url:
        message = (
            r"cells is not an export of gfl_tf.* no signature serving_default\(image_bytes\), but serving_default\(pix"
        )
        with pytest.raises(ValueError, match=message):
            ask(url, image)
    with answering(refusal, metadata(serving_default=SERVING)) as url:
        (answer,) = ask(url, image)
        assert answer["status"].startswith('the server answered with status 400: JSON Value: { "b64"')
        with pytest.raises(
            ValueError, match=r"no signature image_bytes_with_options\(.*, but serving_default\(image_bytes"
        ):
            list(requests.ask_for_files(url, [image], 0.5, 10))
    for get in (http(404, PAGE), http(200, PAGE), http(200, {"metadata": [1]}), b"", http(200, b"{", missing=5)):
        with answering(refusal, get) as url:
            assert ask(url, image)[0]["status"].startswith("the server answered with status 400")


@pytest.mark.parametrize(
    "url, message",
    [
        ("http://localhost:abc/v1/models/cells", rf"cells is no URL of a model \(.*'abc'.*\); {GIVE}"),
        ("http://localhost:99999/v1/models/cells", rf"is no URL of a model \(Port out of range.*\); {GIVE}"),
        ("http://[::1/v1/models/cells", rf"is no URL of a model \(Invalid IPv6 URL\); {GIVE}"),
        (f"http://{'a' * 70}.de/v1/models/cells", rf"is no URL of a model \(.*too long.*\); {GIVE}"),
        ("http://a..b/v1/models/cells", rf"is no URL of a model \(.*label empty.*\); {GIVE}"),
        ("http://", f"is no URL of a model; {GIVE}"),
        ("", f"is no URL of a model; {GIVE}"),
        ("ftp://localhost/v1/models/cells", f"is no URL of a model; {GIVE}"),
        ("http://localhost:8501", f"localhost:8501 is no URL of a model; {GIVE}"),
        ("http://localhost/v1/my models/cells", "quoted, as in http://localhost/v1/my%20models/cells$"),
        ("http://localhost/v1/models/zelle\nb", "models/zelle b is no URL: it has spaces"),
        ("http://localhost/v1/models/käse", "quoted, as in http://localhost/v1/models/k%C3%A4se$"),
    ],
)
def test_impossible_urls(url, message, image):
    with pytest.raises(ValueError, match=message) as raised:
        ask(url, image)
    assert "\n" not in str(raised.value)


def test_command_line(image):
    with answering(http(200, PAGE)) as url:
        command = [sys.executable, str(ROOT / "bin" / "query_server"), f"--url={url}", f"--images={image}"]
        done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, "PYTHONPATH": str(ROOT)})
    assert done.returncode == 1 and not done.stdout and "Traceback" not in done.stderr
    assert done.stderr.splitlines()[-1].startswith(f"query_server: {url} answers with status 200 and a web page")
