"""User code with `model.fit`, on one process or as a worker of a cluster; run by test_workers.py.

    python fit_script.py FOLDER

Writes the weights to FOLDER/WORKER.npz, and prints the sums of the first images that it got and its losses as JSON.
"""

import json
import os
import pathlib
import sys

import keras
import numpy as np
import tensorflow as tf

TF_CONFIG = json.loads(os.environ.get("TF_CONFIG", "null"))
strategy = tf.distribute.MultiWorkerMirroredStrategy() if TF_CONFIG else tf.distribute.get_strategy()

from gfl_tf.build import build_detector  # noqa: E402  (the strategy is first)
from gfl_tf.checkpoints import weight_file  # noqa: E402
from gfl_tf.data import pipeline  # noqa: E402
from gfl_tf.data.coco import load_coco  # noqa: E402
from tests.training import replicas_script  # noqa: E402


def main(folder):
    folder = pathlib.Path(folder)
    worker = TF_CONFIG["task"]["index"] if TF_CONFIG else "alone"
    dataset = load_coco(folder / "shapes/annotations/train.json", folder / "shapes/train")
    batches = pipeline.training_batches(dataset, 4, scale=(64, 64), seed=3)
    images, _ = next(iter(strategy.experimental_distribute_dataset(batches)))
    (own,) = strategy.experimental_local_results(images)
    keras.utils.set_random_seed(0)
    with strategy.scope():
        config = replicas_script.config_of("gfl", folder)
        config.model.num_classes = dataset.num_classes
        model = build_detector(config)
        model.compile(optimizer=keras.optimizers.SGD(0.002, momentum=0.9, global_clipnorm=10.0))
    history = model.fit(batches, steps_per_epoch=5, epochs=2, verbose=0).history
    arrays = {name: variable.numpy() for name, variable in weight_file.named_variables(model).items()}
    np.savez(folder / f"{worker}.npz", **arrays)
    print(json.dumps({"first": np.sum(own, (1, 2, 3)).round().tolist(), "loss": history["loss"]}))


if __name__ == "__main__":
    main(*sys.argv[1:])
