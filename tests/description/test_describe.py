"""A detector described: against its own weights, TensorFlow's profiler, and figures by hand."""

import json
import math
import subprocess
import sys
from pathlib import Path

import pytest
import tensorflow as tf

import gfl_tf
from gfl_tf.backbones.resnet import ResNet
from gfl_tf.description import describe, graph, memory, text
from tests.tiny import build_tiny

pytestmark = pytest.mark.one_stack

HEIGHT, WIDTH = 64, 100  # padded to 128 columns
PROFILED = ("Conv2D", "DepthwiseConv2dNative", "MatMul")


@pytest.fixture(scope="module", params=["GFLV2", "VFNet"])
def model(request):
    """GFLv2 on a ResNet-18 with separable convolutions, and VarifocalNet."""
    if request.param == "GFLV2":
        backbone = ResNet(depth=18, include_rescaling=True)
        head, neck = dict(depthwise=True, num_convs=2), dict(depthwise=True)
        return build_tiny(gfl_tf.GFLV2, backbone=backbone, hidden=64, head_options=head, neck_options=neck)
    return build_tiny(gfl_tf.VFNet)


@pytest.fixture(scope="module")
def description(model):
    return describe.describe(model, HEIGHT, WIDTH)


@pytest.fixture(scope="module")
def traced(model):
    return graph.trace(model, HEIGHT, WIDTH)


def test_every_weight_is_in_one_part(model, description):
    total = description.total
    of_parts = [part.count_params() for part in (model.backbone, model.neck, model.head)]
    assert total.parameters + total.statistics == sum(of_parts)
    head = sum(part.parameters for name, part in description.parts.items() if name.startswith("head"))
    assert head == of_parts[2]
    assert all(part.parameters > 0 and part.flops > 0 for part in description.parts.values())
    assert describe.OTHER not in description.parts


def test_flops_are_those_of_tensorflows_profiler(model, traced, description):
    """Of the kinds of operations that both count; deformable convolutions it does not know."""
    options = {**tf.compat.v1.profiler.ProfileOptionBuilder.float_operation(), "output": "none"}
    kinds = {operation.name: operation.type for operation in traced.operations}
    waiting, profiled = [tf.compat.v1.profiler.profile(traced.images.graph, cmd="scope", options=options)], 0
    while waiting:
        node = waiting.pop()
        waiting.extend(node.children)
        profiled += node.float_ops if kinds.get(node.name) in PROFILED else 0
    own = [product for product in graph.products(traced) if product.operation.type in PROFILED]
    assert 2 * sum(product.multiply_adds for product in own) == profiled > 0
    stars = 2 * 2 * _points() * 9 * 16 * 16 if "refined_box" in model.output else 0
    assert description.total.flops == profiled + stars


def _points():
    """Of 64 x 128 pixels: 8 x 16, 4 x 8, 2 x 4, 1 x 2 and 1 x 1."""
    return 128 + 32 + 8 + 2 + 1


def test_levels(model, description):
    levels = description.levels
    assert [(level.name, level.stride) for level in levels] == [(f"P{i}", 2**i) for i in range(3, 8)]
    assert [(level.rows, level.columns) for level in levels] == [(8, 16), (4, 8), (2, 4), (1, 2), (1, 1)]
    assert sum(level.places for level in levels) == _points()


def test_gflv2_by_hand(model, description):
    if "quality" not in model.output:
        pytest.skip("of GFLv2")
    # k + 1 statistics of 4 sides to 64 and to 1, with biases: the same in every GFLv2 of these k and p.
    dgqp = description.parts["head, DGQP"]
    assert dgqp.parameters == 20 * 64 + 64 + 64 + 1 == 1409
    assert dgqp.flops == 2 * _points() * (20 * 64 + 64)
    # A separable convolution of 16 channels, and its normalization.
    assert description.parts["head, box tower"].parameters == 2 * (9 * 16 + 16 * 16 + 2 * 16)
    assert description.parts["head, box tower"].flops == 2 * 2 * _points() * (9 * 16 + 16 * 16)
    assert description.parts["head, box output"].parameters == 9 * 16 + 16 * 68 + 68 + 5
    # ResNet-18: a stem of 7, pooled to 11; pairs of 3x3 kernels at 4, 8, 16 and 32 pixels, the first of each stage half
    # as far apart: 11 + 4 x 8, + 8 + 3 x 16, + 16 + 3 x 32, + 32 + 3 x 64 = 435. The neck adds 3x3 on P3 to P5, and of
    # these on; the head three.
    neck = [435 + 2 * 8, 435 + 2 * 16, 435 + 2 * 32, 435 + 4 * 32, 435 + 4 * 32 + 2 * 64]
    assert [level.fields["neck"] for level in description.levels] == neck
    for name in ("class scores", "boxes"):
        expected = [field + 3 * 2 * level.stride for field, level in zip(neck, description.levels)]
        assert [level.fields[name] for level in description.levels] == expected


def test_behind_a_star_all_is_seen(model, description):
    fields = description.levels[0].fields
    assert math.isfinite(fields["neck"])
    assert math.isinf(fields["class scores"]) == math.isinf(fields["boxes"]) == ("refined_box" in model.output)


def test_memory_grows_with_the_image(model, traced, description):
    before = memory.activations(traced)
    assert 0 < before.peak < before.total and before == description.activations
    if "refined_box" not in model.output:
        after = memory.activations(graph.trace(model, 2 * HEIGHT, 256))
        assert all(3.5 < large / small < 4.5 for small, large in zip(before, after))


def test_as_json_and_as_text(description):
    content = json.loads(json.dumps(description.content()))
    assert content["total"]["parameters"] == description.total.parameters and content["image"] == [64, 100]
    assert all(field is None or field > 0 for level in content["levels"] for field in level["fields"].values())
    shown = text.render(description)
    assert "two a multiply-add" in shown and f"{description.total.parameters:,}" in shown
    assert max(map(len, shown.splitlines())) <= 100


@pytest.mark.parametrize(
    "arguments, message",
    [
        ([], "name one of --config=NAME and --run_dir=RUN"),
        (["--config=small", "--size=640"], "--size has '640'; give 2"),
    ],
)
def test_what_is_wrong_is_said_before_tensorflow_comes(tmp_path, arguments, message):
    (tmp_path / "tensorflow.py").write_text("raise ImportError('imported too early')\n")
    root = Path(__file__).resolve().parents[2]
    program = f"import sys; sys.path.insert(0, {str(tmp_path)!r}); from gfl_tf.commands.describe import run; run()"
    done = subprocess.run([sys.executable, "-c", program, *arguments], capture_output=True, text=True, cwd=root)
    assert done.returncode == 1 and message in done.stderr and "too early" not in done.stderr


@pytest.mark.parametrize("scale, size", [((1333, 800), (800, 1333)), ((), (640, 640))])
def test_the_size_is_that_of_the_data(scale, size):
    assert describe.default_size({"data": {"scale": scale}}) == size
