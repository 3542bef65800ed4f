"""The table of items, and what they find of a tiny detector."""

import ast
import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from gfl_tf import benchmark, config_files
from gfl_tf.benchmark import (
    diagrams,
    files,
    growth,
    inputs,
    int8,
    items,
    limit,
    pairs,
    peers,
    predict,
    run,
    scoring,
    served,
    suites,
    text,
)
from gfl_tf.benchmark.results import Goal, Result, Row
from gfl_tf.benchmark.rounds import Measured, once
from gfl_tf.benchmark.workloads import Case
from gfl_tf.visualization import diagrams as drawing

pytestmark = pytest.mark.one_stack

FOLDER = Path(benchmark.__file__).parent


@pytest.mark.parametrize("name", items.ITEMS)
def test_each_item_is_a_module_that_measures(name):
    body = ast.parse((FOLDER / f"{name}.py").read_text()).body
    (measure,) = [node for node in body if isinstance(node, ast.FunctionDef) and node.name == "measure"]
    assert [argument.arg for argument in measure.args.args] == ["bench"]


def test_items_are_chosen_in_their_order():
    assert items.chosen([]) == list(items.ITEMS)
    assert items.chosen(["step", "forward"]) == ["forward", "step"]
    with pytest.raises(ValueError, match="--only has 'fast'; choose among limit, forward, "):
        items.chosen(["limit", "fast"])


@pytest.mark.parametrize("suite", suites.SUITES.values(), ids=suites.SUITES)
def test_suites_name_configs_and_sizes_that_nothing_pads(suite):
    names = [*suite.detectors, suite.deformable, *(name for pair in suite.pairs for name in pair[:2])]
    assert all(config_files.find(name.partition(":")[0]) for name in names)
    assert all(side % suites.MULTIPLE == 0 for size in suite.sizes for side in size)


def test_rows_and_goals():
    ratio = Row("gfl", "predict / forward", Measured((1.0, 1.25, 1.0), 1.0, 1.125), goal=Goal(most=1.03))
    share = Row("gfl", "share", once(0.75), goal=Goal(least=0.92))
    result = Result([ratio, share, Row("vfnet", "forward", once(1234.5), "ms")], ["OpenVINO: pip install openvino"])
    assert text.rows(result)[1:] == [
        ["gfl", "predict / forward", "1", "1", "1.12", "", "<= 1.03", "yes"],
        ["", "share", "0.75", "0.75", "", "", ">= 0.92", "NO"],
        ["vfnet", "forward", "1,234", "1,234", "", "ms", "", ""],
    ]
    assert text.unmet({"predict": result}) == ["predict: gfl: share is 0.75, goal >= 0.92"]
    assert "not measured: OpenVINO: pip install openvino" in text.render("predict", result)
    content = json.loads(json.dumps(result.content()))
    assert content["rows"][0]["values"] == [1.0, 1.25, 1.0] and content["rows"][1]["is_met"] is False


def test_exponents():
    """Of the larger half of the sizes: what is there anyway does not count."""
    sizes = [1, 2, 4, 8, 16, 32]
    assert growth.exponent(sizes, [5.0 * size**1.5 for size in sizes]) == pytest.approx(1.5)
    assert growth.exponent(sizes, [100.0, 100.0, 100.0, 8.0, 16.0, 32.0]) == pytest.approx(1)


def test_each_axis_grows():
    for axis in growth.axes(Case(640, 640)).values():
        sizes = [point.size for point in axis.points]
        assert sizes == sorted(set(sizes)) and len(sizes) >= 4
        assert all(side % 32 == 0 for point in axis.points for side in (point.case.height, point.case.width))


def test_a_size_of_nothing_is_drawn_too():
    draw = diagrams.growth({"losses": ([0, 1, 10], Measured((1.0, 1.0, 2.0), 1.0), 0.3)}, "boxes")
    assert "losses: exponent 0.30" in drawing.svg(draw, "Growth")


def test_scoring_compares_the_same_numbers():
    synthetic = scoring.Synthetic(6)
    dataset = synthetic.dataset()
    assert len(synthetic.results) == 600
    metrics = scoring.added(dataset, synthetic).result().metrics
    np.testing.assert_array_equal(list(metrics.values()), scoring.scored(synthetic))
    assert 0 < metrics["AP"] < 1


def test_served_batches_and_requests(bench):
    bench.settings = dataclasses.replace(bench.settings, batch_sizes=(1, 2), requests=10)
    result = served.measure(bench)
    assert [row.what.partition(", ")[0] for row in result.rows[:6:2]] == [
        "image_tensor", "serving_default", "serving_default on a canvas",
    ]  # fmt: skip
    assert result.rows[1].what == "image_tensor, 2 images over as many in requests of 1" and result.rows[1].goal
    p50, p90, p99, held = (row.measured.median for row in result.rows[6:])
    assert 0 < p50 <= p90 <= p99 and held > 0


def test_integers_over_float32(bench, monkeypatch):
    pytest.importorskip("onnxruntime")
    result = int8.measure(bench)
    assert [row.what for row in result.rows] == ["float32", "int8", "int8 / float32"] and not result.missing
    assert result.rows[2].goal.most == 0.5
    monkeypatch.setitem(peers.PEERS, "ONNX Runtime", peers.PEERS["ONNX Runtime"]._replace(packages=("not_there",)))
    (said,) = int8.measure(bench).missing
    assert said.startswith("ONNX Runtime: not_there is not installed: pip install ")


@pytest.mark.parametrize(["shift", "is_timed"], [(0.005, True), (0.02, False), (np.nan, False)])
def test_a_runtime_that_finds_something_else_is_not_timed(bench, monkeypatch, shift, is_timed):
    scores = np.float32([[10.0, 5.0, 0.0]])
    answer = {"detection_scores": scores + shift}
    peer = peers.Peer((), "", lambda artifact, case: {peers.IMAGE: lambda: answer}, {})
    monkeypatch.setattr(peers, "PEERS", {"another": peer})
    monkeypatch.setattr(peers, "_ours", lambda *_: {peers.IMAGE: lambda: {"detection_scores": tf.constant(scores)}})
    result = peers.measure(bench)
    assert bool(result.rows) == is_timed
    assert [line.partition(":")[0] for line in result.missing] == ([] if is_timed else ["another"])


@pytest.mark.parametrize(["error", "said"], [(RuntimeError("a\nb "), "b"), (RuntimeError(), "RuntimeError()")])
def test_a_peer_that_fails_is_named_with_its_reason(bench, monkeypatch, error, said):
    def fail(*_):
        raise error

    monkeypatch.setattr(peers, "PEERS", {"another": peers.Peer((), "", fail, {})})
    assert peers.measure(bench).missing == [f"another: {said}"]


def test_a_pipeline_that_is_there_is_not_waited_for():
    import tensorflow as tf

    assert inputs.waiting(tf.data.Dataset.range(100), step=0.01) < 0.5


def test_a_detector_of_ones_own(bench):
    """Measured, printed and written, with its limit."""
    said = []
    bench.say = said.append
    bench.item = "limit"
    found = limit.measure(bench)
    assert [row.what for row in found.rows] == ["3x3 convolution", "matrix product", "copy"]
    assert len(bench.drift) == 2 and bench.drift[0].item == "limit" and bench.drift[0].rates["copy"] > 0
    assert pairs.measure(bench).missing == ["pairs: a suite has them; --config and --run_dir name one detector"]
    rows = {(row.of.split(", ")[1], row.what): row for row in predict.measure(bench).rows}
    assert {what for _, what in rows} == {
        "forward",
        "detect / forward",
        "predict / forward",
        "from a JPEG / forward",
    }
    assert {case for case, _ in rows} == {"64x64"}


def test_what_is_written(bench, tmp_path):
    said = []
    bench.say = said.append
    results = run.run(bench, ["limit", "forward"], tmp_path)
    content = json.loads((tmp_path / files.JSON).read_text())
    assert list(content["items"]) == ["limit", "forward"] and len(content["limits"]) == 4
    (share,) = [row for row in content["items"]["forward"]["rows"] if row["what"] == "of the 3x3 convolution"]
    assert len(share["values"]) == 2 and share["median"] > 0 and share["goal"] is None
    page = (tmp_path / files.PAGE).read_text()
    assert "<h2>Forward pass: FLOPs a second" in page and page.count("<svg ") == 2 and "GFLOP/s" in page
    assert said[-1].startswith(f"Written to {tmp_path}") and text.render("forward", results["forward"]) in said[1]
