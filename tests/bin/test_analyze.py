"""bin/analyze through its real command line."""

import json

import numpy as np
import pytest
from PIL import Image

pytestmark = pytest.mark.one_stack


@pytest.fixture(scope="module")
def annotated(tmp_path_factory):
    """Flags of one image with one object."""
    folder = tmp_path_factory.mktemp("annotated")
    Image.fromarray(np.random.default_rng(0).integers(0, 256, [96, 160, 3], np.uint8)).save(folder / "a.png")
    content = {
        "images": [{"id": 1, "file_name": "a.png", "height": 96, "width": 160}],
        "annotations": [{"id": 1, "image_id": 1, "category_id": 1, "bbox": [10, 10, 60, 60]}],
        "categories": [{"id": number, "name": name} for number, name in enumerate(("circle", "square", "star"))],
    }
    (folder / "a.json").write_text(json.dumps(content))
    return [f"--annotations={folder / 'a.json'}", f"--images={folder}"]


def test_one_analysis(tiny_run, annotated, command, tmp_path):
    done = command(
        "analyze", f"--run_dir={tiny_run}", f"--output={tmp_path}", "--only=quality_labels,speed_accuracy", *annotated
    )
    assert done.returncode == 0, done.stderr[-3000:]
    positives = json.loads((tmp_path / "quality_labels.json").read_text())["positives"]
    assert f"quality_labels: positives {positives}, median iou 0." in done.stdout
    assert "speed_accuracy is left out: no exports are named: --exports=" in done.stdout
    assert {path.name for path in tmp_path.iterdir()} == {"quality_labels.json", "quality_labels.png", "index.html"}


def test_unknown_analysis_is_told_in_a_line_before_anything_is_read(command):
    done = command("analyze", "--run_dir=nowhere", "--output=nowhere", "--only=oracles,oracle")
    assert done.returncode == 1 and len(done.stderr.splitlines()) == 1
    assert done.stderr.startswith("analyze: --only: there is no analysis 'oracle'; there are quality_correlation, ")
