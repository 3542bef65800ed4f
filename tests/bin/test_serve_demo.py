"""bin/serve_demo through its command line: from its first line to Ctrl-C, and with flags that are wrong."""

import io
import json
import signal
import socket
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest
from PIL import Image

pytestmark = pytest.mark.one_stack

ROOT = Path(__file__).resolve().parents[2]


def start(*flags):
    command = [sys.executable, str(ROOT / "bin" / "serve_demo"), *map(str, flags)]
    before = signal.signal(
        signal.SIGINT, signal.default_int_handler
    )  # a job in the background hands on that it is ignored
    try:
        return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=ROOT)
    finally:
        signal.signal(signal.SIGINT, before)


def test_from_start_to_ctrl_c(tiny_export):
    process = start(f"--model={tiny_export.parent}", "--port=0")
    try:
        line = process.stdout.readline()
        assert line.startswith(f"{tiny_export} is at http://127.0.0.1:"), line
        address = line.split(" is at ")[1].split(",")[0]
        with urllib.request.urlopen(address) as answer:
            assert b"tiny/1" in answer.read()
        content = io.BytesIO()
        Image.new("RGB", (64, 40)).save(content, "PNG")
        with urllib.request.urlopen(f"{address}detect", content.getvalue()) as answer:
            assert json.load(answer)["width"] == 64
        process.send_signal(signal.SIGINT)
        assert process.wait(30) == 0
        assert process.stderr.read() == ""
    finally:
        process.kill()
        process.communicate()


@pytest.mark.parametrize(
    ["flags", "message"],
    [
        ([], "--model"),
        (["--model=nowhere"], "serve_demo: nowhere is no exported model; give saved_models/NAME, or saved_models/"),
        (["--model=nowhere", "--port=70000"], "--port=70000"),
        (["--model=EXPORT", "--port=USED"], "serve_demo: port USED of 127.0.0.1 is in use; give another --port"),
        (["--model=EXPORT", "--host=192.0.2.1"], "serve_demo: cannot listen at port 8000 of '192.0.2.1': "),
    ],
)
def test_wrong_flags(tmp_path, monkeypatch, flags, message):
    (tmp_path / "tensorflow.py").write_text("raise ImportError('imported too early')\n")
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path}:{ROOT}")
    (tmp_path / "model" / "2" / "assets.extra").mkdir(parents=True)
    with socket.create_server(("127.0.0.1", 0)) as used:
        places = {"EXPORT": str(tmp_path / "model"), "USED": str(used.getsockname()[1])}
        for name, value in places.items():
            flags = [flag.replace(name, value) for flag in flags]
            message = message.replace(name, value)
        process = start(*flags)
        stderr = process.communicate()[1]
    assert process.returncode == 1 and message in stderr
    assert "Traceback" not in stderr and "too early" not in stderr
