"""Runs and evaluations whose detections are made up: no detector is needed."""

import json

import ml_collections
import numpy as np
import pytest
from PIL import Image

from gfl_tf.evaluation import edges, scores
from gfl_tf.evaluation.coco import CocoEvaluator
from gfl_tf.evaluation.matches import Matches
from gfl_tf.training import fields, provenance
from gfl_tf.training.config import load_split
from gfl_tf.training.run_dir import RunDirectory

NUM_IMAGES = 12


@pytest.fixture
def config(tmp_path):
    """Of a run whose validation data are 12 images of up to three objects of two classes; of a third there is none."""
    rng = np.random.default_rng(0)
    corners = rng.uniform(0, 30, [NUM_IMAGES, 3, 2])
    sides = rng.uniform(12, 30, [NUM_IMAGES, 3, 2])
    annotations = [
        {"id": 3 * image + row, "image_id": image, "category_id": 1 + (image + row) % 2, "bbox": [*corner, *side]}
        for image in range(NUM_IMAGES)
        for row, (corner, side) in enumerate(zip(corners[image].tolist()[: image % 4], sides[image].tolist()))
    ]
    (tmp_path / "val").mkdir()
    for image in range(NUM_IMAGES):
        Image.fromarray(np.full([64, 64, 3], 20 * image, np.uint8)).save(tmp_path / "val" / f"{image}.png")
    content = {
        "images": [{"id": i, "file_name": f"{i}.png", "height": 64, "width": 64} for i in range(NUM_IMAGES)],
        "annotations": annotations,
        "categories": [{"id": number, "name": name} for number, name in enumerate(("cat", "dog", "<cow>"), 1)],
    }
    (tmp_path / "val.json").write_text(json.dumps(content))
    config = fields.filled(ml_collections.ConfigDict({"name": "made-up", "model": {}}))
    config.data.update(
        val_annotations=str(tmp_path / "val.json"),
        val_images=str(tmp_path / "val"),
        class_names=("cat", "dog", "<cow>"),
    )
    return config


def write_evaluation(folder, config, noise, made_of=None):
    """What gfl-evaluate writes, of a detector that finds all objects, `noise` pixels off, and one that is not there."""
    rng = np.random.default_rng(1)
    dataset = load_split(config, "val")
    evaluator, found = CocoEvaluator(dataset), Matches()
    for index, record in enumerate(dataset.images):
        boxes = np.concatenate([record.boxes + rng.normal(0, noise, record.boxes.shape), [[1, 1, 9, 9]]])
        of_image = {
            "boxes": np.clip(boxes, 0, 64),
            "classes": np.append(record.classes, 0),
            "confidence": np.append(rng.uniform(0.5, 1, len(record.boxes)), 0.4),
            "edge_stddev": np.full([len(boxes), 4], 2.0),
            "point_strides": np.full(len(boxes), 8),
        }
        evaluator.add(record.id, of_image)
        found.add(index, record, of_image, (64, 64))
    result = evaluator.result()
    metrics = {
        **result.to_dict(),
        "scores": scores.summary(found.scored()),
        "edges": edges.summary(found.edges(), None, dataset.class_names),
        "evaluated": {**(made_of or {}), **provenance.of_data(config, dataset)},
    }
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "metrics.json").write_text(json.dumps(metrics))
    with open(folder / "detections.json", "w") as file:
        result.detections.write(file)
    return result, metrics, folder


@pytest.fixture
def evaluation(tmp_path, config):
    """evaluation(name, noise) -> path of a folder as gfl-evaluate writes it."""
    return lambda name, noise: str(write_evaluation(tmp_path / name, config, noise)[2])


@pytest.fixture
def run(tmp_path, config):
    """run(name) -> path of a run directory whose weights are of no use."""

    def make(name):
        made = RunDirectory(tmp_path / name)
        made.start(config)
        made.weights_file("best").write_bytes(name.encode())
        return str(made.path)

    return make
