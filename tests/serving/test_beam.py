"""The pipeline of Apache Beam, in this process."""

import collections
import json

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

pytestmark = pytest.mark.one_stack

pytest.importorskip("apache_beam", reason="needs Apache Beam: pip install apache-beam")


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    folder = tmp_path_factory.mktemp("photos")
    (folder / "b").mkdir()
    for index in range(8):
        value = np.full([40, 60 + index % 2, 3], 20 * index, np.uint8)
        Image.fromarray(value).save(folder / ("b" if index % 2 else ".") / f"{index}.png")
    (folder / "b" / "cut.jpg").write_bytes(b"\xff\xd8\xff no picture")
    (folder / "notes.txt").write_text("no image")
    return folder


def rows(folder):
    return [json.loads(line) for path in folder.glob("part-*") for line in path.read_text().splitlines()]


def by_name(found):
    assert max(collections.Counter(row["image"] for row in found).values()) == 1
    return {row["image"]: row for row in found}


@pytest.fixture(scope="module")
def found(tiny_export, photos, tmp_path_factory):
    from gfl_tf.serving import beam

    folder = tmp_path_factory.mktemp("beam") / "found"
    arguments = [f"--model={tiny_export}", f"--input={photos}", f"--output={folder}"]
    status = beam.run(arguments)
    with pytest.raises(SystemExit, match="has results, such as .*; choose another --output"):
        beam.run(arguments)
    return status, folder


def test_gives_the_rows_of_predict_many(tiny_export, photos, found, tmp_path):
    from gfl_tf.serving import many, many_inputs, many_outputs, runners

    status, folder = found
    source = many_inputs.find_images(photos)
    output = many_outputs.Output(tmp_path / "many", "jsonl", len(source), 100)
    output.claim(source.settings(), {})
    many.work(runners.load_batched(tiny_export), source, output, [0])
    wanted, got = by_name(rows(tmp_path / "many")), by_name(rows(folder))
    assert set(got) == set(wanted) and len(got) == 9 and status == 3
    for name, row in wanted.items():
        detections, expected = got[name].pop("detections"), row.pop("detections")
        assert got[name] == row
        assert [one["class"] for one in detections] == [one["class"] for one in expected]
        np.testing.assert_allclose([one["box"] for one in detections], [one["box"] for one in expected], atol=0.05)


def test_records_and_parquet(tiny_export, photos, found, tmp_path):
    from gfl_tf.serving import beam

    parquet = pytest.importorskip("pyarrow.parquet")
    wanted = by_name(rows(found[1]))
    with tf.io.TFRecordWriter(str(tmp_path / "a.tfrecord")) as writer:
        for name in wanted:
            values = {"image/encoded": (photos / name).read_bytes(), "image/filename": name.encode()}
            feature = {
                key: tf.train.Feature(bytes_list=tf.train.BytesList(value=[value])) for key, value in values.items()
            }
            writer.write(tf.train.Example(features=tf.train.Features(feature=feature)).SerializeToString())
    output = tmp_path / "found"
    arguments = [f"--model={tiny_export}", f"--tfrecords={tmp_path}", f"--output={output}", "--format=parquet"]
    assert beam.run(arguments) == 3
    got = by_name([row for path in output.glob("*.parquet") for row in parquet.read_table(path).to_pylist()])
    assert {name: len(row["detections"]) for name, row in got.items()} == {
        name: len(row["detections"]) for name, row in wanted.items()
    }
    assert sorted(row["record"] for row in got.values()) == [f"a.tfrecord:{index}" for index in range(9)]
