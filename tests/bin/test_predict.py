"""bin/predict through its command line."""

import json
import pathlib
import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

ROOT = pathlib.Path(__file__).resolve().parents[2]


def run(*flags):
    command = [sys.executable, str(ROOT / "bin" / "predict"), *map(str, flags)]
    return subprocess.run(command, capture_output=True, text=True, cwd=ROOT)


def pixels(height, width, seed):
    coarse = np.random.default_rng(seed).uniform(0, 255, (5, 6, 3))
    return tf.cast(tf.clip_by_value(tf.image.resize(coarse, (height, width), "bicubic"), 0, 255), tf.uint8).numpy()


@pytest.fixture(scope="module")
def predicted(tiny_run, tmp_path_factory):
    """(result of the command, folder of the images, folder it wrote)."""
    folder = tmp_path_factory.mktemp("images")
    output = tmp_path_factory.mktemp("predictions") / "new"
    Image.fromarray(pixels(60, 90, 0)).save(folder / "a.png")
    Image.fromarray(pixels(333, 517, 1)).convert("L").save(folder / "b.JPG")
    Image.fromarray(pixels(75, 31, 2)).save(folder / "c.bmp")
    (folder / "cut.jpg").write_bytes((folder / "b.JPG").read_bytes()[:1000])
    (folder / "notes.txt").write_text("not an image")
    (folder / "sub").mkdir()
    Image.fromarray(pixels(60, 90, 0)).save(folder / "sub" / "a.jpeg")
    result = run(
        f"--run_dir={tiny_run}",
        f"--images={folder},{folder / 'sub' / 'a.jpeg'}",
        f"--output={output}",
        "--distributions",
        "--max_distributions=2",
        "--score_threshold=0.42",
    )
    return result, folder, output


def test_writes_pictures_and_json(predicted):
    result, folder, output = predicted
    content = json.loads((output / "predictions.json").read_text())
    assert [(image["file"], image["picture"]) for image in content["images"]] == [
        (str(folder / "a.png"), "a.jpg"),
        (str(folder / "b.JPG"), "b.jpg"),
        (str(folder / "c.bmp"), "c.jpg"),
        (str(folder / "sub" / "a.jpeg"), "a_2.jpg"),
    ]
    written = {path.name for path in output.iterdir()} - {"predictions.json"}
    assert written == {name + end for name in ("a", "b", "c", "a_2") for end in (".jpg", "_distributions.png")}
    for image in content["images"]:
        with Image.open(image["file"]) as original, Image.open(output / image["picture"]) as picture:
            assert original.size == (image["width"], image["height"])
            factor = max(1, round(640 / max(original.size)))  # small pictures are enlarged, so that labels hide little
            assert picture.size == (factor * image["width"], factor * image["height"])
            drawn = np.abs(np.asarray(picture.resize(original.size), int) - np.asarray(original.convert("RGB"), int))
        assert (drawn > 60).mean() > 0.02, "nothing is drawn"
    count = sum(len(image["detections"]) for image in content["images"])
    assert f"4 images, {count} detections" in result.stdout


def test_detections_are_in_pixels_of_the_file(predicted):
    _, _, output = predicted
    for image in json.loads((output / "predictions.json").read_text())["images"]:
        detections = image["detections"]
        assert detections
        scores = [detection["score"] for detection in detections]
        assert scores == sorted(scores, reverse=True) and scores[-1] > 0.42
        boxes = np.array([detection["box"] for detection in detections])
        assert (boxes >= 0).all() and (boxes <= np.tile([image["width"], image["height"]], 2)).all()
        assert (boxes[:, 2:] > boxes[:, :2]).all()
        # The boxes of the tiny model are large: those of a file of 517 pixels would not be in its 160 pixels' scale.
        assert boxes[:, 2].max() > 0.6 * image["width"] and boxes[:, 3].max() > 0.6 * image["height"]
        for detection in detections:
            assert detection["class"] == ("circle", "square", "star")[detection["class_index"]]
            assert min(detection["edge_stddev"]) > 0 and len(detection["edge_stddev"]) == 4


def test_unreadable_image_is_skipped_and_told(predicted):
    result, folder, output = predicted
    skipped = json.loads((output / "predictions.json").read_text())["skipped"]
    assert [image["file"] for image in skipped] == [str(folder / "cut.jpg")]
    assert result.returncode == 1
    assert str(folder / "cut.jpg") in result.stderr and "Traceback" not in result.stderr


@pytest.mark.parametrize(
    ["flags", "message"],
    [
        (["--images=x", "--output=y"], "--run_dir"),
        (["--images=x", "--output=y", "--run_dir=z", "--score_threshold=2"], "score_threshold"),
    ],
)
def test_wrong_flags(flags, message):
    result = run(*flags)
    assert result.returncode != 0
    assert message in result.stderr and "Traceback" not in result.stderr
