"""On which devices a run computes."""

import functools
import os

import tensorflow as tf
from absl import logging

STRATEGIES = ("auto", "one_device", "mirrored")
NVIDIA_DRIVER = "/proc/driver/nvidia/version"


def build_strategy(name):
    """The `tf.distribute` strategy of a name.

    "one_device": the first GPU, or the CPU. "mirrored": a replica on each GPU (without GPUs: on each logical CPU
    device). "auto": "mirrored" where there is more than one GPU.

    Raises:
        ValueError: unknown name.
    """
    if name not in STRATEGIES:
        raise ValueError(f"strategy is {name!r}; choose one of {', '.join(STRATEGIES)}")
    gpus = tf.config.list_logical_devices("GPU")
    if not gpus and os.path.exists(NVIDIA_DRIVER) and os.environ.get("CUDA_VISIBLE_DEVICES") not in ("", "-1"):
        logging.warning(
            "There is an NVIDIA driver, but TensorFlow finds no GPU and takes the CPU. Its libraries are an extra: "
            'pip install "gfl_tf[gpu]"; see docs/install.md'
        )
    if name == "one_device" or (name == "auto" and len(gpus) < 2):
        return tf.distribute.get_strategy()
    devices = gpus or tf.config.list_logical_devices("CPU")
    return _mirrored(tuple(device.name for device in devices))


@functools.cache
def _mirrored(devices):
    """One for all trainings of a process: the collectives of a second one would have the keys of the first's."""
    return tf.distribute.MirroredStrategy(list(devices))


def check_batch_size(batch_size, strategy):
    """Raises ValueError unless the replicas can share the global batch evenly."""
    replicas = strategy.num_replicas_in_sync
    if batch_size < 1 or batch_size % replicas:
        raise ValueError(
            f"config.train.batch_size is {batch_size}, the batch over all replicas; with {replicas} of them it must be "
            f"a multiple of {replicas}"
        )
