"""Where a training tells how it goes: the screen, train.log, TensorBoard; of several workers the first one alone."""

import contextlib
import os

import tensorflow as tf

from gfl_tf.training.progress import Progress


@contextlib.contextmanager
def opened(run, workers):
    """Context that yields the `Progress` of a run, and in which summaries are written.

    Args:
        run: `RunDirectory`.
        workers: `Workers`.

    Raises:
        OSError: the folder of the summaries, or the log, cannot be written.
    """
    if workers.is_first:
        with contextlib.closing(Progress(run.log_file)) as progress, _tensorboard(run.logs):
            yield progress
        return
    print(f"worker {workers.index} of {workers.count} is under way; worker 0 tells of it", flush=True)
    with open(os.devnull, "w", encoding="utf-8") as nowhere, tf.summary.create_noop_writer().as_default():
        with contextlib.closing(Progress(os.devnull, stream=nowhere)) as progress:
            yield progress


@contextlib.contextmanager
def _tensorboard(folder):
    try:
        with contextlib.closing(tf.summary.create_file_writer(str(folder))) as writer, writer.as_default():
            yield
    except tf.errors.OpError as error:
        if "tfevents" not in error.message:
            raise
        raise OSError(f"{folder} cannot be written: {error.message.splitlines()[0]}") from error
