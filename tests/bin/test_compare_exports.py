"""bin/compare_exports through its command line."""

import json

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

pytestmark = pytest.mark.one_stack


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Exports "a/1" and "b/1" that find one thing anywhere, b with a score 0.125 lower; "images" and their "truth"."""
    folder = tmp_path_factory.mktemp("compare")
    for name, score in (("a", 0.75), ("b", 0.625)):
        module = tf.Module()
        module.detect = constant_detector(score)
        tf.saved_model.save(module, str(folder / name / "1"), signatures={"image_tensor": module.detect})
    (folder / "images").mkdir()
    Image.fromarray(np.zeros([60, 80, 3], np.uint8)).save(folder / "images" / "x.png")
    truth = {
        "images": [{"id": 1, "file_name": "x.png", "height": 60, "width": 80}],
        "annotations": [{"id": 1, "image_id": 1, "category_id": 1, "bbox": [10, 20, 30, 10], "iscrowd": 0}],
        "categories": [{"id": 1, "name": "thing"}],
    }
    (folder / "truth.json").write_text(json.dumps(truth))
    return folder


def constant_detector(score):
    @tf.function(input_signature=[tf.TensorSpec([None, None, None, 3], tf.uint8, name="image_tensor")])
    def detect(image_tensor):
        del image_tensor
        return {
            "detection_boxes": tf.constant([[[20.0, 10.0, 30.0, 40.0], [0.0, 0.0, 0.0, 0.0]]]),
            "detection_scores": tf.constant([[score, 0.0]]),
            "detection_classes": tf.constant([[0, -1]]),
            "num_detections": tf.constant([1]),
        }

    return detect


def test_prints_the_table(command, folder):
    result = command(
        "compare_exports",
        "--reference=a/1",
        "--candidates=a/1,b/1",
        "--images=images",
        "--annotations=truth.json",
        cwd=folder,
    )
    assert result.returncode == 0, result.stderr
    rows = [line.split("|")[1:-1] for line in result.stdout.splitlines() if line.startswith(("| a", "| b"))]
    perfect = ["100.0"] * 4
    assert [[cell.strip() for cell in row] for row in rows] == [
        ["a/1", *perfect, "0.0000", "0.0000", "0.00", "0.00", "100.00", "+0.00"],
        ["b/1", *perfect, "0.1250", "0.1250", "0.00", "0.00", "100.00", "+0.00"],
    ]


@pytest.mark.parametrize(
    ["flags", "message"],
    [
        ([], "--reference"),
        (["--reference=a/1", "--candidates=a", "--images=images"], "compare_exports: a holds no exported model"),
        (["--reference=a/1", "--candidates=b/1", "--images=images", "--score_threshold=8"], "--score_threshold"),
    ],
)
def test_wrong_flags(command, folder, flags, message):
    result = command("compare_exports", *flags, cwd=folder)
    assert result.returncode != 0
    assert message in result.stderr and "Traceback" not in result.stderr
