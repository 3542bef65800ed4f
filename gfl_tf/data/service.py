"""Batches that other machines decode and augment: the tf.data service.

The n-th of w workers makes the batches n, n + w, n + 2 w and so on of the plan, in a job of its own. So each batch is
made once, and the batches are those of a training without the service, in their order, bit for bit. The service's own
ways to share a data set keep no order: even its coordinated reads pass over a worker that is slow for a moment.
"""

import collections.abc
import concurrent.futures
import contextlib
import itertools
import re
import socket
import threading
import time

import numpy as np
import tensorflow as tf
from tensorflow.data.experimental import SHARD_HINT, service

WAIT_SECONDS = 60  # for workers that are not there yet
BATCH_SECONDS = 300  # for a batch
CONNECT_SECONDS = 5
OUTSTANDING = 2  # batches of a worker on their way, beside those that it has ready
MOST_BYTES = 2**30  # of the plan, which is part of the graph that is sent; a graph has at most 2 GiB
_MESSAGE_START = "The data service gave batch "
_REMEDY = "Start its dispatcher and all its workers anew, then go on with the run."


def read(
    make: collections.abc.Callable[[tf.data.Dataset], tf.data.Dataset],
    plan: collections.abc.Iterable[tuple],
    signature: tuple[tf.TensorSpec, ...],
    address: str,
    start_step: int,
    end_step: int,
) -> tf.data.Dataset:
    """The batches of a plan, made by the workers of a service.

    Args:
        make: of a data set with rows of the plan, the data set of (step, batch).
        plan: endless tuples of integers or arrays, the first for step `start_step`.
        signature: of each element of a tuple.
        address: HOST:PORT of the dispatcher.
        start_step, end_step: of the first batch, and behind the last one.

    Returns:
        Data set of the batches alone.

    Raises:
        ValueError: no dispatcher answers, a worker is missing, or the plan is too long.
        InvalidArgumentError: while batches are drawn: one is not the next, as where a worker was started anew.
    """
    # A generator of Python cannot be sent to a worker.
    taken = itertools.islice(plan, end_step - start_step)
    columns = [np.asarray(column, spec.dtype.as_numpy_dtype) for column, spec in zip(zip(*taken), signature)]
    size = sum(column.nbytes for column in columns)
    if size > MOST_BYTES:
        raise ValueError(
            f"--data_service: the plan of {end_step - start_step} batches takes {size / 2**30:.1f} GiB, and at most "
            f"{MOST_BYTES / 2**30:.0f} GiB can be sent: train without it, or for fewer epochs"
        )
    target = f"grpc://{address}"
    num_workers = _count_workers(target, address)

    def of_worker(number):
        own = tuple(tf.constant(column[number::num_workers]) for column in columns)
        # The shard of the n-th worker is n: all others have nothing to do in this job.
        is_own = tf.data.Dataset.range(num_workers).shard(SHARD_HINT, SHARD_HINT).filter(lambda n: n == number)
        batches = make(is_own.flat_map(lambda _: tf.data.Dataset.from_tensor_slices(own)))
        return batches.apply(
            service.distribute(service.ShardingPolicy.HINT, target, max_outstanding_requests=OUTSTANDING)
        )

    in_turn = tf.data.Dataset.choose_from_datasets(
        [of_worker(number) for number in range(num_workers)], tf.data.Dataset.range(num_workers).repeat()
    )
    return in_turn.enumerate(start_step).map(_checked)


def _checked(expected, numbered_batch):
    step, batch = numbered_batch
    text = tf.strings.join([
        _MESSAGE_START, tf.strings.as_string(step), " in place of ", tf.strings.as_string(expected),
        ": a worker was started anew, or late. ", _REMEDY,
    ])  # fmt: skip
    with tf.control_dependencies([tf.debugging.Assert(step == expected, [text], summarize=1)]):
        return tf.nest.map_structure(tf.identity, batch)


def _count_workers(target, address):
    """How many workers the dispatcher knows, once all of them are there."""
    host, _, port = address.rpartition(":")
    try:
        socket.create_connection((host, int(port)), CONNECT_SECONDS).close()
    except (OSError, ValueError, OverflowError) as error:
        raise ValueError(
            f"--data_service={address}: no dispatcher answers there ({error}). It is HOST:PORT; docs/scale.md says how "
            "to start one"
        ) from error
    deadline = time.monotonic() + WAIT_SECONDS
    try:
        [[first, second]] = _within(WAIT_SECONDS, lambda: _numbers(target, 2**31, 2, 1))
        while len(_within(WAIT_SECONDS, lambda: _numbers(target, second - first, 1, -1))) < second - first:
            if time.monotonic() > deadline:
                raise TimeoutError
            time.sleep(0.5)
    except TimeoutError as error:
        raise ValueError(
            f"--data_service={address}: after {WAIT_SECONDS} seconds not all workers are there that its dispatcher was "
            "started with. docs/scale.md says how to start them"
        ) from error
    except tf.errors.OpError as error:
        raise ValueError(
            f"--data_service={address}: start its dispatcher with the addresses of its workers, as docs/scale.md says "
            f"({error.message.splitlines()[0]})"
        ) from error
    return second - first


def _numbers(target, end, size, count):
    """The first `count` lists of `size` numbers below `end`; the n-th of w workers has n, n + w, n + 2 w ..."""
    numbers = tf.data.Dataset.range(end).shard(SHARD_HINT, SHARD_HINT).batch(size)
    numbers = numbers.apply(service.distribute(service.ShardingPolicy.HINT, target))
    return [element.tolist() for element in numbers.take(count).as_numpy_iterator()]


def _within(seconds, call):
    """What `call` returns or raises; TimeoutError: it takes longer, and goes on in a thread that nobody waits for."""
    outcome = concurrent.futures.Future()

    def run():
        try:
            outcome.set_result(call())
        except BaseException as error:
            outcome.set_exception(error)

    threading.Thread(target=run, daemon=True).start()
    try:
        return outcome.result(seconds)
    except concurrent.futures.TimeoutError:  # another class than Python's own up to 3.10
        raise TimeoutError from None


def watched(batches: collections.abc.Iterator, address: str) -> collections.abc.Iterator:
    """The elements of an iterator over batches of the service at an address.

    Raises:
        ValueError: none comes for `BATCH_SECONDS`, as where a worker has died; the iterator itself waits for ever.
    """
    while True:
        try:
            yield _within(BATCH_SECONDS, lambda: next(batches))
        except (TimeoutError, StopIteration) as error:
            raise ValueError(
                f"--data_service={address}: its batches ended, or none came for {BATCH_SECONDS} seconds, as where a "
                f"worker has died. {_REMEDY}"
            ) from error


@contextlib.contextmanager
def named_errors(address: str | None) -> collections.abc.Iterator[None]:
    """A context in which errors of the service at an address are ValueErrors of one line; None: there is none."""
    try:
        yield
    except tf.errors.OpError as error:
        found = re.search(f"{_MESSAGE_START}.*?{re.escape(_REMEDY)}", str(error))
        if address is None or not (found or isinstance(error, tf.errors.UnavailableError)):
            raise
        text = found[0] if found else f"it does not answer: {error.message.splitlines()[0]}. {_REMEDY}"
        raise ValueError(f"--data_service={address}: {text}") from error
