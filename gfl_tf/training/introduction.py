"""What a run says at its start: data, replicas and workers, steps, learning rate."""

import os
import socket

from gfl_tf.data.batching import steps_per_epoch as batches_in_pass
from gfl_tf.dataset_check.check import summary_lines
from gfl_tf.texts import first_ones
from gfl_tf.training import fields
from gfl_tf.training.schedule import scaled_learning_rate, warmup_steps
from gfl_tf.training.strategy import describe

MOST_CLASSES = 8


def host():
    """Who this process is, in words."""
    return f"process {os.getpid()} on {socket.gethostname()}"


def lines(config, data, steps, strategy, hosts, step):
    """Lines of text.

    Args:
        config: a run's resolved config.
        data: (`CocoDataset` of the training, of the validation or None, address of a tf.data service or None).
        steps: (of an epoch, in all).
        strategy: the `tf.distribute.Strategy`.
        hosts: `host` of each worker.
        step: from which the run goes on; 0: it is new.
    """
    train_data, val_data, data_service = data
    train, scale, classes = config.train, config.data.scale, config.data.class_names
    listed = ", ".join(first_ones(classes, MOST_CLASSES))
    epochs = f"{train.epochs} + {train.swa_epochs}" if train.swa_epochs else train.epochs
    steps_per_epoch, total_steps = steps
    return [
        *([] if step else summary_lines(train_data, scale)),
        f"{config.name}: {len(train_data.images)} training images, {len(classes)} classes ({listed})",
        *_held_out(val_data, config.data),
        f"images resized to at most {max(scale)} x {min(scale)} pixels",
        f"{total_steps} steps: {epochs} epochs of {steps_per_epoch}, batch {train.batch_size} "
        f"{describe(strategy)}, {config.precision}{_about_memory(train)}",
        *_shares(config, len(train_data.images), strategy, hosts),
        f"learning rate {scaled_learning_rate(train):.4g} = {train.learning_rate:.4g} x {train.batch_size} / "
        f"{train.base_batch_size} (batch / base_batch_size), after a warm-up of "
        f"{warmup_steps(train, steps_per_epoch)} steps",
        *(_about_averaging(train) if train.swa_epochs else []),
        *([f"learns from {train.teacher}, too, whose forward pass is part of each step"] if train.teacher else []),
        *_about_service(data_service, config.data.cache),
        f"Going on from step {step}." if step else "The first step of each image size takes long: it compiles.",
    ]


def _held_out(val_data, data):
    told = []
    if "val" in fields.held_out(data):
        told.append(
            f"{len(val_data.images)} more images are held out of the training data, to evaluate (config.data.val_share)"
        )
    if data.calibration_share:
        told.append(f"{data.calibration_share:.0%} of the training data are held out for gfl-calibrate")
    return told


def _shares(config, num_images, strategy, hosts):
    """Which images each worker and replica gets, and the seeds."""
    replicas, batch_size = strategy.num_replicas_in_sync, config.train.batch_size
    if replicas == 1:
        return []
    share = batch_size // len(hosts)
    repeated = batches_in_pass(num_images, batch_size) * batch_size - num_images
    told = [
        f"every batch is shared: {batch_size // replicas} images for each of {replicas} replicas. No image comes twice "
        f"in a pass over the images" + (f", but for {repeated} that fill its last batch" if repeated else "")
    ]
    if len(hosts) > 1:
        told += [
            f"worker {index} ({name}) has images {index * share + 1} to {(index + 1) * share} of each batch"
            for index, name in enumerate(hosts)
        ]
    told.append(
        f"seed {config.seed} for all: weights and order are the same everywhere, and each image has random numbers of "
        "its own"
    )
    return told


def _about_service(address, cache):
    uncached = "; config.data.cache has no effect" if cache else ""
    return [f"batches come from the tf.data service at {address}{uncached}"] if address else []


def _about_memory(train):
    parts = f", each batch in {train.micro_batches} parts one after the other" if train.micro_batches > 1 else ""
    return parts + ", with results made again in the backward pass" * train.recompute


def _about_averaging(train):
    peak = scaled_learning_rate(train, train.swa_learning_rate)
    return [
        f"weight averaging in the last {train.swa_epochs} epochs: {train.swa_epochs // train.swa_cycle_epochs} times a "
        f"learning rate from {peak:.4g} to {train.swa_final_factor * peak:.4g}"
    ]
