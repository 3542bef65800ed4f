"""Trains each detector for 10 steps; run by test_replicas.py in processes of one, two and four CPU devices, and as two
workers of a cluster.

    python replicas_script.py FOLDER STRATEGY NUM_DEVICES DETECTOR ...

FOLDER/STRATEGY-NUM_DEVICES-DETECTOR is the run directory; FOLDER/shapes has the data: see `write_data`.
"""

import json
import pathlib
import sys

import tensorflow as tf

from gfl_tf.build import default_model
from gfl_tf.config_files import load_config
from gfl_tf.data import batching, shapes
from gfl_tf.training import fit

TINY = pathlib.Path(__file__).parent / "tiny.py"
BATCH_SIZE = 4
NUM_IMAGES = 10 * BATCH_SIZE
TAUGHT = "taught_gfl"  # GFL with a teacher, FOLDER/teacher


def write_data(folder):
    """Images of which every second one has no box, so that replicas of one and of two images come to have none."""
    paths = shapes.write_shapes(folder / "shapes", num_train=NUM_IMAGES, num_val=1, image_size=(64, 64))
    annotations, _ = paths["train"]
    content = json.loads(annotations.read_text())
    content["annotations"] = [each for each in content["annotations"] if each["image_id"] % 2]
    annotations.write_text(json.dumps(content))
    return content


def config_of(detector, folder):
    config = load_config(TINY)
    backbone = config.model.backbone.to_dict()
    config.name, config.model = detector, default_model("gfl" if detector == TAUGHT else detector)
    config.model.backbone = backbone
    config.model.neck.channels = 16
    config.model.head.update(channels=16, num_convs=1, groups=4)
    config.data.source, config.data.keep_empty = "coco", True  # with no validation data
    config.data.train_annotations = str(folder / "shapes" / "annotations" / "train.json")
    config.data.train_images = str(folder / "shapes" / "train")
    config.train.update(
        batch_size=BATCH_SIZE, epochs=1, learning_rate=0.01, warmup_steps=2, warmup_share=0.5, milestones=(),
        clip_norm=10.0, log_every=1,
    )  # fmt: skip
    if detector == TAUGHT:
        config.train.teacher = str(folder / "teacher")
    return config


def empty_shares(content, replicas, seed):
    """How many of the replicas' shares in the training have no box."""
    sizes = [(image["height"], image["width"]) for image in content["images"]]
    with_boxes = {each["image_id"] for each in content["annotations"]}
    plan = batching.TrainingPlan(sizes, BATCH_SIZE, [(64, 64)], seed=seed)
    shares = [share for batch in plan.epoch(0) for share in batch.indices.reshape(replicas, -1)]
    return sum(not any(content["images"][index]["id"] in with_boxes for index in share) for share in shares)


def main(folder, strategy, num_devices, *detectors):
    cpu = tf.config.list_physical_devices("CPU")[0]
    tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * int(num_devices))
    folder = pathlib.Path(folder)
    for detector in detectors:
        fit.train(config_of(detector, folder), folder / f"{strategy}-{num_devices}-{detector}", strategy)


if __name__ == "__main__":
    main(*sys.argv[1:])
