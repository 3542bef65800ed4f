"""Data sets read from TFRecords: the same as from files, and what is said of folders that cannot be used."""

import itertools
import json
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from gfl_tf.data import formats, images, pipeline
from gfl_tf.data.augmentations import from_config
from gfl_tf.data.batching import TrainingPlan
from gfl_tf.data.tfrecords import index
from gfl_tf.data.tfrecords.loading import load_tfrecords
from tests.data.tfrecords.examples import NUM_IMAGES, make_records

pytestmark = pytest.mark.one_stack

ARRAYS = ("boxes", "classes", "areas", "crowd_boxes", "crowd_classes")


@pytest.fixture(scope="module")
def both(tmp_path_factory):
    """(data set of files, folder of their TFRecords); not to be changed."""
    return make_records(tmp_path_factory.mktemp("both"))


def assert_same_batches(batches, others, count):
    for batch, other in itertools.islice(zip(batches, others, strict=True), count):
        tf.nest.map_structure(np.testing.assert_array_equal, batch, other)


def test_same_images_and_boxes_as_of_the_files(both):
    files, folder = both
    records = load_tfrecords(folder)
    assert len(records.images) == len(files.images) and records.class_names == files.class_names == ("cat", "dog")
    assert (records.category_ids, records.num_boxes) == (files.category_ids, files.num_boxes)
    for found, wanted in zip(records.images, files.images):
        for name in ("id", "path", "height", "width", "orientation"):
            assert getattr(found, name) == getattr(wanted, name)
        for name in ARRAYS:
            array = getattr(found, name)
            assert array.dtype == getattr(wanted, name).dtype
            np.testing.assert_array_equal(array, getattr(wanted, name))


def test_training_batches_are_those_of_the_files_bit_for_bit(both):
    files, folder = both
    options = dict(scale=(60, 40), seed=3, augmentations=from_config([dict(name="mixup")]))
    batches = [pipeline.training_batches(dataset, 4, **options) for dataset in (files, load_tfrecords(folder))]
    assert_same_batches(*batches, count=6)


def test_evaluation_batches_are_those_of_the_files_also_from_memory(both):
    files, folder = both
    batches = [
        pipeline.evaluation_batches(dataset, 4, scale=(60, 40), cache=cache)
        for dataset, cache in ((files, False), (load_tfrecords(folder), True))
    ]
    assert_same_batches(*batches, count=None)


def test_resuming_reads_no_record_that_was_seen(both, tmp_path):
    files, _ = both
    records = load_tfrecords(make_records(tmp_path)[1])
    plan = TrainingPlan([(record.height, record.width) for record in records.images], 2, [(60, 40)], seed=3)
    for batch in plan.epoch(0)[:3]:
        for image in batch.indices:
            place = records.images[image].place
            _flip(Path(place.shard), place.offset + place.length // 2)
    options = dict(scale=(60, 40), seed=3, augmentations=())
    with pytest.raises(tf.errors.InvalidArgumentError, match="cannot be read"):
        next(iter(pipeline.training_batches(records, 2, **options)))
    resumed = pipeline.training_batches(records, 2, **options, start_step=3)
    whole = pipeline.training_batches(files, 2, **options)
    assert_same_batches(whole.skip(3).take(2), resumed.take(2), count=None)


def test_classes_in_another_order(both):
    files, folder = both
    records = load_tfrecords(folder, ("dog", "bird", "cat"))
    assert (records.class_names, records.category_ids) == (("dog", "bird", "cat"), (7, None, 3))
    for found, wanted in zip(records.images, files.images):
        np.testing.assert_array_equal(found.classes, np.array([2, 0])[wanted.classes])
    with pytest.raises(ValueError, match="has dog, but .* has the classes cat, dog, with boxes of cat"):
        load_tfrecords(folder, ("dog",))


def test_format_is_found_and_refused_where_annotations_are_wanted(both):
    _, folder = both
    assert formats.guess(folder) == formats.guess(folder / index.INDEX) == "tfrecord"
    with pytest.raises(ValueError, match="has TFRecords, which gfl-train and gfl-evaluate read"):
        formats.read(folder)


def read_shards(folder):
    return index.read_index(folder)[1]


def _flip(path, place=-10):
    content = bytearray(path.read_bytes())
    content[place] ^= 1
    path.write_bytes(content)


def _of_version_2(folder):
    content = json.loads((folder / index.INDEX).read_text())
    (folder / index.INDEX).write_text(json.dumps({**content, "version": 2}))


def _leftovers(folder):
    (folder / index.INDEX).rename(folder / index.UNFINISHED)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (
            lambda folder: (folder / read_shards(folder)[1].file).unlink(),
            "shard-00001-of-00003.tfrecord is missing. Call",
        ),
        (
            lambda folder: (folder / read_shards(folder)[0].file).write_bytes(b"x"),
            "shard-00000-of-00003.tfrecord has 1 bytes in place of .*gfl-make-tfrecords again",
        ),
        (
            lambda folder: _flip(folder / index.ARRAYS),
            "annotations.npz is missing or damaged: .*gfl-make-tfrecords again",
        ),
        (lambda folder: (folder / index.INDEX).write_text("{"), "tfrecords.json cannot be read"),
        (lambda folder: (folder / index.INDEX).write_text("{}"), "is no index of gfl-make-tfrecords"),
        (_of_version_2, "is of version 2, and this gfl_tf reads version 1"),
        (_leftovers, "is not complete: the writing of its TFRecords was stopped"),
        (lambda folder: (folder / index.INDEX).unlink(), "is no folder with tfrecords.json"),
    ],
)
def test_folders_that_cannot_be_used(tmp_path, damage, message):
    _, folder = make_records(tmp_path)
    damage(folder)
    with pytest.raises(ValueError, match=message) as error:
        load_tfrecords(folder)
    assert "\n" not in str(error.value)


def test_a_flipped_byte_in_an_image_is_named_where_it_is_read(tmp_path):
    _, folder = make_records(tmp_path)
    _flip(folder / read_shards(folder)[2].file)
    records = load_tfrecords(folder)
    batches = pipeline.evaluation_batches(records, NUM_IMAGES, scale=(60, 40))
    with pytest.raises(ValueError, match="Image file .* in .*shard-00002.* cannot be read") as error:
        with images.named_errors("Skip it."):
            list(batches)
    assert str(error.value).endswith("Call gfl-make-tfrecords again as before: it writes damaged shards alone.")
