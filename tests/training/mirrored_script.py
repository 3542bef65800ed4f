"""Trains a few steps with each strategy; run by test_strategy.py in a process, which then has two CPU devices."""

import sys

import keras
import numpy as np
import tensorflow as tf

from gfl_tf.checkpoints.weight_file import layer_variables
from gfl_tf.config_files import load_config
from gfl_tf.data.shapes import write_shapes
from gfl_tf.layers.batch_norm import BatchNormalization
from gfl_tf.training import fit
from gfl_tf.training.averaging import WeightAverage
from gfl_tf.training.run_dir import load_run
from gfl_tf.training.strategy import build_strategy

AVERAGES = {"moving": {"ema_momentum": 0.5}, "stochastic": {"swa_epochs": 1}}


def main(config_file, shapes_directory, run_dir):
    cpu = tf.config.list_physical_devices("CPU")[0]
    tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
    data = write_shapes(shapes_directory, num_train=12, num_val=1, image_size=(64, 64))
    arrays = {}
    fit.pipeline.training_batches = spoiled(fit.pipeline.training_batches)
    for strategy in ("one_device", "mirrored"):
        for average, fields in AVERAGES.items():
            config = load_config(config_file)
            config.data.source = "coco"  # with no validation data
            config.data.train_annotations, config.data.train_images = map(str, data["train"])
            config.train.update(epochs=1, milestones=(), clip_norm=5.0, warmup_steps=0, **fields)
            config.train.on_divergence = "skip"
            directory = f"{run_dir}/{strategy}-{average}"
            model = fit.train(config, directory, strategy).model
            kept, _ = load_run(directory, "last")
            arrays[strategy, average] = [*model.trainable_variables, *model.optimizer.variables, *kept.weights]
        arrays[strategy, "statistics"] = batch_statistics(strategy)
    named = {"-".join(key): values for key, values in arrays.items()}
    named = {f"{key}-{index}": value.numpy() for key, values in named.items() for index, value in enumerate(values)}
    np.savez(f"{run_dir}/weights.npz", **named)


def spoiled(training_batches):
    """The batches, in the second of which a box of the last image, so of one replica, is no number."""

    def spoil(number, batch, replicas):
        """`number`: of a batch of one replica."""
        images, labels = batch
        is_spoiled = (number == 2 * replicas - 1) & (tf.range(len(images)) == len(images) - 1)
        factor = tf.where(is_spoiled, float("nan"), 1.0)[:, tf.newaxis, tf.newaxis]
        return images, {**labels, "boxes": factor * labels["boxes"]}

    def batches(*args, start_step, input_context, **arguments):
        whole = training_batches(*args, start_step=start_step, input_context=input_context, **arguments)
        replicas = input_context.num_replicas_in_sync
        numbered = whole.enumerate(start_step * replicas)
        return numbered.map(lambda number, batch: spoil(number, batch, replicas)) if start_step < 3 else whole

    return batches


def batch_statistics(strategy):
    """Those of a weight average after a cycle, from two batches, of which each device of several has its part."""
    images = np.random.default_rng(0).normal(size=(2, 4, 5, 5, 3)).astype(np.float32)
    strategy = build_strategy(strategy)
    if strategy.num_replicas_in_sync == 1:
        images = images.reshape(4, 2, 5, 5, 3)  # the same parts, one after the other
    batches = tf.data.Dataset.from_tensor_slices(images).map(lambda batch: (batch, {"boxes": batch, "classes": batch}))
    keras.utils.set_random_seed(0)
    with strategy.scope():
        model = keras.Sequential([keras.layers.Conv2D(3, 3), BatchNormalization()])
        model.build((None, 5, 5, 3))
        average = WeightAverage(model, layer_variables(model), strategy)
    average.end_cycle(lambda: iter(strategy.experimental_distribute_dataset(batches)), len(images))
    own = [tf.constant(value) for value in model.get_weights()]
    with average.applied():
        return [*own, *(tf.constant(value) for value in model.get_weights())]


if __name__ == "__main__":
    main(*sys.argv[1:])
