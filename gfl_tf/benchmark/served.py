"""An exported SavedModel: batches over single images, the tail of latency, and what a server holds."""

import functools
import tempfile

import numpy as np
import tensorflow as tf

from gfl_tf.benchmark import diagrams, waiting_line
from gfl_tf.benchmark.bench import Bench
from gfl_tf.benchmark.results import Goal, Result, Row
from gfl_tf.benchmark.rounds import once
from gfl_tf.benchmark.workloads import Case, Workload
from gfl_tf.serving import export, latency

PERCENTS = (50, 90, 99)
HELD = 0.1  # seconds within which a server answers 99 of 100 requests
NO_SLOWER = Goal(most=1.0)


def measure(bench: Bench) -> Result:
    """The first detector on the first size, in each precision."""
    result = Result()
    artifact, (height, width) = bench.detectors[0], bench.settings.sizes[0]
    seconds = {}
    for precision in bench.settings.precisions:
        model = artifact.build()  # the export has the precision
        Workload(model, Case(height, width)).crowd()
        scale = max(height, width), min(height, width)
        with tempfile.TemporaryDirectory() as folder:
            options = [export.Options(precision=precision, canvas=canvas) for canvas in ((), (height, width))]
            paths = [export.export(model, scale, folder, "benchmark", each) for each in options]
            loaded, on_canvas = (tf.saved_model.load(str(path)) for path in paths)
            jpegs = latency.synthetic_jpegs([(height // 2, width // 2)])
            of = f"{artifact.name}, {height}x{width}, {precision}"
            _batches(bench, result, loaded, on_canvas, jpegs[0], of, precision)
            seconds[precision] = _requests(bench, result, loaded, jpegs, of, precision)
    result.diagrams.append((f"Answers to requests of one JPEG, {artifact.name}", diagrams.latencies(seconds)))
    return result


def _batches(bench, result, loaded, on_canvas, jpeg, of, precision):
    jpeg = tf.constant(jpeg)
    image = tf.io.decode_jpeg(jpeg, channels=3)
    ways = {
        "image_tensor": (loaded.signatures["image_tensor"], "image_tensor", image),
        "serving_default": (loaded.signatures["serving_default"], "image_bytes", jpeg),
        "serving_default on a canvas": (on_canvas.signatures["serving_default"], "image_bytes", jpeg),
    }
    parts = {
        f"{name}, {size}": functools.partial(signature, **{argument: tf.stack([item] * size)})
        for name, (signature, argument, item) in ways.items()
        for size in bench.settings.batch_sizes
    }
    rounds = bench.take_turns(parts, precision)
    result.rounds.append(rounds)
    first, *others = bench.settings.batch_sizes
    for signature in ways:
        result.rows.append(Row(of, f"{signature}, {first}", rounds.time(f"{signature}, {first}", 1e3), "ms"))
        for size in others:
            ratio = rounds.ratio(f"{signature}, {size}", f"{signature}, {first}", size / first)
            what = f"{signature}, {size} images over as many in requests of {first}"
            result.rows.append(Row(of, what, ratio, goal=NO_SLOWER))


def _requests(bench, result, loaded, jpegs, of, precision):
    """Seconds of all requests, one at a time, in blocks between which the machine's limit is measured."""
    answer, blocks = latency.answerer(loaded), []

    def send():
        # Of a block's start too: `measure` sends each image once more, untimed.
        number = -(-bench.settings.requests // bench.settings.repeats)
        blocks.append(latency.measure({"answer": answer}, jpegs, number).timings["answer"])

    result.rounds.append(bench.take_turns({"a block of requests": send}, precision))
    timed = blocks[1:]  # the first is the warm-up of the rounds
    failures = [failure for block in blocks for failure in block.failures]
    if failures:
        raise RuntimeError(f"a request to the SavedModel failed: {failures[0]}")
    seconds = [each for block in timed for each in block.seconds]
    for percent in PERCENTS:
        result.rows.append(
            Row(of, f"{len(seconds)} requests, p{percent}", once(1e3 * np.percentile(seconds, percent)), "ms")
        )
    rate = waiting_line.highest_rate(seconds, HELD)
    what = f"held, p99 within {1e3 * HELD:.0f} ms (computed from these)"
    result.rows.append(Row(of, what, once(rate), "requests/s"))
    return seconds
