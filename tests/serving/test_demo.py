"""The demo's answers, what it refuses, and what it lets nobody do."""

import base64
import hashlib
import io
import json
import re
import types

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image
from werkzeug.test import Client

from gfl_tf.serving import assets, demo, demo_model, requests
from tests.serving import test_runners

pytestmark = pytest.mark.one_stack

PIXELS = np.random.default_rng(0).integers(0, 256, [60, 90, 3], np.uint8)


def encoded(kind, **options):
    content = io.BytesIO()
    Image.fromarray(PIXELS).save(content, kind, **options)
    return content.getvalue()


def exif(orientation):
    data = Image.Exif()
    data[0x0112] = orientation
    return data


@pytest.fixture(scope="module")
def client(tiny_export):
    return Client(demo.Demo(demo_model.Export(tiny_export)))


@pytest.fixture(scope="module")
def loaded(tiny_export):
    return tf.saved_model.load(str(tiny_export))


@pytest.mark.parametrize("image", [encoded("PNG"), encoded("JPEG", exif=exif(6))], ids=["PNG", "turned JPEG"])
def test_answer_is_that_of_the_saved_model(client, loaded, image):
    outputs = loaded.signatures["serving_default"](tf.constant([image]))
    expected = requests.answer({name: value[0].numpy() for name, value in outputs.items() if name != "status"})
    answer = client.post("/detect", data=image).json
    assert answer["detections"] and answer["seconds"] > 0
    for found, wanted in zip(answer["detections"], expected["detections"], strict=True):
        assert found.keys() == wanted.keys() and found["class"] == wanted["class"]
        np.testing.assert_allclose(found["box"], wanted["box"], atol=0.02)
        np.testing.assert_allclose(found["edge_stddev"], wanted["edge_stddev"], atol=0.02)
    # As it is stored, not as it is to be shown.
    assert (answer["width"], answer["height"]) == (90, 60)
    assert answer["orientation"] == (6 if image.startswith(b"\xff\xd8") else 1)


def test_tensorflow_lite(tmp_path):
    """Decoding, resizing and class names are none of its model's."""
    test_runners.write_tflite(tmp_path)
    assets.write(tmp_path, ["one", "two", "three"], None, None, {"max_pixels": 120 * 200})
    export = demo_model.Export(tmp_path)
    assert export.knows_edges and not export.calibrated
    image = test_runners.picture(120, 200)
    answer = export.answer(tf.io.encode_png(image).numpy())
    assert [found["class"] for found in answer["detections"]] == ["three", "one"]
    np.testing.assert_allclose(answer["detections"][0]["box"], test_runners.BOX, atol=2.1)
    with pytest.raises(demo_model.UnreadableError, match="121 pixels .*, more than the 24000 that this model was"):
        export.answer(tf.io.encode_png(np.pad(image, [[0, 1], [0, 0], [0, 0]])).numpy())


@pytest.mark.parametrize(
    ["data", "message"],
    [
        (b"", "empty (0 bytes)"),
        (b"hello", "not a JPEG, PNG, BMP or GIF image (5 bytes)"),
        (encoded("JPEG")[:-200], "JPEG image of .* bytes cannot be decoded: it is truncated, corrupt"),
        (encoded("WEBP"), "WEBP image, which exported models do not read: convert it to JPEG, PNG, BMP, GIF"),
        (encoded("TIFF"), "TIFF image, which exported models do not read"),
        (b"GIF87a\xff\xff\xff\xff\0\0\0,\0\0\0\0\xff\xff\xff\xff\0" + bytes(99), "more than the 67108864 that"),
    ],
    ids=["empty", "text", "cut", "WebP", "TIFF", "large"],
)
def test_images_that_are_refused(client, data, message):
    answer = client.post("/detect", data=data, content_length=len(data))
    assert answer.status_code == 400 and re.search(
        message.replace("(", r"\(").replace(")", r"\)"), answer.json["error"]
    )
    assert "\n" not in answer.json["error"]


class StandIn(types.SimpleNamespace):
    """An export that finds the same in every image."""

    name, class_names, knows_edges, calibrated, levels = "cells/1", ["<cell>"], True, True, [0.5, 0.9]

    def answer(self, image):
        return {"detections": [], "width": 4, "height": 3, "orientation": 1, "seconds": 0.1}


@pytest.fixture(scope="module")
def stand_in():
    return Client(demo.Demo(StandIn(), ["Machine"]))


def test_page_may_use_itself_alone(stand_in):
    answer = stand_in.get("/")
    page = answer.get_data(as_text=True)
    policy = dict(part.split(" ", 1) for part in answer.headers["Content-Security-Policy"].split("; "))
    assert policy["default-src"] == "'none'" and policy["connect-src"] == "'self'"
    assert policy["frame-ancestors"] == "'none'" and "unsafe" not in str(policy) and "http" not in str(policy)
    for tag in ("style", "script"):
        (text,) = re.findall(f"<{tag}>(.*?)</{tag}>", page, re.DOTALL)
        assert policy[f"{tag}-src"] == f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert answer.headers["Cross-Origin-Resource-Policy"] == "same-origin"
    assert not re.findall(r'(?:src|href)="(?!data:)', page) and " style=" not in page and " on" + "click=" not in page
    assert "&lt;cell&gt;" in page and "<cell>" not in page
    head = stand_in.head("/")
    assert head.status_code == 200 and head.data == b""


@pytest.mark.parametrize(
    ["facts", "text"],
    [
        ({}, "is calibrated: a band reaches one calibrated standard deviation"),
        ({"calibrated": False, "levels": []}, "is not calibrated</span>: a band reaches one standard deviation"),
        ({"knows_edges": False, "calibrated": False, "levels": []}, "does not say how sure it is of its edges"),
    ],
)
def test_page_says_whether_edges_are_calibrated(facts, text):
    page = Client(demo.Demo(StandIn(**facts))).get("/").get_data(as_text=True)
    assert text in page
    assert ("50% interval of each edge" in page and "90% interval of all four edges" in page) == (not facts)
    assert ("<select" in page) == facts.get("knows_edges", True)


@pytest.mark.parametrize(
    ["method", "path", "status"],
    [
        ("GET", "/saved_model.pb", 404),
        ("GET", "/assets.extra/config.json", 404),
        ("GET", "/../../etc/passwd", 404),
        ("GET", "/%2e%2e/README.md", 404),
        ("POST", "/detect/", 404),
        ("GET", "/detect", 405),
        ("POST", "/", 405),
        ("OPTIONS", "/detect", 405),
        ("DELETE", "/", 405),
    ],
)
def test_nothing_else_is_served(stand_in, method, path, status):
    answer = stand_in.open(path, method=method)
    assert answer.status_code == status and list(answer.json) == ["error"]
    assert "Content-Security-Policy" in answer.headers
    assert status != 405 or answer.headers["Allow"] == {"/": "GET, HEAD", "/detect": "POST"}[path]


def test_limit_of_bytes(stand_in, monkeypatch):
    monkeypatch.setattr(demo._Request, "max_content_length", 10)
    assert stand_in.post("/detect", data=bytes(10)).status_code == 200
    answer = stand_in.post("/detect", data=bytes(11))
    assert (answer.status_code, answer.json) == (413, {"error": "the file has more than 64 MiB"})
    # In chunks, of which nobody knows in front how many will come.
    chunks = {"wsgi.input": io.BytesIO(bytes(11)), "wsgi.input_terminated": True, "HTTP_TRANSFER_ENCODING": "chunked"}
    assert stand_in.post("/detect", environ_overrides=chunks).status_code == 411


@pytest.mark.parametrize(
    ["host", "origin", "status"],
    [
        ("localhost:8000", "http://localhost:8000", 200),
        ("127.0.0.1:8000", "http://127.0.0.1:8000", 200),
        ("[::1]:8000", "http://[::1]:8000", 200),
        ("machine", "http://machine", 200),
        ("192.168.1.7:8000", None, 200),  # a program, at an address of the machine
        ("attacker.example:8000", "http://attacker.example:8000", 403),  # a name that was made to point here
        ("localhost.attacker.example", None, 403),
        ("127.0.0.1.attacker.example", None, 403),
        ("[::1", None, 403),
        ("", None, 403),
        ("127.0.0.1:8000", "http://attacker.example", 403),  # a page of another site
        ("127.0.0.1:8000", "http://127.0.0.1:3000", 403),  # of another server on this machine
        ("127.0.0.1:8000", "null", 403),  # of a sandboxed frame
    ],
)
def test_other_sites_are_refused(stand_in, host, origin, status):
    headers = {"Host": host, **({"Origin": origin} if origin else {})}
    answer = stand_in.post("/detect", data=b"image", headers=headers)
    assert answer.status_code == status and (status == 200) == ("detections" in answer.json)
    assert "Access-Control-Allow-Origin" not in answer.headers


def test_too_little_memory_is_said():
    def fail(image):
        raise tf.errors.ResourceExhaustedError(None, None, "OOM when allocating\ntensor")

    export = StandIn()
    export.answer = fail
    answer = Client(demo.Demo(export)).post("/detect", data=b"image")
    assert (answer.status_code, answer.json) == (503, {"error": "there is too little memory for this image"})


def test_export_that_lacks_what_it_says_of_itself(tmp_path):
    with pytest.raises(ValueError, match="class_names.json cannot be read"):
        demo_model.Export(tmp_path)


def test_settings_of_the_page(stand_in):
    page = stand_in.get("/").get_data(as_text=True)
    settings = json.loads(re.search(r'id="settings">(.*?)</script>', page)[1])
    assert settings == {"max_mib": 64, "classes": [{"colour": "#1384ec", "ink": "#ffffff"}]}
