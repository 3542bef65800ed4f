"""Trains three steps with each strategy; run by test_strategy.py in a process, which then has two CPU devices."""

import sys

import numpy as np
import tensorflow as tf

from gfl_tf.build import load_config
from gfl_tf.data.shapes import write_shapes
from gfl_tf.training import fit


def main(config_file, shapes_directory, run_dir):
    cpu = tf.config.list_physical_devices("CPU")[0]
    tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
    data = write_shapes(shapes_directory, num_train=12, num_val=1, image_size=(64, 64))
    weights = {}
    for strategy in ("one_device", "mirrored"):
        config = load_config(config_file)
        config.data.source = "coco"  # with no validation data
        config.data.train_annotations, config.data.train_images = map(str, data["train"])
        config.train.epochs = 1
        config.train.clip_norm = 5.0
        config.train.warmup_steps = 0
        config.train.ema_momentum = 0.5
        model = fit.train(config, f"{run_dir}/{strategy}", strategy).model
        weights[strategy] = [weight.numpy() for weight in model.trainable_variables]
        weights[strategy] += [slot.numpy() for slot in model.optimizer.variables]
    named = {f"{key}-{index}": array for key, arrays in weights.items() for index, array in enumerate(arrays)}
    np.savez(f"{run_dir}/weights.npz", **named)


if __name__ == "__main__":
    main(*sys.argv[1:])
