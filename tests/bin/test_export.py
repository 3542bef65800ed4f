"""bin/export through its command line: killed, twice at once, with flags that are wrong."""

import pathlib
import signal
import subprocess
import sys
import time

import pytest
import tensorflow as tf

ROOT = pathlib.Path(__file__).resolve().parents[2]


def command(*flags):
    return [sys.executable, str(ROOT / "bin" / "export"), *map(str, flags)]


def run(*flags):
    return subprocess.run(command(*flags), capture_output=True, text=True, cwd=ROOT)


def versions(directory):
    return {path.name for path in directory.iterdir()}


@pytest.fixture(scope="module")
def killed(tiny_run, tmp_path_factory):
    """Folder of a model whose first export was killed while it wrote."""
    output = tmp_path_factory.mktemp("saved_models")
    directory = output / "tiny"
    process = subprocess.Popen(
        command(f"--run_dir={tiny_run}", f"--output={output}"),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        cwd=ROOT,
    )
    while not list(directory.glob(".exporting-*/version/*")):
        assert process.poll() is None, "the export was over before it could be killed"
        time.sleep(0.001)
    process.send_signal(signal.SIGKILL)
    process.wait()
    return directory


def test_killed_and_then_two_at_once(killed, tiny_run):
    (hidden,) = versions(killed)
    assert hidden.startswith(".exporting-")
    for old in ("1", "2"):
        (killed / old).mkdir()
        (killed / old / "saved_model.pb").write_text("old")

    flags = [f"--run_dir={tiny_run}", f"--output={killed.parent}", "--keep=2", "--batch_sizes=1"]
    others = ["--checkpoint=last", "--max_detections=3", "--precision=bfloat16", "--freeze", "--on_bad_image=report"]
    processes = [
        subprocess.Popen(command(*flags, *more), stdout=subprocess.PIPE, text=True, cwd=ROOT) for more in ([], others)
    ]
    printed = [process.communicate()[0].removesuffix("\n") for process in processes]
    assert [process.returncode for process in processes] == [0, 0]
    assert set(printed) == {str(killed / "3"), str(killed / "4")}
    assert versions(killed) == {"3", "4"}, "what was killed should be gone, and so should older versions"
    for path in map(pathlib.Path, printed):
        assert (path / "saved_model.pb").is_file() and (path / "assets.extra").is_dir()
    loaded = tf.saved_model.load(printed[1])
    outputs = loaded.signatures["serving_default"].structured_outputs
    assert outputs["detection_boxes"].shape.as_list() == [None, 3, 4]
    found = loaded.signatures["serving_default"](tf.constant([b"not an image"]))
    assert found["num_detections"] == [0] and found["status"] != b"ok"


@pytest.mark.parametrize(
    ["flags", "message"],
    [
        ([], "--run_dir"),
        (["--run_dir=nowhere"], "nowhere holds no run"),
        (["--run_dir=nowhere", "--keep=-1"], "--keep=-1"),
        (["--run_dir=nowhere", "--on_bad_image=ignore"], "--on_bad_image=ignore"),
        (["--run_dir=nowhere", "--checkpoint=first"], "first"),
    ],
)
def test_wrong_flags(flags, message):
    result = run(*flags)
    assert result.returncode != 0
    assert message in result.stderr and "Traceback" not in result.stderr
