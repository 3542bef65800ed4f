"""The review of a run: its files."""

import json
import shutil

import numpy as np
import pytest
from PIL import Image

from gfl_tf.commands import review as command
from gfl_tf.data.coco import load_coco
from gfl_tf.evaluation import coco
from gfl_tf.evaluation.review import KINDS
from gfl_tf.training.review_run import review_run

pytestmark = [pytest.mark.one_stack, pytest.mark.usefixtures("uncompiled")]
CATEGORIES = [{"id": n, "name": name} for n, name in enumerate(("circle", "square", "star"))]


@pytest.fixture
def uncompiled(monkeypatch):
    """Three images are detected sooner than a graph is made."""
    monkeypatch.setattr(coco, "detect_function", lambda model: model.detect)


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """(folder of three images, annotations of them: a speck in each)."""
    folder = tmp_path_factory.mktemp("review")
    rng = np.random.default_rng(0)
    images, annotations = [], []
    for number in range(3):
        Image.fromarray(rng.integers(0, 256, [96, 160, 3], np.uint8)).save(folder / f"{number}.png")
        images.append({"id": f"{number}", "file_name": f"{number}.png", "height": 96, "width": 160})
        annotations.append({"id": 40 + number, "image_id": f"{number}", "category_id": 1, "bbox": [80, 50, 2, 2]})
    return folder, {"images": images, "annotations": annotations, "categories": CATEGORIES}


def test_annotations(tiny_run, data, tmp_path, caplog):
    """By a run that was trained on them, as its config says."""
    images, content = data
    (tmp_path / "a.json").write_text(json.dumps(content))
    run = shutil.copytree(tiny_run, tmp_path / "run")
    config = json.loads((run / "config.json").read_text())
    config["data"].update(train_annotations=str(tmp_path / "a.json"), train_images=str(images))
    (run / "config.json").write_text(json.dumps(config))
    found = review_run(run, tmp_path, annotations=tmp_path / "a.json", images=images, most=5)
    stored = json.loads((tmp_path / "review.json").read_text())
    assert stored == json.loads(json.dumps(found))
    reviewed = [each for each in stored["annotations"] if "review" in each]
    assert reviewed == stored["annotations"][:5] and [each["id"] for each in reviewed] == [43, 44, 45, 46, 47]
    assert [each["review"]["rank"] for each in reviewed] == [1, 2, 3, 4, 5]
    assert {each["review"]["kind"] for each in reviewed} == {"missing"}
    assert "was trained on 3 of these 3 images" in caplog.text and "gfl-calibrate" in stored["info"]["notes"][1]
    again = load_coco(tmp_path / "review.json", images)
    assert again.images[0].id == reviewed[0]["image_id"] and again.class_names == ("circle", "square", "star")
    assert again.num_boxes == 5 + len(again.images)
    page = (tmp_path / "index.html").read_text()
    assert "<script" not in page and page.count("<img") == 5 and "5. missing" in page


def test_images_without_annotations(tiny_run, data, tmp_path):
    images, content = data
    (tmp_path / "images.json").write_text(json.dumps({**content, "annotations": []}))
    found = review_run(tiny_run, tmp_path, annotations=tmp_path / "images.json", images=images, most=2)
    assert [image["review"]["rank"] for image in found["images"]] == [1, 2] and not found["annotations"]
    assert {image["review"]["kind"] for image in found["images"]} == {"unsure"}
    assert {image["file_name"] for image in found["images"]} < {"0.png", "1.png", "2.png"}
    assert len(load_coco(tmp_path / "review.json", images).images) == 2
    assert "Which of 3 images to annotate" in (tmp_path / "index.html").read_text()


def test_no_such_folder(tiny_run, tmp_path):
    with pytest.raises(ValueError, match="there is no image or folder .*nowhere"):
        review_run(tiny_run, tmp_path, images=tmp_path / "nowhere")


def test_flag_names_all_kinds():
    assert command.KINDS == tuple(KINDS)
