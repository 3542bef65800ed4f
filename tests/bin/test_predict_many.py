"""bin/predict_many through its command line."""

import json
import os
import signal
import time

import numpy as np
import pytest
from PIL import Image

from tests.bin.conftest import start

pytestmark = pytest.mark.one_stack


def test_goes_on_where_it_was_killed(command, tiny_export, tmp_path):
    photos, output = tmp_path / "photos", tmp_path / "found"
    photos.mkdir()
    for index in range(9):
        Image.fromarray(np.full([40, 60, 3], 20 * index, np.uint8)).save(photos / f"{index}.png")
    (photos / "8.png").write_bytes(b"no image")
    (photos / "4.png").rename(tmp_path / "4.png")
    os.mkfifo(photos / "4.png")  # who reads it waits, here in the middle of the second shard

    arguments = [f"--model={tiny_export}", f"--images={photos}", f"--output={output}", "--images_per_shard=3"]
    killed = start("predict_many", *arguments)
    first = output / "part-00000-of-00003.jsonl"
    while killed.poll() is None and not first.exists():
        time.sleep(0.05)
    before = first.stat()
    killed.send_signal(signal.SIGKILL)
    killed.communicate()
    assert [path.name for path in output.glob("part-*")] == [first.name]

    (photos / "4.png").unlink()
    (tmp_path / "4.png").rename(photos / "4.png")
    result = command("predict_many", *arguments)
    assert result.returncode == 3, result.stderr
    assert "9 images, 160 detections in 3 shards" in result.stdout and "3 of 3 shards are done" in result.stdout
    assert "1 of 9 images could not be read:\n  8.png: not a JPEG, PNG, BMP or GIF image" in result.stderr
    assert (first.stat().st_mtime_ns, first.stat().st_ino) == (before.st_mtime_ns, before.st_ino)
    rows = [json.loads(line) for path in sorted(output.glob("part-*")) for line in path.read_text().splitlines()]
    assert [row["image"] for row in rows] == [f"{index}.png" for index in range(9)]
    assert [bool(row["error"]) for row in rows] == [False] * 8 + [True]
    assert all(row["detections"] for row in rows[:8])


@pytest.mark.parametrize(
    ["flags", "message"],
    [
        (["--model=a", "--output=b"], "Exactly one of (images, tfrecords)"),
        (["--model=a", "--images=d", "--output=b", "--shard=2/2"], "--shard has '2/2'; give I/N"),
        (["--model=a", "--images=d", "--output=b", "--score_threshold=0.5"], "--score_threshold is for --run_dir"),
    ],
)
def test_wrong_flags(command, flags, message, tmp_path):
    result = command("predict_many", *flags, cwd=tmp_path)
    assert result.returncode == 1
    assert message in result.stderr and "Traceback" not in result.stderr
    assert not list(tmp_path.iterdir())
