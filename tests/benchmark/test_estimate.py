"""The estimate of a step, by hand, and beside steps that were measured."""

import math
import typing

import pytest

from gfl_tf.benchmark import estimate
from gfl_tf.benchmark.work_on_paper import Operation, Step

pytestmark = pytest.mark.one_stack

DEVICE = estimate.Device("small", flops_per_second=100.0, bytes_per_second=10.0)


def test_an_operation_takes_its_flops_or_its_bytes():
    product, other = Operation(flops=1000, bytes=20, backward=2), Operation(flops=0, bytes=30, backward=1)
    step = Step([product, other], batch_size=2, trained=8, activation_bytes=100)
    found = estimate.estimate(step, DEVICE)
    assert found.forward == 2 * (10 + 3)
    assert found.backward == 2 * (2 * 10 + 3)
    assert found.update == 5 * 4 * 8 / 10  # weights, gradients and momentum read, two of them written
    assert found.reduce == 0 and found.bound == "FLOPs"
    assert found.step == 26 + 46 + 16
    assert step.passing_bytes == 2 * 100 + 32 and step.memory_bytes == 232 + 64


def test_links_bound_where_gradients_travel_longer_than_they_are_computed():
    step = Step([Operation(0, 30, 1)], batch_size=1, trained=8, activation_bytes=0)
    linked = DEVICE._replace(link_bytes_per_second=1.0)
    found = estimate.estimate(step, linked, devices=4)
    assert found.reduced_bytes == 2 * 3 / 4 * 32 and found.reduce == 48
    assert found.bound == "links" and found.step == 3 + 48 + found.update
    assert estimate.estimate(step, DEVICE, devices=4).bound == "memory"


def test_one_device_sends_nothing():
    assert estimate.ring_bytes(100.0, 1) == 0
    assert math.isclose(estimate.ring_bytes(100.0, 64), 2 * 63 / 64 * 100)


class Measured(typing.NamedTuple):
    """Least processor times of 4 interleaved rounds, halved: seconds of 2 cores. Batch 2, float32.

    Attributes:
        convolution, copy: FLOPs and bytes a second of the machine's limits.
        forward, step: seconds, of a training.
        flops, bytes: sums over the operations of one image's forward pass, and of the backward pass.
        trained: numbers.
    """

    convolution: float
    copy: float
    forward: float
    step: float
    flops: tuple[float, float]
    bytes: tuple[float, float]
    trained: int


# AMD EPYC (Zen 3), 2 cores, other work beside, TensorFlow 2.21, November 2026.
MEASURED = {
    "gflv2_shapes, 2 x 320x320": Measured(
        155.05e9, 5.66e9, 0.0524, 0.1989, (1.968e9, 3.914e9), (188.7e6, 354.8e6), 1_720_938
    ),
    "gfl_r50_fpn_1x, 2 x 512x512": Measured(
        163.20e9, 5.52e9, 1.540, 5.317, (106.23e9, 193.89e9), (2.640e9, 3.600e9), 32_215_193
    ),
}


@pytest.mark.parametrize("name", MEASURED)
def test_measured_steps(name):
    """What was measured lies between the roofline of the sums and the time of FLOPs and bytes one after the other.

    The sums leave open which operation the bytes belong to: the roofline of single operations lies between the two.
    """
    found = MEASURED[name]
    device = estimate.Device("measured", found.convolution, found.copy)
    (flops, flops_back), (moved, moved_back) = found.flops, found.bytes
    as_one = [Operation(flops, moved, 1), Operation(flops_back - flops, moved_back - moved, 1)]
    apart = [Operation(flops + flops_back, 0, 0), Operation(0, moved + moved_back, 0)]
    low = estimate.estimate(Step(as_one[:1], 2, found.trained, 0), device)
    high = estimate.estimate(Step(apart, 2, found.trained, 0), device)
    assert 0.6 * low.step < found.step < 1.2 * high.step
