"""User code with `model.fit`, on one process or as a worker of a cluster; run by test_workers.py.

    python fit_script.py FOLDER HOW

HOW: "whole", batches as they are; "own", with `distribute_datasets_from_function`. Writes the weights to
FOLDER/HOW-WORKER.npz and prints what it saw as JSON.
"""

import json
import os
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


def main(folder, how):
    worker = TF_CONFIG["task"]["index"] if TF_CONFIG else "alone"
    dataset = load_coco(f"{folder}/shapes/annotations/train.json", f"{folder}/shapes/train", keep_empty=True)
    options = dict(batch_size=4, scale=(64, 64), seed=3)
    if how == "own":
        batches = strategy.distribute_datasets_from_function(
            lambda context: pipeline.training_batches(dataset, **options, input_context=context)
        )
    else:
        batches = pipeline.training_batches(dataset, **options)
    distributed = batches if how == "own" else strategy.experimental_distribute_dataset(batches)
    first = next(iter(distributed))[0]
    sums = [np.sum(part, (1, 2, 3)).round().tolist() for part in strategy.experimental_local_results(first)]
    keras.utils.set_random_seed(0)
    with strategy.scope():
        config = replicas_script.config_of("gfl", replicas_script.pathlib.Path(folder))
        config.model.num_classes = dataset.num_classes
        model = build_detector(config)
        model.compile(optimizer=keras.optimizers.SGD(0.002, momentum=0.9, global_clipnorm=10.0))
    history = model.fit(batches, steps_per_epoch=5, epochs=2, verbose=0)
    arrays = {name: variable.numpy() for name, variable in weight_file.named_variables(model).items()}
    np.savez(f"{folder}/{how}-{worker}.npz", **arrays)
    print(json.dumps({"first": sums, "loss": history.history["loss"]}))
    evaluated = model.evaluate(pipeline.evaluation_batches(dataset, 4, scale=(64, 64)), verbose=0, return_dict=True)
    print(json.dumps({"evaluate": evaluated["loss"]}))


if __name__ == "__main__":
    main(*sys.argv[1:])
