"""The input pipeline, over what it cannot do without: reading, decoding and resizing."""

import functools
import json
import pathlib
import tempfile
import time

import ml_collections
import numpy as np
import tensorflow as tf

from gfl_tf.benchmark.bench import Bench
from gfl_tf.benchmark.results import Goal, Result, Row
from gfl_tf.benchmark.rounds import once
from gfl_tf.data import images as image_ops
from gfl_tf.data import pipeline
from gfl_tf.data.coco import CocoDataset, load_coco
from gfl_tf.data.tfrecords.loading import load_tfrecords
from gfl_tf.data.tfrecords.writing import write
from gfl_tf.description.describe import default_size
from gfl_tf.serving import latency
from gfl_tf.training import batch_plan
from gfl_tf.training import config as configs

FILES, WIDTH, HEIGHT, BOXES = 32, 640, 480, 7  # of the synthetic data set: about what COCO's images are
BATCH_SIZE, BATCHES = 8, 12  # that are drawn in a round
SLOWER = 1.2  # than a batch of the pipeline alone is the step that its batches are for
SHARE, WAITING = Goal(least=0.9), Goal(most=0.02)


def measure(bench: Bench) -> Result:
    """The first detector's pipeline, with all its augmentation but one scale, on synthetic files of COCO's size."""
    result = Result()
    artifact = bench.detectors[0]
    with tempfile.TemporaryDirectory() as folder:
        dataset = synthetic(pathlib.Path(folder) / "images")
        write(dataset, pathlib.Path(folder) / "records")
        records = load_tfrecords(pathlib.Path(folder) / "records")
        config = _of_one_scale(artifact.config)
        scale = config.data.scale
        ours = {name: _training_batches(config, data) for name, data in (("COCO", dataset), ("TFRecords", records))}
        alone = _decoded_and_resized(dataset, scale)
        of = f"{artifact.name}, {WIDTH}x{HEIGHT} to {scale[0]}x{scale[1]}"
        running, pipelines = _Running(), {**ours, "alone": alone}
        rounds = bench.take_turns(
            dict.fromkeys(pipelines, running.draw),
            prepare={name: functools.partial(running.start, batches) for name, batches in pipelines.items()},
        )
        result.rounds.append(rounds)
        for name in pipelines:
            result.rows.append(Row(of, name, rounds.rate(name, BATCHES * BATCH_SIZE), "images/s"))
        for name in ours:
            result.rows.append(Row(of, f"{name} / decoding and resizing", rounds.ratio("alone", name), goal=SHARE))
        step = SLOWER * rounds.time("COCO").median / BATCHES
        waits = once(waiting(ours["COCO"], step))
        result.rows.append(Row(of, f"waiting, with a step of {1e3 * step:.0f} ms", waits, goal=WAITING))
    return result


def synthetic(folder: pathlib.Path) -> CocoDataset:
    """A data set of `FILES` JPEGs of noise in a folder, with random boxes of three classes."""
    folder.mkdir()
    rng = np.random.default_rng(0)
    encoded = latency.synthetic_jpegs([(HEIGHT, WIDTH)])
    images, annotations = [], []
    for index in range(FILES):
        (folder / f"{index}.jpg").write_bytes(encoded[0])
        images.append({"id": index, "file_name": f"{index}.jpg", "width": WIDTH, "height": HEIGHT})
        for x, y, width, height in rng.uniform(
            [0, 0, 20, 20], [WIDTH / 2, HEIGHT / 2, WIDTH / 2, HEIGHT / 2], (BOXES, 4)
        ):
            box = {"bbox": [x, y, width, height], "area": width * height, "iscrowd": 0}
            annotations.append({"id": len(annotations) + 1, "image_id": index, "category_id": index % 3, **box})
    categories = [{"id": label, "name": f"class {label}"} for label in range(3)]
    content = {"images": images, "annotations": annotations, "categories": categories}
    (folder / "annotations.json").write_text(json.dumps(content))
    return load_coco(folder / "annotations.json", folder)


def waiting(batches: tf.data.Dataset, step: float) -> float:
    """The share of the time in which a step of so many seconds, that needs no processor, waits for its batch."""
    waited, iterator = 0.0, iter(batches)
    next(iterator)
    for _ in range(BATCHES):
        time.sleep(step)
        start = time.perf_counter()
        next(iterator)
        waited += time.perf_counter() - start
    return waited / (waited + BATCHES * step)


def _of_one_scale(config):
    """A complete config, whose images all have one scale: others would be more or less work than what is compared."""
    config = configs.complete(ml_collections.ConfigDict(config.to_dict()))
    height, width = default_size(config)
    config.data.update(scale=(max(height, width), min(height, width)), short_side_range=(), long_side_range=())
    return config


def _training_batches(config, dataset):
    plan = batch_plan.arguments(config, main_steps=config.train.epochs)
    return pipeline.training_batches(dataset, BATCH_SIZE, **plan)


def _decoded_and_resized(dataset, scale):
    def load(path):
        image = tf.io.decode_jpeg(tf.io.read_file(path), channels=3)
        return image_ops.resize_keep_ratio(image, scale)

    paths = tf.data.Dataset.from_tensor_slices([record.path for record in dataset.images]).repeat()
    loaded = paths.map(load, num_parallel_calls=tf.data.AUTOTUNE)
    return loaded.batch(BATCH_SIZE, drop_remainder=True).prefetch(tf.data.AUTOTUNE)


class _Running:
    """One pipeline at a time, which runs while its batches are drawn: its successor ends it, before its own time
    begins, as an end may take a second."""

    def __init__(self):
        self._iterator = None

    def start(self, batches):
        self._iterator = None
        self._iterator = iter(batches)
        next(self._iterator)

    def draw(self):
        for _ in range(BATCHES):
            next(self._iterator)
