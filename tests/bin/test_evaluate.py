"""bin/evaluate through its real command line."""

import json

import pytest

from gfl_tf.evaluation.coco import METRICS
from gfl_tf.training.evaluate_run import evaluate_run

pytestmark = pytest.mark.one_stack


@pytest.fixture(scope="module")
def evaluated(trained_run, command, tmp_path_factory):
    output = tmp_path_factory.mktemp("scores") / "last"
    done = command("evaluate", f"--run_dir={trained_run.directory}", "--checkpoint=last", f"--output={output}")
    assert done.returncode == 0, done.stderr[-3000:]
    return done, output


def test_numbers_are_those_of_the_training(evaluated, trained_run):
    done, output = evaluated
    stored = json.loads((output / "metrics.json").read_text())
    assert list(stored["metrics"]) == list(METRICS) and len(METRICS) == 12
    assert list(stored["per_class_AP"]) == ["ellipse", "rectangle", "triangle", "star", "cross", "ring"]
    in_training = json.loads((trained_run.directory / "evaluation" / "step-00000010.json").read_text())
    assert stored["metrics"] == pytest.approx(in_training["metrics"], abs=1e-4)
    header = next(line for line in done.stdout.splitlines() if line.startswith("|"))
    assert header.replace("|", " ").split() == list(METRICS[:6])
    assert f"Written to {output}" in done.stdout


def test_detections_are_in_cocos_format(evaluated, trained_run):
    detections = json.loads((evaluated[1] / "detections.json").read_text())
    truth = json.loads((trained_run.data / "annotations" / "val.json").read_text())
    assert detections
    assert {item["image_id"] for item in detections} <= {image["id"] for image in truth["images"]}
    # The file's own ids, which have gaps.
    assert {item["category_id"] for item in detections} <= {1, 2, 4, 7, 8, 11}
    for item in detections:
        x, y, width, height = item["bbox"]
        assert 0 <= x < x + width <= 64.01 and 0 <= y < y + height <= 64.01 and 0 < item["score"] <= 1


def test_other_data(trained_run, command):
    annotations, images = trained_run.data / "annotations" / "train.json", trained_run.data / "train"
    done = command(
        "evaluate", f"--run_dir={trained_run.directory}", f"--annotations={annotations}", f"--images={images}"
    )
    assert done.returncode == 0, done.stderr[-3000:]
    stored = json.loads((trained_run.directory / "evaluation" / "best-train" / "metrics.json").read_text())
    assert stored["num_images"] == 18


def test_test_time_augmentation(trained_run, command):
    done = command("evaluate", f"--run_dir={trained_run.directory}", "--tta")
    assert done.returncode == 0, done.stderr[-3000:]
    folder = trained_run.directory / "evaluation" / "best-tta-val"
    assert f"Written to {folder}" in done.stdout
    stored = json.loads((folder / "metrics.json").read_text())
    assert list(stored["metrics"]) == list(METRICS) and stored["num_images"] == 6
    assert stored["tta"] == {"scales": [[38, 38], [51, 51], [64, 64], [77, 77]], "flip": True}
    assert json.loads((folder / "detections.json").read_text())


def test_one_view_scores_as_no_augmentation(trained_run, evaluated, tmp_path):
    result, _, output = evaluate_run(trained_run.directory, "last", output=tmp_path, views=[(64, 64)], flip=False)
    plain = json.loads((evaluated[1] / "metrics.json").read_text())
    assert result.metrics == pytest.approx(plain["metrics"], abs=1e-4)
    assert result.detections and len(result.detections) == plain["num_detections"]


def test_flags_of_test_time_augmentation_alone(command):
    done = command("evaluate", "--run_dir=nowhere", "--tta_scales=64x64")
    assert done.returncode == 1 and "belong to --tta" in done.stderr + done.stdout


def test_missing_run(command):
    done = command("evaluate", "--run_dir=nowhere")
    assert done.returncode == 1 and "Traceback" not in done.stderr
    assert "evaluate: nowhere holds no run" in done.stderr


@pytest.mark.parametrize(
    "data, message",
    [
        ({"annotations": "a.json"}, "there is no annotation file .* --annotations=PATH"),
        ({"images": "nowhere"}, "there is no folder of images .* --images=PATH"),
        ({"views": (), "batch_size": 2}, "leave out the batch size"),
    ],
)
def test_missing_data(trained_run, data, message):
    with pytest.raises(ValueError, match=message):
        evaluate_run(trained_run.directory, **data)
