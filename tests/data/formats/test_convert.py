"""Every format to COCO JSON, and the command."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from gfl_tf.data import formats
from gfl_tf.data.coco import load_coco
from gfl_tf.data.formats.convert import convert
from tests.data.formats import examples
from tests.data.formats.test_formats import WRITERS, assert_is_the_example

pytestmark = pytest.mark.one_stack

ROOT = Path(__file__).resolve().parents[3]


@pytest.mark.parametrize("written", ["voc", "yolo", "csv"])
def test_round_trip(written, tmp_path):
    output = tmp_path / "new" / "coco.json"
    dataset, images = convert(WRITERS[written](tmp_path), output)
    assert_is_the_example(load_coco(output, images))
    assert_is_the_example(dataset)
    assert [path.name for path in output.parent.iterdir()] == ["coco.json"]


def test_difficult_objects_can_be_left_out(tmp_path):
    folder = examples.write_voc(tmp_path, tmp_path)
    text = (folder / "b.xml").read_text()
    (folder / "b.xml").write_text(text.replace("<difficult>0", "<difficult>1"))
    dataset, _ = convert(folder, tmp_path / "coco.json", keep_difficult=False)
    assert [len(record.boxes) for record in dataset.images] == [2, 0, 0] and dataset.class_names == examples.CLASSES


def test_split_file(tmp_path):
    folder = examples.write_voc(tmp_path, tmp_path)
    dataset, _ = convert(folder, tmp_path / "coco.json", split_file=examples.write_text(tmp_path / "some.txt", "b\n"))
    assert [Path(record.path).name for record in dataset.images] == ["b.png"]


@pytest.mark.parametrize(
    "written, options, message",
    [
        ("coco", {}, "boxes.json is COCO JSON already"),
        ("csv", {"split": "val"}, "--split is of the format yolo, and .*boxes.csv is of the format csv"),
        ("yolo", {"split_file": "a.txt"}, "--split_file is of the format voc"),
        ("yolo", {"keep_difficult": False}, "--nodifficult is of the format voc"),
        ("yolo", {"class_names": ["cow"]}, "class name 'cow' is none of .*data.yaml; it has cat, dog"),
        ("csv", {"class_names": ["cow"]}, "'dog', which is not among cow"),
    ],
)
def test_what_does_not_fit_is_refused(written, options, message, tmp_path):
    with pytest.raises(ValueError, match=message):
        convert(WRITERS[written](tmp_path), tmp_path / "out.json", **options)
    assert not (tmp_path / "out.json").exists()


def test_missing_images_are_refused(tmp_path):
    path = examples.write_csv(tmp_path / "boxes.csv", tmp_path)
    (tmp_path / "a.png").unlink()
    with pytest.raises(FileNotFoundError, match="1 of 3 images of .*boxes.csv cannot be used:\n.*a.png cannot be op"):
        convert(path, tmp_path / "out.json")


def run(*flags):
    command = [sys.executable, str(ROOT / "bin" / "convert_dataset"), *flags]
    return subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=False)


def test_command(tmp_path):
    folder, output = examples.write_voc(tmp_path, tmp_path), tmp_path / "coco.json"
    flags = [f"--annotations={folder}", f"--output={output}"]
    done = run(*flags, "--class_names=dog,cat")
    assert done.returncode == 0, done.stderr
    assert f"3 images of {tmp_path}, 3 boxes, 2 classes" in done.stdout
    assert json.loads(output.read_text()) == formats.read(folder, class_names=["dog", "cat"])[0]
    (folder / "a.xml").write_text("<annotation>")
    failed = run(*flags)
    assert failed.returncode == 1 and "convert_dataset: " in failed.stderr and "a.xml" in failed.stderr
    assert "Traceback" not in failed.stderr
