"""How long a training step would take, on paper: a roofline of its operations, and an all-reduce.

An operation takes as long as its FLOPs or its bytes, whichever takes longer (Williams et al., "Roofline", CACM 2009):

    seconds = max(flops / flops_per_second, bytes / bytes_per_second)
    forward = batch x sum(seconds),  backward = batch x sum(backward x seconds)
    update  = passes x gradient_bytes / bytes_per_second
    reduce  = 2 (N - 1) / N x gradient_bytes / link_bytes_per_second      (a ring of N devices)
    step    = forward + max(backward, reduce) + update                    (gradients travel as they come)

Left out: launching kernels, losses and assignment, waiting for data, links that are shared, stragglers.
"""

import typing

from gfl_tf.benchmark.work_on_paper import OPTIMIZER_PASSES, Operation, Step


class Device(typing.NamedTuple):
    """What computes.

    Attributes:
        name: its name.
        flops_per_second: what a large convolution reaches.
        bytes_per_second: of its memory.
        link_bytes_per_second: to other devices, in one direction; infinite where it is alone.
    """

    name: str
    flops_per_second: float
    bytes_per_second: float
    link_bytes_per_second: float = float("inf")


class Estimate(typing.NamedTuple):
    """Seconds of the parts of a step, and what each device sends.

    Attributes:
        forward, backward, update, reduce: seconds.
        reduced_bytes: that a device sends in a step.
        bound: what takes most of the time: "FLOPs", "memory" (its bandwidth) or "links".
    """

    forward: float
    backward: float
    update: float
    reduce: float
    reduced_bytes: float
    bound: str

    @property
    def step(self) -> float:
        return self.forward + max(self.backward, self.reduce) + self.update


# Of NVIDIA's data sheet of the A100 80GB SXM: 312 TFLOP/s in bfloat16, of which half is what large convolutions are
# taken to reach; 2,039 GB/s; NVLink 600 GB/s in both directions together. Between machines, as in a DGX A100, one link
# of 200 Gbit/s for each GPU.
A100 = Device("A100", 0.5 * 312e12, 2.039e12)
GROUPS = {
    "8 x A100": (8, A100._replace(link_bytes_per_second=300e9)),
    "64 x A100": (64, A100._replace(link_bytes_per_second=25e9)),
}


def estimate(step: Step, device: Device, devices: int = 1) -> Estimate:
    """The `Estimate` of a step of `step.batch_size` images on each of some devices."""
    forward, backward, bounds = 0.0, 0.0, {"FLOPs": 0.0, "memory": 0.0}
    for operation in step.operations:
        kind, seconds = _roofline(operation, device)
        forward += step.batch_size * seconds
        backward += step.batch_size * operation.backward * seconds
        bounds[kind] += (1 + operation.backward) * seconds
    update = OPTIMIZER_PASSES * step.gradient_bytes / device.bytes_per_second
    reduced_bytes = ring_bytes(step.gradient_bytes, devices)
    reduce = reduced_bytes / device.link_bytes_per_second
    bound = "links" if reduce > backward else max(bounds, key=bounds.get)
    return Estimate(forward, backward, update, reduce, reduced_bytes, bound)


def ring_bytes(gradient_bytes: float, devices: int) -> float:
    """That each device of a ring sends in an all-reduce: it passes on all parts but one, twice."""
    return 2 * (devices - 1) / devices * gradient_bytes


def _roofline(operation: Operation, device: Device):
    of_flops, of_bytes = operation.flops / device.flops_per_second, operation.bytes / device.bytes_per_second
    return ("FLOPs", of_flops) if of_flops >= of_bytes else ("memory", of_bytes)
