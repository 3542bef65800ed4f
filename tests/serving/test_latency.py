"""Latency under load: the arithmetic on a clock by hand, the load itself, and an export's memory and stages."""

import collections
import math
import pathlib
import threading
import types

import numpy as np
import pytest
import tensorflow as tf

from gfl_tf.serving import latency

pytestmark = pytest.mark.one_stack


class Clock:
    """Stands still until somebody moves it."""

    def __init__(self):
        self.now = 0.0

    def __call__(self):
        return self.now

    def wait(self, seconds):
        self.now += seconds


def test_percentiles_and_rate_by_hand():
    clock = Clock()
    answered = []

    def answer(batch):
        answered.append(batch)
        clock.wait({b"a": 1, b"b": 2, b"c": 3, b"d": 6}[batch[0]])

    result = latency.measure({"m": answer}, [b"a", b"b", b"c", b"d"], requests=4, clock=clock)
    timing = result.timings["m"]
    assert answered == [[b"a"], [b"b"], [b"c"], [b"d"]] * 2  # the first time to warm up
    assert timing.seconds == [1, 2, 3, 6]
    assert timing.percentile(50) == 2.5
    assert timing.percentile(95) == pytest.approx(3 + 0.85 * 3)
    assert timing.percentile(99) == pytest.approx(3 + 0.97 * 3)
    assert timing.images_per_second == pytest.approx(4 / 12)


def test_batches_go_in_a_circle_and_count_as_images():
    clock = Clock()
    answered = []

    def answer(batch):
        answered.append(b"".join(batch))
        clock.wait(0.5)

    result = latency.measure({"m": answer}, [b"a", b"b", b"c"], requests=3, batch_size=2, clock=clock)
    assert answered == [b"ab", b"ca"] + [b"ab", b"ca", b"bc"]
    assert result.timings["m"].images_per_second == pytest.approx(4.0)


def test_concurrent_requests_are_answered_once():
    lock = threading.Lock()
    in_flight, most = 0, 0
    answered = collections.Counter()
    pairs = threading.Barrier(2)

    def answer(batch):
        nonlocal in_flight, most
        with lock:
            in_flight += 1
            most = max(most, in_flight)
        pairs.wait(timeout=60)  # nobody gets on alone
        with lock:
            answered[batch[0]] += 1
            in_flight -= 1

    images = [b"%d" % number for number in range(20)]
    result = latency.measure({"m": answer}, images, requests=20, concurrency=2)
    assert most == 2
    assert answered == {image: 2 for image in images}  # one of them to warm up
    assert len(result.timings["m"].seconds) == 20 and not result.timings["m"].failures


@pytest.mark.parametrize(["concurrency", "turns"], [(1, "ababab"), (2, "a" * 8 + "b" * 8 + "a" * 4 + "b" * 4)])
def test_models_take_turns(concurrency, turns):
    order = []
    models = {name: lambda batch, name=name: order.append(name) for name in "ab"}
    requests = len(turns) // 2
    result = latency.measure(models, [b"x", b"y", b"z"], requests=requests, concurrency=concurrency)
    assert "".join(order) == "aaabbb" + turns
    assert [len(timing.seconds) for timing in result.timings.values()] == [requests] * 2


@pytest.mark.parametrize("concurrency", [1, 3])
def test_failures_are_reported_and_the_others_go_on(concurrency):
    def answer(batch):
        if batch == [b"bad"]:
            raise ValueError("no image")

    result = latency.measure({"m": answer}, [b"a", b"bad", b"b"], requests=9, concurrency=concurrency)
    assert len(result.timings["m"].seconds) == 6
    assert result.timings["m"].failures == ["ValueError: no image"] * 3
    report = latency.Report(result, {}, 0, 0, 0)
    assert report.failed
    assert "3 of 9 requests failed: m\nValueError: no image" in report.table()


def test_no_answer_has_no_percentile():
    timing = latency.Timing(1, failures=["no"])
    assert math.isnan(timing.percentile(50)) and math.isnan(timing.images_per_second)


def test_table_of_a_model_that_never_answers():
    result = latency.measure({"a": fail, "b": len}, [b""], requests=3)
    lines = latency.Report(result, {}, 0, 0, 0).table().splitlines()
    assert "3 of 3 requests failed: a" in lines and "ValueError: no" in lines


def fail(batch):
    raise ValueError("no")


def test_memory_by_hand():
    readings = iter([0, 0, *[100, 110, 120, 130, 140, 142, 144, 146, 148]])
    result = latency.measure({"m": len}, [b"a", b"b"], requests=8, resident=lambda: next(readings))
    memory = result.memory
    assert memory.warm == 100
    assert [memory.at(share) for share in (0, 0.25, 0.5, 1)] == [100, 120, 140, 148]
    assert memory.growth() == pytest.approx(200)
    assert latency.Memory(0, [0, 1, 5]).growth(0) == pytest.approx(250)  # the line through 0, 1, 5: slope 2.5
    assert math.isnan(latency.Memory(0, [1]).growth())


def test_memory_of_this_process():
    pathlib.Path("/proc/self/clear_refs").write_text("5")  # forgets the peak of earlier tests
    before = latency.resident_mib()
    assert latency.peak_mib() < before + 20
    kept = np.ones([64, 2**17])  # 64 MiB
    assert 60 < latency.resident_mib() - before < 80
    assert latency.peak_mib() > before + 60
    del kept


def test_ratios_to_the_first_model():
    timings = {
        "one": latency.Timing(1, [0.1, 0.2, 0.3], wall_seconds=0.6),
        "two": latency.Timing(1, [0.1, 0.1, 0.1], wall_seconds=0.3),
    }
    stage_times = {"one": None, "two": latency.StageTimes(dict(zip(latency.STAGES, (1, 2, 16, 1))), 25)}
    memory = latency.Memory(7, [7, 7])
    table = latency.Report(latency.Measurement(timings, memory), stage_times, 5, 6, 9).table()
    rows = [line.split() for line in table.splitlines()]
    assert ["200.0", "290.0", "298.0", "5.00", "1.000", "1.000", "one"] in rows
    assert ["100.0", "100.0", "100.0", "10.00", "0.500", "2.000", "two"] in rows
    assert ["this", "export", "has", "no", "stages:", "no", "shares", "one"] in rows
    assert ["5.0%", "10.0%", "80.0%", "5.0%", "0.800", "two"] in rows


@pytest.fixture
def loaded_model(tmp_path):
    """loaded_model(name of the input): a SavedModel that answers the length of each image and a status."""

    def load(input_name):
        @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name=input_name)])
        def serving_default(images):
            return {"status": tf.where(images == b"bad", "not an image", "ok"), "length": tf.strings.length(images)}

        tf.saved_model.save(tf.Module(), str(tmp_path), signatures=serving_default.get_concrete_function())
        return tf.saved_model.load(str(tmp_path))

    return load


def test_answerer(loaded_model):
    answer = latency.answerer(loaded_model("image_bytes"))
    np.testing.assert_array_equal(answer([b"a", b"bcd"])["length"], [1, 3])
    with pytest.raises(ValueError, match="'not an image'"):
        answer([b"a", b"bad"])


def test_answerer_of_other_signatures(loaded_model):
    with pytest.raises(ValueError, match=r"takes \['images'\], not image_bytes"):
        latency.answerer(loaded_model("images"))
    with pytest.raises(ValueError, match="no signature serving_default"):
        latency.answerer(types.SimpleNamespace(signatures={}))


def test_stage_times_by_hand(monkeypatch):
    clock = Clock()
    passes = iter([9, 1, 3, 1])  # the first does not count, of the others 1 is the median

    def decode(encoded):
        clock.wait(1 * next(passes))
        return {"image": tf.zeros([8, 6, 3], tf.uint8), "status": "ok"}

    def resize(images):
        clock.wait(2)
        return tf.zeros([1, 4, 3, 3])

    def network(images):
        clock.wait(16)
        return {"raw": images}

    def detections(outputs, original_shape, resized_shape):
        assert (*original_shape.numpy(), *resized_shape.numpy()) == (8, 6, 4, 3) and set(outputs) == {"raw"}
        clock.wait(1)

    stages = {"decode": decode, "resize": resize, "network": network, "detections": detections}
    monkeypatch.setattr(latency, "answerer", lambda loaded: lambda batch: clock.wait(25))
    times = latency.time_stages(types.SimpleNamespace(stages=stages), [b"a"], repeats=3, clock=clock)
    assert [times.share(name) for name in latency.STAGES] == [0.05, 0.1, 0.8, 0.05]
    assert times.sum_of_request == 0.8
    assert latency.time_stages(types.SimpleNamespace(), [b"a"]) is None


def test_synthetic_jpegs():
    encoded = latency.synthetic_jpegs([(480, 640), (97, 51)])
    shapes = [tf.io.decode_jpeg(image).shape.as_list() for image in encoded]
    assert shapes == [[480, 640, 3], [97, 51, 3]]
    assert 0.4 < len(encoded[0]) / (640 * 480) < 0.7
    assert encoded == latency.synthetic_jpegs([(480, 640), (97, 51)])


def test_wrong_models(loaded_model, tmp_path):
    with pytest.raises(ValueError, match="nowhere cannot be loaded"):
        latency.benchmark(["nowhere"], [b""])
    with pytest.raises(ValueError, match="twice"):
        latency.benchmark(["a", "b", "a"], [b""])
    loaded_model("images")
    with pytest.raises(ValueError, match=f"{tmp_path}: its signature"):
        latency.benchmark([str(tmp_path)], [b""])


@pytest.mark.slow
@pytest.mark.parametrize("concurrency", [1, 4])
def test_memory_stays_flat(tiny_export, concurrency):
    models = {"tiny": latency.answerer(tf.saved_model.load(str(tiny_export)))}
    images = latency.synthetic_jpegs([(480, 640), (640, 480), (375, 500), (500, 333), (800, 1333)])
    memory = latency.measure(models, images, requests=1000, concurrency=concurrency).memory
    # Seen: 4 to 6 MiB, nearly all in the first tenth, in which the allocator and oneDNN's caches, which every thread
    # has, settle; and at most 0.01 MiB per 100 requests in the second half.
    assert memory.at(1) - memory.at(0) < 20
    assert memory.growth() < 0.5
