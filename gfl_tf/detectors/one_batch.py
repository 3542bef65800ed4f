"""When `predict` can do without an input pipeline.

Keras sets one up in every call: measured on two cores, 70 ms of processor time on Keras 3, of which nothing is left
to see in the result. A small detector computes for 10 ms.
"""

import typing

import keras
import numpy as np
import tensorflow as tf

KERAS_BATCH_SIZE = 32  # where `batch_size` is None


def is_one(
    model: keras.Model,
    images: typing.Any,
    batch_size: int | None = None,
    verbose: str | int = "auto",
    steps: int | None = None,
    callbacks: typing.Any = None,
    **others: typing.Any,
) -> bool:
    """Whether `model.predict` with these arguments computes one batch on one device, and nobody watches it.

    A progress bar is drawn where it is asked for by `verbose=1` or 2; "auto" means none for one batch.
    """
    is_watched = verbose not in ("auto", 0) or callbacks or steps is not None or others
    if is_watched or not isinstance(images, (np.ndarray, tf.Tensor)):
        return False
    is_single = model.distribute_strategy.num_replicas_in_sync == 1
    return is_single and images.ndim == 4 and 0 < images.shape[0] <= (batch_size or KERAS_BATCH_SIZE)
