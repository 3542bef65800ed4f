import numpy as np
import pytest
from PIL import Image

from gfl_tf.data.coco import load_coco
from gfl_tf.data.formats.folder import read_folder

pytestmark = pytest.mark.one_stack


def test_images_of_a_folder(tmp_path, caplog):
    for name, size in (("b.png", (30, 20)), ("a.jpg", (40, 10))):
        Image.fromarray(np.zeros([size[1], size[0], 3], np.uint8)).save(tmp_path / name)
    (tmp_path / "notes.txt").write_text("")
    content, folder = read_folder(tmp_path, ("cat", "dog"))
    dataset = load_coco(content, folder)
    assert [(record.path, record.width, record.height) for record in dataset.images] == [
        (str(tmp_path / "a.jpg"), 40, 10),
        (str(tmp_path / "b.png"), 30, 20),
    ]
    assert dataset.class_names == ("cat", "dog") and not dataset.num_boxes
    assert "1 files are not named like images and are passed over: notes.txt" in caplog.text


def test_bad_image(tmp_path):
    (tmp_path / "a.jpg").write_bytes(b"no image")
    Image.fromarray(np.zeros([8, 8, 3], np.uint8)).save(tmp_path / "b.png")
    with pytest.raises(ValueError, match="a.jpg"):
        read_folder(tmp_path, ("cat",))
    content, _ = read_folder(tmp_path, ("cat",), "skip")
    assert [image["file_name"] for image in content["images"]] == ["b.png"] and len(content["skipped"]) == 1


def test_no_image(tmp_path):
    with pytest.raises(ValueError, match="no image"):
        read_folder(tmp_path, ("cat",))
