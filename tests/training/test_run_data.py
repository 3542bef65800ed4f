"""What is told apart of a run's data, and what is not."""

import copy
import json
import re
import shutil

import ml_collections
import pytest
from PIL import Image

from gfl_tf.data import images, pipeline
from gfl_tf.data.coco import load_coco
from gfl_tf.training import config as training_config
from gfl_tf.training import fields, run_data
from tests.data.formats import examples

CONTENT = {
    "images": [{"id": number, "file_name": f"{number}.png", "width": 40, "height": 30} for number in (3, 1, 2)],
    "annotations": [
        {"id": number, "image_id": number, "category_id": number, "bbox": [number, 2, 10, 12]} for number in (1, 2)
    ],
    "categories": [{"id": 1, "name": "cat"}, {"id": 2, "name": "dog"}],
}


@pytest.fixture
def folder(tmp_path):
    """A folder with the images of `CONTENT`."""
    folder = tmp_path / "images"
    folder.mkdir()
    for entry in CONTENT["images"]:
        Image.new("RGB", (40, 30)).save(folder / entry["file_name"])
    return folder


def _described(folder, content=CONTENT, on_bad_image="error"):
    annotations = folder.parent / "a.json"
    annotations.write_text(json.dumps(content))
    return run_data.describe(load_coco(annotations, folder, on_bad_image=on_bad_image), None)


def _changed(change):
    content = copy.deepcopy(CONTENT)
    change(content)
    return content


def test_the_same_data_elsewhere_in_another_order_and_with_a_bad_image(folder, tmp_path):
    first = _described(folder)
    moved = shutil.move(folder, tmp_path / "elsewhere")
    (moved / "2.png").write_bytes(b"")
    later = _described(moved, _changed(lambda content: content["images"].reverse()), on_bad_image="skip")
    assert run_data.differences(json.loads(json.dumps(first)), later) == []


def _yolo_described(path, on_bad_image="skip"):
    config = ml_collections.ConfigDict({"model": {}, "data": fields.default_data()})
    config.data.train_annotations, config.data.on_bad_image = str(path), on_bad_image
    return json.loads(json.dumps(run_data.describe(training_config.load_split(config, "train"), None)))


@pytest.mark.parametrize("end, is_compared", [(3, False), (-5, True)])  # -5: its header is still there
def test_an_image_of_yolo_that_goes_bad(end, is_compared, tmp_path):
    """No annotation has its size: where its header is gone, boxes are not known in pixels, and all else is compared."""
    path = examples.write_yolo(tmp_path)
    first = _yolo_described(path, "error")
    images, labels = tmp_path / "train/images", tmp_path / "train/labels"
    (images / "a.png").write_bytes((images / "a.png").read_bytes()[:end])
    later = _yolo_described(path)
    assert run_data.differences(first, later) == run_data.differences(later, first) == []
    (labels / "b.txt").write_text("")
    other_boxes = ["train: other boxes or their classes"] if is_compared else []
    assert run_data.differences(first, _yolo_described(path)) == other_boxes
    (images / "empty.png").rename(images / "other.png")
    other_names = ["train: other image ids or file names"]
    assert run_data.differences(first, _yolo_described(path)) == other_names + other_boxes


@pytest.mark.parametrize(
    "change, text",
    [
        (lambda content: content["images"].pop(0), "train: num_images 3 in the run, now 2"),
        (lambda content: content["images"][0].update(id=4), "train: other image ids or file names"),
        (lambda content: content["images"][0].update(file_name="1.png"), "train: other image ids or file names"),
        (lambda content: content["annotations"][0].update(bbox=[1, 2, 10, 13]), "train: other boxes or their classes"),
        (lambda content: content["annotations"][0].update(category_id=2), "train: other boxes or their classes"),
        (lambda content: content["annotations"][0].update(iscrowd=1), "train: other boxes or their classes"),
        (
            lambda content: content["categories"][0].update(name="bird"),
            "train: class_names ['cat', 'dog'] in the run, now ['bird', 'dog']",
        ),
    ],
)
def test_other_data(folder, change, text):
    assert run_data.differences(_described(folder), _described(folder, _changed(change))) == [text]


def test_validation_data_that_are_gone(folder):
    described = _described(folder)["train"]
    found = run_data.differences({"train": described, "val": described}, {"train": described, "val": None})
    assert found == ["val: 3 images in the run, now no data"]


@pytest.mark.parametrize("cache", [False, True])
@pytest.mark.parametrize("bad", ["broken", "smaller"])
def test_an_image_that_goes_bad_is_named_in_one_line(folder, cache, bad):
    file = folder / "Zoë's.png"
    (folder / "3.png").rename(file)
    dataset = load_coco(_changed(lambda content: content["images"][0].update(file_name=file.name)), folder)
    file.write_bytes(b"") if bad == "broken" else Image.new("RGB", (4, 3)).save(file)
    with pytest.raises(ValueError, match=f"^Image file {re.escape(str(file))} .* Skip it.$") as error:
        with images.named_errors("Skip it."):
            list(pipeline.evaluation_batches(dataset, 1, scale=(64, 64), cache=cache))
    assert len(str(error.value).splitlines()) == 1
