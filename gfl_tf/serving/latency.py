"""How long exported models take to answer, what of it is decode, resize, network and NMS, and what memory they hold.

Needs TensorFlow and the exported SavedModels, nothing of the detectors.
"""

import concurrent.futures
import dataclasses
import pathlib
import resource
import sys
import time

import numpy as np
import tensorflow as tf

STAGES = ("decode", "resize", "network", "detections")
MAX_STAGE_IMAGES = 20  # whose stages `benchmark` times
PAGE_BYTES = resource.getpagesize()


@dataclasses.dataclass
class Timing:
    """What the requests to one model took.

    Attributes:
        batch_size: images in a request.
        seconds: of every answered request, in the order of the answers.
        wall_seconds: during which this model had requests in flight.
        failures: a message for every request that failed.
    """

    batch_size: int
    seconds: list = dataclasses.field(default_factory=list)
    wall_seconds: float = 0.0
    failures: list = dataclasses.field(default_factory=list)

    def percentile(self, percent):
        """Seconds within which `percent` of the requests were answered, interpolated between two of them."""
        return float(np.percentile(self.seconds, percent)) if self.seconds else float("nan")

    @property
    def images_per_second(self):
        is_known = self.seconds and self.wall_seconds
        return self.batch_size * len(self.seconds) / self.wall_seconds if is_known else float("nan")


@dataclasses.dataclass
class Memory:
    """Resident memory, in MiB, of this process: all models, the interpreter and the images.

    Attributes:
        warm: after the warm-up.
        answered: after each request since.
    """

    warm: float
    answered: list = dataclasses.field(default_factory=list)

    def at(self, share):
        """MiB when `share` of the requests, from 0 to 1, was answered."""
        return [self.warm, *self.answered][round(share * len(self.answered))]

    def growth(self, first_share=0.5):
        """MiB per 100 requests: the slope of the least squares line from `first_share` of the requests on.

        The default leaves out the first half, in which the memory allocator still settles.
        """
        values = self.answered[round(first_share * len(self.answered)) :]
        return 100 * float(np.polyfit(np.arange(len(values)), values, 1)[0]) if len(values) > 1 else float("nan")


@dataclasses.dataclass
class Measurement:
    """`timings`, {model's name: Timing}, and `memory`, a Memory."""

    timings: dict
    memory: Memory


def measure(models, images, requests=100, concurrency=1, batch_size=1, clock=time.perf_counter, resident=None):
    """Sends requests from `concurrency` threads, each of which sends its next one when its last was answered.

    First every model answers every image once, untimed. Then several models take turns, of one request each or, with a
    concurrency above 1, of 4 requests per thread, so that a machine whose speed drifts slows them alike. Threads idle
    at the end of a turn: compare such images per second with each other, not with those of a model alone.

    Args:
        models: {name: function of a list of encoded images}, as from `answerer`. A request fails when it raises.
        images: encoded images, bytes. Request r holds `batch_size` of them from r * batch_size on, in a circle.
        requests: to each model.
        concurrency: requests at a time.
        batch_size: images in a request.
        clock: seconds of a monotonic clock.
        resident: function that returns the process's memory in MiB; by default `resident_mib`.

    Returns a Measurement.
    """
    resident = resident or resident_mib
    result = Measurement({name: Timing(batch_size) for name in models}, Memory(float("nan")))
    memory = result.memory

    def send(name, number):
        batch = [images[index % len(images)] for index in range(number * batch_size, (number + 1) * batch_size)]
        start = clock()
        try:
            models[name](batch)
        except Exception as error:  # whatever a model raises: the other requests go on, and the table tells
            result.timings[name].failures.append(f"{type(error).__name__}: {error}")
        else:
            result.timings[name].seconds.append(clock() - start)
        memory.answered.append(resident())

    def send_all(name, numbers):
        list(pool.map(send, [name] * len(numbers), numbers))

    with concurrent.futures.ThreadPoolExecutor(concurrency) as pool:
        for name in models:
            send_all(name, range(max(-(-len(images) // batch_size), concurrency)))
            result.timings[name] = Timing(batch_size)
        memory.answered.clear()
        memory.warm = resident()
        turn = requests if len(models) == 1 else 1 if concurrency == 1 else 4 * concurrency
        for first in range(0, requests, turn):
            for name, timing in result.timings.items():
                start = clock()
                send_all(name, range(first, min(first + turn, requests)))
                timing.wall_seconds += clock() - start
    return result


def answerer(loaded):
    """The function of a list of encoded images that asks the `serving_default` signature of a loaded SavedModel.

    It returns the outputs as arrays, and raises where the model does.

    Raises:
        ValueError: on the spot, when there is no such signature, or it does not take `image_bytes` alone; in a request,
            when the model's `status` says of an image that it is not "ok".
    """
    if "serving_default" not in loaded.signatures:
        raise ValueError("it has no signature serving_default")
    signature = loaded.signatures["serving_default"]
    names = sorted(signature.structured_input_signature[1])
    if names != ["image_bytes"]:
        raise ValueError(f"its signature serving_default takes {names}, not image_bytes")

    def answer(batch):
        outputs = {name: value.numpy() for name, value in signature(image_bytes=tf.constant(batch)).items()}
        bad = [text.decode() for text in outputs.get("status", ()) if text != b"ok"]
        if bad:
            raise ValueError(f"status {bad[0]!r} of an image")
        return outputs

    return answer


def resident_mib():
    """MiB of physical memory that this process holds now; not a number where there is no /proc."""
    try:
        pages = int(pathlib.Path("/proc/self/statm").read_text().split()[1])
    except FileNotFoundError:
        return float("nan")
    return pages * PAGE_BYTES / 2**20


def peak_mib():
    """MiB of physical memory that this process ever held.

    Where there is no /proc, `getrusage` says it: in a process that has just begun, that of the one which started it.
    """
    try:
        lines = pathlib.Path("/proc/self/status").read_text().splitlines()
    except FileNotFoundError:
        lines = []
    peak_kib = [int(line.split()[1]) for line in lines if line.startswith("VmHWM:")]
    if peak_kib:
        return peak_kib[0] / 1024
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 2**20


def synthetic_jpegs(sizes):
    """One JPEG for each (height, width): noise about as detailed as a photograph.

    A pixel takes about 0.5 bytes; in COCO it takes 0.6.
    """
    rng = np.random.default_rng(0)
    encoded = []
    for height, width in sizes:
        image = np.full((height, width, 3), 128.0)
        for cells, amplitude in ((4, 50), (32, 30), (128, 30), (512, 40)):
            noise = rng.uniform(-amplitude, amplitude, (cells, cells, 3))
            image += tf.image.resize(noise, (height, width), "bicubic").numpy()
        pixels = tf.cast(tf.clip_by_value(image, 0, 255), tf.uint8)
        encoded.append(tf.io.encode_jpeg(pixels, quality=90).numpy())
    return encoded


@dataclasses.dataclass
class StageTimes:
    """Seconds of each of `STAGES`, and of the same images as whole requests of one image."""

    stages: dict
    requests: float

    def share(self, name):
        """Of the stages' sum, from 0 to 1."""
        return self.stages[name] / sum(self.stages.values())

    @property
    def sum_of_request(self):
        """The stages' sum divided by the requests: 1 where the stages are all that a request does."""
        return sum(self.stages.values()) / self.requests


def time_stages(loaded, images, repeats=5, clock=time.perf_counter):
    """Times the stages of a loaded SavedModel one after the other on each image, in turn with the whole request.

    Args:
        loaded: as from `tf.saved_model.load`.
        images: encoded images, bytes, that the model decodes.
        repeats: passes over the images, after one that does not count.
        clock: seconds of a monotonic clock.

    Returns StageTimes, sums over the images of the medians over the repeats; None where the SavedModel has no `stages`.
    """
    if not hasattr(loaded, "stages"):
        return None
    stages, answer = loaded.stages, answerer(loaded)
    seconds = {name: [] for name in (*STAGES, "request")}

    def timed(name, function, *inputs):
        start = clock()
        outputs = function(*inputs)
        tf.test.experimental.sync_devices()  # a GPU still computes when the function returns
        seconds[name].append(clock() - start)
        return outputs

    for _ in range(1 + repeats):
        for encoded in images:
            image = timed("decode", stages["decode"], tf.constant(encoded))["image"][tf.newaxis]
            resized = timed("resize", stages["resize"], image)
            raw_outputs = timed("network", stages["network"], resized)
            shapes = tf.shape(image)[1:3], tf.shape(resized)[1:3]
            timed("detections", stages["detections"], raw_outputs, *shapes)
            timed("request", answer, [encoded])
    sums = {
        name: float(np.median(np.reshape(values, [1 + repeats, -1])[1:], axis=0).sum())
        for name, values in seconds.items()
    }
    return StageTimes({name: sums[name] for name in STAGES}, sums["request"])


@dataclasses.dataclass
class Report:
    """What `benchmark` measured.

    Attributes:
        measurement: a Measurement.
        stage_times: {model: StageTimes or None}.
        before_loading, loaded, peak: MiB of memory.
    """

    measurement: Measurement
    stage_times: dict
    before_loading: float
    loaded: float
    peak: float

    def table(self):
        """The report as text."""
        lines = [*self._timing_lines(), "", *self._stage_lines(), "", *self._memory_lines()]
        for name, timing in self.measurement.timings.items():
            if timing.failures:
                total = len(timing.failures) + len(timing.seconds)
                lines += ["", f"{len(timing.failures)} of {total} requests failed: {name}"]
                lines += sorted(set(timing.failures))
        return "\n".join(lines)

    @property
    def failed(self):
        """Whether any request failed."""
        return any(timing.failures for timing in self.measurement.timings.values())

    def _timing_lines(self):
        timings = self.measurement.timings
        first = next(iter(timings.values()))
        yield f"{'p50 ms':>9} {'p95 ms':>9} {'p99 ms':>9} {'images/s':>9}   of the first: {'p50':>7} {'images/s':>9}"
        for name, timing in timings.items():
            milliseconds = " ".join(f"{1000 * timing.percentile(percent):9.1f}" for percent in (50, 95, 99))
            p50_ratio = timing.percentile(50) / first.percentile(50)
            rate_ratio = timing.images_per_second / first.images_per_second
            yield f"{milliseconds} {timing.images_per_second:9.2f} {p50_ratio:24.3f} {rate_ratio:9.3f}   {name}"

    def _stage_lines(self):
        yield "shares of an image's time, one at a time, and the stages' sum / a whole request:"
        yield " ".join(f"{name:>10}" for name in (*STAGES, "sum"))
        for name, times in self.stage_times.items():
            if times is None:
                yield f"{'this export has no stages: no shares':>54}   {name}"
                continue
            shares = " ".join(f"{times.share(stage):10.1%}" for stage in STAGES)
            yield f"{shares} {times.sum_of_request:10.3f}   {name}"
        if not self.stage_times:
            yield "not measured, as requests failed"

    def _memory_lines(self):
        memory = self.measurement.memory
        quarters = ", ".join(f"{memory.at(share):.1f} at {share:.0%}" for share in (0.25, 0.5, 0.75, 1))
        yield f"resident MiB: {self.before_loading:.0f} before loading, {self.loaded:.0f} loaded, peak {self.peak:.0f}"
        yield f"    {memory.warm:.1f} after the warm-up, {quarters} of the requests"
        yield f"    growth per 100 requests {memory.growth(0):+.2f}, in the second half {memory.growth():+.2f}"


def benchmark(paths, images, requests=100, concurrency=1, batch_size=1):
    """Loads SavedModels and measures them on encoded images.

    Returns a Report. The stages are not timed when a request failed.

    Raises:
        ValueError: a path that is there twice, or holds no SavedModel that answers encoded images; quotes it.
    """
    if len(set(paths)) < len(paths):
        raise ValueError(f"a model is there twice: {', '.join(paths)}")
    before_loading = resident_mib()
    loaded = {path: _load(path) for path in paths}
    models = {path: _answerer_of(path, model) for path, model in loaded.items()}
    loaded_mib = resident_mib()
    measurement = measure(models, images, requests, concurrency, batch_size)
    report = Report(measurement, {}, before_loading, loaded_mib, peak_mib())
    if not report.failed:
        some = images[:: -(-len(images) // MAX_STAGE_IMAGES)]
        report.stage_times = {path: time_stages(model, some) for path, model in loaded.items()}
    return report


def _load(path):
    try:
        return tf.saved_model.load(path)
    except (OSError, RuntimeError) as error:
        raise ValueError(f"{path} cannot be loaded as a SavedModel; give .../NAME/VERSION: {error}") from error


def _answerer_of(path, loaded):
    try:
        return answerer(loaded)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error
