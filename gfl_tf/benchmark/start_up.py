"""How long it takes until something happens: commands, imports, and the first step on each canvas."""

import os
import subprocess
import sys
import time

import tensorflow as tf

from gfl_tf.benchmark.bench import Bench
from gfl_tf.benchmark.results import Goal, Result, Row
from gfl_tf.benchmark.rounds import once
from gfl_tf.benchmark.workloads import Case, Workload

ROUNDS = 3  # they take seconds
SECOND, IMPORT, NONE, ONE_EACH = Goal(most=1.0), Goal(most=1.1), Goal(most=0.0), Goal(most=1.0)
_TRAIN = "import sys; sys.argv[0] = 'gfl-train'; from gfl_tf.commands.train import run; run()"
HELP, FLAG_ERROR, OURS, KERAS_CV = "--help", "a flag error", "import gfl_tf; gfl_tf.GFL", "import keras_cv"
PROGRAMS = {
    HELP: [_TRAIN, "--help"],
    FLAG_ERROR: [_TRAIN, "--config=gflv2_shapes", "--no_such_flag"],
    OURS: [OURS],
    KERAS_CV: [KERAS_CV],
}
_DETECTORS = "import sys, gfl_tf.losses; print(sum(name.startswith('gfl_tf.detectors') for name in sys.modules))"


def measure(bench: Bench) -> Result:
    """Python processes in turn, and tracing in this one."""
    result = Result()
    parts = {name: lambda program=program: _run(*program) for name, program in PROGRAMS.items()}
    rounds = bench.take_turns(parts, repeats=min(ROUNDS, bench.settings.repeats))
    result.rounds.append(rounds)
    for name in parts:
        goal = SECOND if name in (HELP, FLAG_ERROR) else None
        result.rows.append(Row("a new process", name, rounds.time(name), "s", goal))
    loaded = float(_run(_DETECTORS).splitlines()[-1])
    result.rows += [
        Row("a new process", f"{OURS} / {KERAS_CV}", rounds.ratio(OURS, KERAS_CV), goal=IMPORT),
        Row("a new process", "modules of detectors that import gfl_tf.losses loads", once(loaded), goal=NONE),
    ]
    for artifact in [*bench.detectors, *([bench.deformable] if bench.deformable else [])]:
        result.rows += _tracing(bench, artifact)
    return result


def _run(program, *arguments):
    """What a Python program prints; one with a wrong flag fails, as it should."""
    environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3", "PYTHONSAFEPATH": "1"}
    command = [sys.executable, "-c", program, *arguments]
    return subprocess.run(command, capture_output=True, text=True, env=environment).stdout


def _tracing(bench, artifact):
    """Rows of one training step as a graph, which sees each canvas twice."""
    model = artifact.build()
    settings = bench.settings
    works = [Workload(model, Case(*size, settings.train_batch_size, settings.boxes)) for size in settings.sizes]
    works[0].train_step()  # compiles the model
    step = tf.function(lambda images, labels: model.train_step((images, labels)), autograph=False)
    rows = []
    for work in works:
        inputs = work.on_device, work.labels
        of = f"{artifact.name}, {work.case}"
        traced = _seconds(lambda: step.get_concrete_function(*inputs))
        first, second = _seconds(lambda: step(*inputs)), _seconds(lambda: step(*inputs))
        rows.append(Row(of, "tracing a training step", once(traced), "s"))
        rows.append(Row(of, "first step, beside the second", once(first - second), "s"))
    shapes = len({work.case for work in works})
    traces = step.experimental_get_tracing_count() / shapes
    return [*rows, Row(artifact.name, "traces of each static shape", once(traces), goal=ONE_EACH)]


def _seconds(function):
    start = time.perf_counter()
    function()
    tf.test.experimental.sync_devices()
    return time.perf_counter() - start
