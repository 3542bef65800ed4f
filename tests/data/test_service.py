"""Batches of the tf.data service: those of one process, whoever makes them; and what is said where it fails."""

import concurrent.futures
import itertools

import numpy as np
import pytest
import tensorflow as tf
from tensorflow.data.experimental import service as tf_service

from gfl_tf.data import pipeline, service
from gfl_tf.data.tfrecords.loading import load_tfrecords
from tests.data.tfrecords.examples import make_records
from tests.ports import free_ports

pytestmark = pytest.mark.one_stack


@pytest.fixture(scope="module")
def servers():
    """(address of a dispatcher with two workers, the servers) in this process."""
    addresses = [f"localhost:{port}" for port in free_ports(2)]
    dispatcher = tf_service.DispatchServer(tf_service.DispatcherConfig(port=0, worker_addresses=addresses))
    address = dispatcher.target.removeprefix("grpc://")
    workers = [
        tf_service.WorkerServer(
            tf_service.WorkerConfig(dispatcher_address=address, worker_address=own, port=int(own.rpartition(":")[2]))
        )
        for own in addresses
    ]
    return address, (dispatcher, *workers)


def test_batches_are_those_of_one_process_in_their_order(servers, tmp_path):
    records = load_tfrecords(make_records(tmp_path)[1])
    options = dict(scale=(60, 40), seed=3, start_step=1)
    served = pipeline.training_batches(records, 4, **options, data_service=servers[0], end_step=9)
    own = pipeline.training_batches(records, 4, **options)
    # Beyond an epoch, whose last batch is filled with other images.
    for batch, other in zip(itertools.islice(served, 7), own):
        tf.nest.map_structure(np.testing.assert_array_equal, batch, other)


def test_a_batch_out_of_its_order_is_named_in_one_line():
    batches = tf.data.Dataset.from_tensor_slices(([3, 4, 3], [0, 0, 0])).enumerate(3)
    batches = batches.map(lambda expected, batch: (expected, (tf.cast(batch[0], tf.int64), batch[1])))
    with pytest.raises(ValueError) as error, service.named_errors("host:5050"):
        list(batches.map(service._checked))
    assert str(error.value) == (
        "--data_service=host:5050: The data service gave batch 3 in place of 5: a worker was started anew, or late. "
        "Start its dispatcher and all its workers anew, then go on with the run."
    )


def test_a_batch_that_does_not_come(monkeypatch):
    monkeypatch.setattr(service, "BATCH_SECONDS", 0.1)
    never = concurrent.futures.Future()
    batches = service.watched(iter(never.result, None), "host:5050")
    with pytest.raises(ValueError, match="--data_service=host:5050: its batches ended, or none came for 0.1 seconds"):
        next(batches)
    never.set_result(None)


@pytest.mark.parametrize("address", ["localhost:{port}", "localhost", "localhost:many"])
def test_no_dispatcher(address):
    address = address.format(port=free_ports(1)[0])
    with pytest.raises(ValueError, match=f"--data_service={address}: no dispatcher answers there .* HOST:PORT"):
        service._count_workers(f"grpc://{address}", address)


def test_a_dispatcher_without_its_workers(monkeypatch):
    monkeypatch.setattr(service, "WAIT_SECONDS", 1)
    dispatcher = tf_service.DispatchServer(tf_service.DispatcherConfig(port=0, worker_addresses=["localhost:1"]))
    with pytest.raises(ValueError, match="after 1 seconds not all workers are there"):
        service._count_workers(dispatcher.target, dispatcher.target.removeprefix("grpc://"))
