"""Trains with `recompute` and `micro_batches`, on one device and on two replicas, and without; run by
test_less_memory.py in a process, which then has two CPU devices.

    python less_memory_script.py FOLDER

FOLDER/NAME is the run directory of each of `RUNS`.
"""

import os
import pathlib
import signal
import sys

import tensorflow as tf

from gfl_tf.training import fit
from gfl_tf.training.report import StepReport
from tests.training import replicas_script

LESS = {"recompute": True, "micro_batches": 2}
# name: (strategy, `config.train`)
RUNS = {"plain": ("one_device", {}), "less": ("one_device", LESS), "mirrored": ("mirrored", LESS)}
STEPS = 10
SPOILED = 3  # this step makes no update


def main(folder):
    cpu = tf.config.list_physical_devices("CPU")[0]
    tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
    folder = pathlib.Path(folder)
    replicas_script.write_data(folder)
    fit.pipeline.training_batches = spoiled(fit.pipeline.training_batches)
    for name, (strategy, fields) in RUNS.items():
        fit.train(config_of(folder, fields), folder / name, strategy)
    stop_at(5)
    fit.train(config_of(folder, LESS), folder / "stopped", "one_device")
    fit.train(None, folder / "stopped", "one_device")


def config_of(folder, fields):
    config = replicas_script.config_of("gfl", folder)
    config.train.update(on_divergence="skip", ema_momentum=0.5, **fields)
    return config


def spoiled(training_batches):
    """The batches, in one of which a box of the last image is no number."""

    def spoil(number, batch):
        images, labels = batch
        is_last = tf.range(len(images)) == replicas_script.BATCH_SIZE // 2 - 1
        factor = tf.where((number == SPOILED - 1) & is_last, float("nan"), 1.0)[:, tf.newaxis, tf.newaxis]
        return images, {**labels, "boxes": factor * labels["boxes"]}

    def batches(*args, start_step, input_context, **arguments):
        whole = training_batches(*args, start_step=start_step, input_context=input_context, **arguments)
        replicas = input_context.num_replicas_in_sync
        return whole.enumerate(start_step * replicas).map(lambda number, batch: spoil(number // replicas, batch))

    return batches


def stop_at(step):
    """The training that makes this step next stops after it."""
    step_done, is_over = StepReport.step_done, []

    def stop(self, number, *args):
        if number == step and not is_over:
            is_over.append(True)
            os.kill(os.getpid(), signal.SIGINT)
        return step_done(self, number, *args)

    StepReport.step_done = stop


if __name__ == "__main__":
    main(*sys.argv[1:])
