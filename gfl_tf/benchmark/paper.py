"""The paper's estimate of a training step: of this machine beside what it takes, and of GPUs that are not at hand."""

from gfl_tf.benchmark import estimate, machine, work_on_paper
from gfl_tf.benchmark.bench import Bench
from gfl_tf.benchmark.results import Result, Row
from gfl_tf.benchmark.rounds import once
from gfl_tf.benchmark.workloads import Case, Workload


def measure(bench: Bench) -> Result:
    """Each detector on the first size."""
    result = Result()
    height, width = bench.settings.sizes[0]
    case = Case(height, width, bench.settings.train_batch_size, bench.settings.boxes)
    for artifact in bench.detectors:
        model = artifact.build()
        rounds = bench.take_turns({"step": Workload(model, case).train_step()})
        result.rounds.append(rounds)
        rates = machine.rates(rounds)
        here = estimate.Device("this machine", rates[machine.CONVOLUTION].median, rates[machine.COPY].median)
        found = estimate.estimate(work_on_paper.of_step(model, case), here)
        of = f"{artifact.name}, {case}, float32"
        result.rows += [
            Row(of, f"step on paper, bound by {found.bound}", once(1e3 * found.step), "ms"),
            Row(of, "measured / on paper", rounds.time("step", 1 / found.step)),
        ]
        step = work_on_paper.of_step(artifact.build("bfloat16"), case)
        for name, (devices, device) in estimate.GROUPS.items():
            result.rows += _on_gpus(f"{artifact.name}, {devices} x {case}, bfloat16", name, step, device, devices)
    return result


def _on_gpus(of, name, step, device, devices):
    found = estimate.estimate(step, device, devices)
    return [
        Row(of, f"step on {name}, bound by {found.bound}", once(1e3 * found.step), "ms"),
        Row(of, f"all-reduce on {name}, hidden behind the backward pass", once(1e3 * found.reduce), "ms"),
        Row(of, f"sent by each of {name}", once(found.reduced_bytes / 2**20), "MiB"),
        Row(of, f"memory of each of {name}", once(step.memory_bytes / 2**20), "MiB"),
    ]
