"""bin/benchmark_serving through its command line, on a tiny export."""

import re

import pytest
import tensorflow as tf

pytestmark = pytest.mark.one_stack


@pytest.fixture(scope="module")
def without_stages(tmp_path_factory):
    """Path of a SavedModel that says how large each JPEG is, and has no stages."""

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="image_bytes")])
    def shape(image_bytes):
        return {
            "shape": tf.map_fn(
                lambda image: tf.shape(tf.io.decode_jpeg(image)), image_bytes, fn_output_signature=tf.int32
            )
        }

    path = tmp_path_factory.mktemp("shape")
    tf.saved_model.save(tf.Module(), str(path), signatures=shape.get_concrete_function())
    return path


def test_two_models(command, tiny_export, without_stages):
    sizes = "--sizes=480x640,640x480,375x500,500x333"
    result = command("benchmark_serving", f"--model={tiny_export},{without_stages}", sizes, "--requests=20")
    assert result.returncode == 0, result.stderr
    rows = [line.split() for line in result.stdout.splitlines()]
    times, shares = ([float(text.rstrip("%")) for text in row[:-1]] for row in rows if row[-1:] == [str(tiny_export)])
    p50, p95, p99, rate, *ratios = times
    assert 0 < p50 <= p95 <= p99 and rate > 0 and ratios == [1, 1]
    assert sum(shares[:4]) == pytest.approx(100, abs=0.21) and min(shares) > 0  # rounded to 0.1 each
    _, no_shares = (row[:-1] for row in rows if row[-1:] == [str(without_stages)])
    assert " ".join(no_shares) == "this export has no stages: no shares"

    assert len(re.findall(r"([0-9.]+) (?:after the warm-up|at \d+%)", result.stdout)) == 5


def test_failed_requests(command, without_stages, tmp_path):
    jpeg = tf.io.encode_jpeg(tf.zeros([48, 64, 3], tf.uint8)).numpy()
    (tmp_path / "a.jpg").write_bytes(jpeg)
    (tmp_path / "b.jpg").write_bytes(jpeg[: len(jpeg) // 2])
    flags = (f"--model={without_stages}", f"--images={tmp_path}", "--requests=6", "--concurrency=1")
    result = command("benchmark_serving", *flags)
    assert result.returncode == 1
    assert f"3 of 6 requests failed: {without_stages}\nInvalidArgumentError: " in result.stdout
    assert "not measured, as requests failed" in result.stdout
    assert "Traceback" not in result.stderr


@pytest.mark.parametrize(
    ["flags", "message"],
    [
        ([], "--model"),
        (["--model=nowhere", "--images=photos", "--sizes=5x7"], "--sizes are those of synthetic images"),
        (["--model=nowhere", "--requests=0"], "--requests"),
    ],
)
def test_wrong_flags(command, flags, message):
    result = command("benchmark_serving", *flags)
    assert result.returncode != 0
    assert message in result.stderr and "Traceback" not in result.stderr
