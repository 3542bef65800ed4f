"""On which devices a run computes."""

import functools
import os

import tensorflow as tf
from absl import logging

from gfl_tf.training import cluster_config

STRATEGIES = ("auto", "one_device", "mirrored", "multi_worker", "tpu")
NVIDIA_DRIVER = "/proc/driver/nvidia/version"


def build_strategy(name):
    """The `tf.distribute` strategy of a name.

    "one_device": the first GPU, or the CPU. "mirrored": a replica on each GPU (without GPUs: on each logical CPU
    device). "multi_worker": the same on each of several machines, see `cluster_config`; before TensorFlow computes
    anything. "tpu": the TPU of TPU_NAME, or of this machine. "auto": "multi_worker" where TF_CONFIG names several
    workers, else "mirrored" where there is more than one GPU.

    Raises:
        ValueError: unknown name, or what it needs is not there.
    """
    if name not in STRATEGIES:
        raise ValueError(f"strategy is {name!r}; choose one of {', '.join(STRATEGIES)}")
    if name == "multi_worker" or (name == "auto" and cluster_config.num_workers() > 1):
        return _multi_worker()
    if name == "tpu":
        return _tpu()
    gpus = tf.config.list_logical_devices("GPU")
    _warn_of_missing_gpus(gpus)
    if name == "one_device" or (name == "auto" and len(gpus) < 2):
        return tf.distribute.get_strategy()
    devices = gpus or tf.config.list_logical_devices("CPU")
    return _mirrored(tuple(device.name for device in devices))


def describe(strategy):
    """What was chosen, in words, such as "on 2 GPU devices, MirroredStrategy"."""
    replicas = strategy.num_replicas_in_sync
    kinds = [kind for kind in ("TPU", "GPU") if tf.config.list_logical_devices(kind)]
    kind = kinds[0] if kinds else "CPU"
    devices = f"on {replicas} {kind} {'device' if replicas == 1 else 'devices'}"
    return devices if strategy is tf.distribute.get_strategy() else f"{devices}, {type(strategy).__name__}"


def _warn_of_missing_gpus(gpus):
    if not gpus and os.path.exists(NVIDIA_DRIVER) and os.environ.get("CUDA_VISIBLE_DEVICES") not in ("", "-1"):
        logging.warning(
            "There is an NVIDIA driver, but TensorFlow finds no GPU and takes the CPU. Its libraries are an extra: "
            'pip install "gfl_tf[gpu]"; see docs/install.md'
        )


@functools.cache
def _mirrored(devices):
    """One for all trainings of a process: the collectives of a second one would have the keys of the first's."""
    return tf.distribute.MirroredStrategy(list(devices))


@functools.cache
def _multi_worker():
    """One for all trainings of a process, which can join a cluster once."""
    source = cluster_config.set_up()
    logging.info("%d workers, from %s; waiting for all of them.", cluster_config.num_workers(), source)
    try:
        strategy = tf.distribute.MultiWorkerMirroredStrategy()
    except (RuntimeError, tf.errors.OpError) as error:
        config = os.environ[cluster_config.VARIABLE]
        raise ValueError(f"the workers of {config} do not come together: {str(error).splitlines()[0]}") from error
    _warn_of_missing_gpus(tf.config.list_logical_devices("GPU"))
    return strategy


@functools.cache
def _tpu():
    try:
        resolver = tf.distribute.cluster_resolver.TPUClusterResolver.connect()
    except (ValueError, OSError, RuntimeError, tf.errors.OpError) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise ValueError(
            f"--strategy=tpu: no TPU can be reached ({reason}). Set TPU_NAME to its name, or to 'local' on its own "
            "machine."
        ) from error
    return tf.distribute.TPUStrategy(resolver)


def check_batch_size(batch_size, strategy, micro_batches=1):
    """Raises ValueError unless the replicas, and the micro-batches in each of them, can share the global batch
    evenly."""
    replicas = strategy.num_replicas_in_sync
    if batch_size < 1 or batch_size % replicas:
        raise ValueError(
            f"config.train.batch_size is {batch_size}, the batch over all replicas; with {replicas} of them it must be "
            f"a multiple of {replicas}"
        )
    share = batch_size // replicas
    if share % micro_batches:
        raise ValueError(
            f"config.train.micro_batches is {micro_batches}, into which the {share} images of a replica's share of "
            f"config.train.batch_size do not divide: choose a divisor of {share}"
        )
