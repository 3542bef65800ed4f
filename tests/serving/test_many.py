"""Detection in very many images: each once, whatever happens."""

import collections
import io
import json
import os
import sys

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from gfl_tf.serving import many, many_inputs, many_outputs, runners
from gfl_tf.training import run_dir
from gfl_tf.visualization import predict

pytestmark = pytest.mark.one_stack

SETTINGS = {"--model": "a"}


def picture(seed, height=40, width=60):
    coarse = np.random.default_rng(seed).integers(0, 255, (4, 5, 3), np.uint8)
    return Image.fromarray(coarse).resize((width, height), Image.BICUBIC)


def encoded(seed, format="PNG"):
    buffer = io.BytesIO()
    picture(seed).save(buffer, format)
    return buffer.getvalue()


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    """A folder of 9 images in two sizes and a damaged one, in folders."""
    folder = tmp_path_factory.mktemp("photos")
    (folder / "süd" / "b").mkdir(parents=True)
    for index in range(7):
        picture(index).save(folder / ("süd" if index % 2 else "süd/b") / f"{index}.png")
    picture(7, 30, 30).save(folder / "x.jpg")
    picture(8, 30, 30).save(folder / "x.webp", lossless=True)
    (folder / "cut.jpg").write_bytes((folder / "x.jpg").read_bytes()[:400])
    (folder / "notes.txt").write_text("no image")
    (folder / "süd" / "loop").symlink_to(folder)
    return folder


def find_one_thing(images):
    """A model that finds the mean colour of each image."""
    return [
        {
            "class_names": np.array(["thing"], object),
            "classes": np.array([0]),
            "confidence": np.array([image.mean() / 255], np.float32),
            "boxes": np.array([[0, 0, *image.shape[1::-1]]], np.float32),
        }
        for image in images
    ]


def work(source, folder, detect=find_one_thing, format="jsonl", per_shard=3, shards=None, settings=SETTINGS, **options):
    output = many_outputs.Output(folder, format, len(source), per_shard)
    output.claim({**settings, **source.settings()}, {"files": source.files()})
    return many.work(detect, source, output, range(output.num_shards) if shards is None else shards, **options)


def rows(folder):
    files = sorted(tf.io.gfile.glob(f"{folder}/part-*"))
    return [json.loads(line) for file in files for line in tf.io.gfile.GFile(file)]


def test_finds_what_predict_finds(tiny_run, tiny_export, photos, tmp_path):
    model, config = run_dir.load_run(tiny_run)
    scale, names = config.data.scale, config.data.class_names
    folders = [photos, photos / "süd", photos / "süd" / "b"]
    expected = {
        os.path.relpath(image["file"], photos): image
        for image in predict.predict(model, folders, tmp_path / "predict", scale, names)["images"]
    }
    source = many_inputs.find_images(photos)
    for name, detect in {
        "export": runners.load_batched(tiny_export),
        "run": many.detect_function(model, scale, names),
    }.items():
        work(source, tmp_path / name, detect, batch_size=2)
        found = {row["image"]: row for row in rows(tmp_path / name)}
        assert set(found) == {*expected, "cut.jpg"}
        for image, wanted in expected.items():
            row = found[image]
            assert (row["width"], row["height"], row["error"]) == (wanted["width"], wanted["height"], None)
            assert wanted["detections"] and len(row["detections"]) == len(wanted["detections"])
            for a, b in zip(row["detections"], wanted["detections"]):
                assert a.keys() == b.keys() and a["class"] == b["class"]
                assert a["score"] == pytest.approx(b["score"], abs=2e-4)
                np.testing.assert_allclose(a["box"], b["box"], atol=0.05)


def test_a_row_for_each_image_in_order_and_a_reason_where_it_cannot_be_read(photos, tmp_path):
    seen = []
    done = work(many_inputs.find_images(photos), tmp_path, batch_size=2, draw=lambda *args: seen.append(args))
    found = rows(tmp_path)
    names = [row["image"] for row in found]
    assert names == sorted(names) and len(names) == 10 == len(set(names)), "the loop of links is no second picture"
    (bad,) = [row for row in found if row["error"]]
    assert bad["image"] == "cut.jpg" and "truncated" in bad["error"] and not bad["detections"]
    assert [row["detections"][0]["box"][2:] for row in found if row["image"] == "x.webp"] == [[30, 30]]
    assert [image["image"] for shard in done for image in shard.unreadable] == ["cut.jpg"]
    assert sum(shard.images for shard in done) == 10 and seen[-1] == (10, 10, 1)


def test_too_large_an_image_is_refused_before_it_is_decoded(photos, tmp_path):
    work(many_inputs.find_images(photos), tmp_path, max_pixels=1000)
    errors = {row["image"]: row["error"] for row in rows(tmp_path)}
    assert errors["x.jpg"] is None and "more than the 1000" in errors["süd/1.png"]
    work(many_inputs.find_images(photos), tmp_path / "webp", max_pixels=800)
    assert "more than 800" in {row["image"]: row["error"] for row in rows(tmp_path / "webp")}["x.webp"]


def test_finished_shards_are_kept_and_the_others_made_anew(photos, tmp_path):
    source, calls = many_inputs.find_images(photos), []

    def die_later(images):
        calls.append(len(images))
        if sum(calls) > 4:  # in the second shard
            raise KeyboardInterrupt
        return find_one_thing(images)

    with pytest.raises(KeyboardInterrupt):
        work(source, tmp_path, die_later, batch_size=1)
    (first,) = tmp_path.glob("part-*")
    before = first.stat().st_mtime_ns, first.stat().st_ino
    (tmp_path / ".partial-1-part-00001-of-00004.jsonl").write_text("half of")

    calls.clear()
    done = work(source, tmp_path, lambda images: calls.append(len(images)) or find_one_thing(images))
    assert sum(calls) == 7 and sum(shard.images for shard in done) == 10
    assert (first.stat().st_mtime_ns, first.stat().st_ino) == before
    assert not list(tmp_path.glob(".*"))
    assert collections.Counter(row["image"] for row in rows(tmp_path)) == dict.fromkeys(source.names, 1)
    whole = {path.name: path.read_bytes() for path in tmp_path.glob("part-*")}
    work(source, tmp_path / "unbroken")
    assert whole == {path.name: path.read_bytes() for path in (tmp_path / "unbroken").glob("part-*")}


def test_processes_share_all_shards(photos, tmp_path):
    source = many_inputs.find_images(photos)
    output = many_outputs.Output(tmp_path, "jsonl", len(source), 2)
    for count in (1, 2, 3, 7):
        shards = [shard for index in range(count) for shard in output.part(index, count)]
        assert shards == list(range(5))
    for index in (1, 0, 2):
        work(source, tmp_path, per_shard=2, shards=output.part(index, 3))
    assert collections.Counter(row["image"] for row in rows(tmp_path)) == dict.fromkeys(source.names, 1)


def test_results_of_something_else_are_refused(photos, tmp_path):
    source = many_inputs.find_images(photos)
    work(source, tmp_path / "out")
    with pytest.raises(ValueError, match="--model was a, now b. Choose another --output"):
        work(source, tmp_path / "out", settings={"--model": "b"})
    with pytest.raises(ValueError, match="--images_per_shard was 3, now 4"):
        work(source, tmp_path / "out", per_shard=4)
    with pytest.raises(ValueError, match="--images was 10 images .*, now 9 images"):
        work(many_inputs.ImageFiles(source.folder, source.names[1:]), tmp_path / "out")
    with pytest.raises(ValueError, match="there is no folder nowhere"):
        many_inputs.find_images("nowhere")
    with pytest.raises(ValueError, match="has other files in it"):
        work(source, photos)


def test_models_are_told_apart_by_their_weights(tiny_export, tmp_path):
    (tmp_path / "variables").mkdir()
    for name in ("saved_model.pb", "variables/variables.index", "variables/variables.data-00000-of-00001"):
        (tmp_path / name).write_bytes((tiny_export / name).read_bytes())
    assert many.digest_of_export(tmp_path) == many.digest_of_export(tiny_export)
    with open(tmp_path / "variables" / "variables.data-00000-of-00001", "r+b") as file:
        file.write(b"\1")
    assert many.digest_of_export(tmp_path) != many.digest_of_export(tiny_export)
    with pytest.raises(ValueError, match="holds no SavedModel"):
        runners.load_batched(tmp_path / "variables")


def feature(value):
    if isinstance(value, int):
        return tf.train.Feature(int64_list=tf.train.Int64List(value=[value]))
    return tf.train.Feature(bytes_list=tf.train.BytesList(value=[value]))


def example(**features):
    features = {f"image/{name}": feature(value) for name, value in features.items()}
    return tf.train.Example(features=tf.train.Features(feature=features)).SerializeToString()


def write(path, records):
    with tf.io.TFRecordWriter(str(path)) as writer:
        for record in records:
            writer.write(record)


def test_records(tmp_path, monkeypatch):
    write(tmp_path / "a.tfrecord", [example(encoded=encoded(i), filename=b"%d" % i, source_id=i) for i in range(4)])
    rest = [
        b"\xff garbage",
        example(encoded=b"bytes", source_id=5),
        example(filename=b"6"),
        example(encoded=encoded(7)),
    ]
    write(tmp_path / "b.tfrecord", rest)
    write(tmp_path / "c.tfrecord", [])
    source = many_inputs.find_records(tmp_path)
    work(source, tmp_path / "out")
    found = [(row["image"], row["record"]) for row in rows(tmp_path / "out")]
    assert found[:4] == [(f"{i}", f"a.tfrecord:{i}") for i in range(4)]
    assert [row[0] for row in found[4:]] == ["b.tfrecord:0", "5", "6", "b.tfrecord:3"]
    errors = [row["error"] for row in rows(tmp_path / "out")]
    assert "no tf.train.Example" in errors[4] and "bytes" in errors[5] and "no feature image/encoded" in errors[6]
    assert [index for index, error in enumerate(errors) if error] == [4, 5, 6]
    for record, name in zip(rest, ["", "5", "6", ""]):  # Beam's way of reading them
        assert many_inputs.from_example(record, "image/encoded", ["image/filename", "image/source_id"])[0] == name

    monkeypatch.setattr(many_inputs, "_count", None)  # counted files are not counted again
    assert many_inputs.find_records(tmp_path / "?.tfrecord", known=source.files()) == source


def test_wrong_records_are_refused(tmp_path):
    write(tmp_path / "a.tfrecord", [example(picture=encoded(0), name=b"a")])
    with pytest.raises(ValueError, match="no encoded image image/encoded, but image/name, image/picture"):
        many_inputs.find_records(tmp_path / "a.tfrecord")
    with pytest.raises(ValueError, match="no image/filename or image/source_id, but image/name, image/picture"):
        many_inputs.find_records(tmp_path, image_feature="image/picture")
    content = (tmp_path / "a.tfrecord").read_bytes()
    (tmp_path / "a.tfrecord").write_bytes(content[:-5])
    with pytest.raises(ValueError, match="a.tfrecord is no TFRecord file, .* or damaged"):
        many_inputs.find_records(tmp_path)
    with pytest.raises(ValueError, match="there is no TFRecord file"):
        many_inputs.find_records(tmp_path / "b*")


def test_paths_of_object_stores(photos):
    for name in ("x.jpg", "süd/1.png"):
        tf.io.gfile.makedirs(os.path.dirname(f"ram://photos/{name}"))
        tf.io.gfile.GFile(f"ram://photos/{name}", "wb").write((photos / name).read_bytes())
    source = many_inputs.find_images("ram://photos/")
    work(source, "ram://found", per_shard=1)
    assert [row["image"] for row in rows("ram://found")] == ["süd/1.png", "x.jpg"]
    assert not [name for name in tf.io.gfile.listdir("ram://found") if "partial" in name]


def test_parquet_without_pyarrow_is_refused_before_any_work(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(ImportError, match=r'needs pyarrow .*: pip install "gfl_tf\[parquet\]"'):
        many_outputs.Output(tmp_path, "parquet", 1, 1)


def test_parquet_has_the_rows_of_json_lines(photos, tmp_path):
    try:
        many_outputs.parquet_schema()
    except ImportError as error:
        pytest.skip(str(error))
    from pyarrow import parquet

    source = many_inputs.find_images(photos)
    work(source, tmp_path / "jsonl")
    work(source, tmp_path / "parquet", format="parquet")
    files = sorted((tmp_path / "parquet").glob("*.parquet"))
    found = [row for path in files for row in parquet.read_table(path).to_pylist()]
    for row, wanted in zip(found, rows(tmp_path / "jsonl"), strict=True):
        for detection, expected in zip(row.pop("detections"), wanted.pop("detections"), strict=True):
            assert detection.pop("score") == pytest.approx(expected.pop("score"))
            assert detection == {**expected, "edge_stddev": None, "edge_interval": None, "box_interval": None}
        assert row == wanted
