"""TFRecords as they are written: their content, and what a second call, a kill and damage do."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from gfl_tf.data.coco import load_coco
from gfl_tf.data.formats.splits import Part
from gfl_tf.data.tfrecords import index, making, writing
from tests.data.tfrecords.examples import NUM_IMAGES, make_files, make_records, write_files

pytestmark = pytest.mark.one_stack

ROOT = Path(__file__).resolve().parents[3]


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_records_are_examples_with_the_files_as_they_are(tmp_path):
    dataset, folder = make_records(tmp_path)
    paths = sorted(map(str, folder.glob(index.SHARDS)))
    assert len(paths) == 3
    found = [tf.train.Example.FromString(record.numpy()) for record in tf.data.TFRecordDataset(paths)]
    assert len(found) == NUM_IMAGES
    for example, record in zip(found, dataset.images):
        features = example.features.feature
        with open(record.path, "rb") as file:
            assert features["image/encoded"].bytes_list.value[0] == file.read()
        assert features["image/source_id"].bytes_list.value[0].decode() == record.id
        boxes = [features[f"image/object/bbox/{name}"].float_list.value for name in ("xmin", "ymin", "xmax", "ymax")]
        pixels = np.stack(boxes, axis=-1).reshape(-1, 4) * np.tile((record.width, record.height), 2)
        np.testing.assert_allclose(pixels[: len(record.boxes)], record.boxes, rtol=1e-5)
        assert list(features["image/object/is_crowd"].int64_list.value).count(1) == len(record.crowd_boxes)
        names = [name.decode() for name in features["image/object/class/text"].bytes_list.value]
        assert names[: len(record.classes)] == [dataset.class_names[label] for label in record.classes]
    assert found[4].features.feature["image/format"].bytes_list.value[0] == b"webp"


def test_a_second_call_writes_nothing_and_damage_is_mended(tmp_path):
    dataset, folder = make_records(tmp_path)
    before = contents(folder)
    stamps = {path: path.stat().st_mtime_ns for path in folder.iterdir()}
    assert writing.write(dataset, folder, 3) == writing.Written(new=0, kept=3)
    assert {path: path.stat().st_mtime_ns for path in folder.iterdir()} == stamps
    shard = folder / "shard-00001-of-00003.tfrecord"
    content = bytearray(before[shard.name])
    content[50] ^= 1
    shard.write_bytes(content)
    assert making.verify(str(folder)) == [(str(folder), [f"{shard} is damaged: its checksum is not that of the index"])]
    assert writing.write(dataset, folder, 3) == writing.Written(new=1, kept=2)
    assert contents(folder) == before


def test_changed_images_and_another_number_of_shards(tmp_path):
    dataset, folder = make_records(tmp_path)
    os.utime(dataset.images[0].path, (1, 1))
    assert writing.write(dataset, folder, 3) == writing.Written(new=1, kept=2)
    assert writing.write(dataset, folder, 2) == writing.Written(new=2, kept=0)
    assert len(list(folder.glob(index.SHARDS))) == 2
    with pytest.raises(ValueError, match="11 shards cannot be made of 10 images"):
        writing.write(dataset, folder, 11)


def test_a_writing_that_fails_leaves_nothing_partial_and_goes_on(tmp_path, monkeypatch):
    (tmp_path / "files").mkdir()
    dataset, folder = make_files(tmp_path / "files"), tmp_path / "records"
    example, last = writing._example, dataset.images[-1].id

    def failing(dataset, record):
        if record.id == last:
            while len(list(folder.glob(index.SHARDS))) < 2:  # the other shards are whole
                time.sleep(0.01)
            raise tf.errors.ResourceExhaustedError(None, None, "no space")
        return example(dataset, record)

    monkeypatch.setattr(writing, "_example", failing)
    with pytest.raises(OSError, match="shard-00002-of-00003.tfrecord cannot be written, and stays as it was: no space"):
        writing.write(dataset, folder, 3)
    assert sorted(path.name for path in folder.iterdir()) == [
        "shard-00000-of-00003.tfrecord", "shard-00001-of-00003.tfrecord", index.UNFINISHED,
    ]  # fmt: skip
    monkeypatch.undo()
    assert writing.write(dataset, folder, 3) == writing.Written(new=1, kept=2)
    assert not (folder / index.UNFINISHED).exists()


def test_other_files_are_refused(tmp_path):
    dataset = make_files(tmp_path)
    with pytest.raises(ValueError, match="has files that are no TFRecords, such as Ä 0.png: choose another --output"):
        writing.write(dataset, tmp_path)


KILLED = """
import sys, time
from gfl_tf.data.coco import load_coco
from gfl_tf.data.tfrecords import writing

example = writing._example

def slow(dataset, record):
    if record.id == "image 9":
        time.sleep(100)
    return example(dataset, record)

writing._example = slow
writing.write(load_coco(sys.argv[1] + "/a.json", sys.argv[1] + "/files"), sys.argv[1] + "/records", 3)
"""


@pytest.mark.slow
def test_killed_in_a_shard_and_called_again(tmp_path):
    (tmp_path / "files").mkdir()
    (tmp_path / "a.json").write_text(json.dumps(write_files(tmp_path / "files")))
    process = subprocess.Popen([sys.executable, "-c", KILLED, str(tmp_path)], cwd=ROOT)
    folder = tmp_path / "records"
    unfinished = folder / index.UNFINISHED
    while process.poll() is None and not (unfinished.exists() and unfinished.read_text().count("\n") == 2):
        time.sleep(0.05)
    process.kill()
    assert process.wait() == -signal.SIGKILL
    assert len(list(folder.glob(".partial-*"))) == 1
    dataset = load_coco(str(tmp_path / "a.json"), tmp_path / "files")
    assert writing.write(dataset, folder, 3) == writing.Written(new=1, kept=2)
    assert sorted(path.suffix for path in folder.iterdir()) == [".json", ".npz", *[".tfrecord"] * 3]


def test_boxes_relative_to_their_image_are_refused(tmp_path):
    """As a training refuses them, which could not tell any more."""
    content = write_files(tmp_path)
    for entry in content["annotations"]:
        entry["bbox"] = [0.1, 0.2, 0.5, 0.5]
    (tmp_path / "a.json").write_text(json.dumps(content))
    with pytest.raises(ValueError, match="cannot be trained on.*lie in 0..1, as if relative"):
        list(making.make(str(tmp_path / "out"), given={"train": Part(str(tmp_path / "a.json"), str(tmp_path))}))
    assert not (tmp_path / "out").exists()


def test_images_without_annotations_are_refused(tmp_path):
    with pytest.raises(ValueError, match="the val images photos have no annotations: name these, or leave them out"):
        list(making.make(str(tmp_path / "out"), given={"train": Part("a.json"), "val": Part("", "photos")}))
