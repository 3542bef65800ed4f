"""The ONNX model: runs in onnxruntime alone, and finds what the detector finds."""

import json
import logging
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf

from gfl_tf.build import build_detector
from gfl_tf.evaluation import original_pixels
from gfl_tf.layers import deformable
from gfl_tf.ops import sampling
from gfl_tf.serving import export, onnx, onnx_int8
from gfl_tf.training import run_dir

pytestmark = pytest.mark.one_stack

SCALE = (160, 96)
CLASS_NAMES = ("circle", "square", "star")
D = 12  # the models have 20
KEYS = {
    "detection_boxes": ("tensor(float)", [D, 4]),
    "detection_scores": ("tensor(float)", [D]),
    "detection_classes": ("tensor(int32)", [D]),
    "num_detections": ("tensor(int32)", []),
}
EDGE_STDDEV = {"detection_edge_stddev": ("tensor(float)", [D, 4])}


def with_scores_apart(model):
    """A copy of a detector with random weights that finds things whose scores are not nearly equal."""
    copy = type(model).from_config(model.get_config())
    keras.utils.set_random_seed(1)
    for weight in copy.head.trainable_weights:
        if weight.shape.rank > 1:
            weight.assign(tf.random.normal(weight.shape, stddev=0.2))
    return copy


@pytest.fixture(
    scope="module",
    params=["gflv2", "vfnet", *(pytest.param(name, marks=pytest.mark.slow) for name in ("gfl", "atss", "depthwise"))],
)
def model(request):
    if request.param == "gflv2":
        return run_dir.load_run(request.getfixturevalue("tiny_run"))[0]
    return with_scores_apart(request.getfixturevalue(f"tiny_{request.param}"))


@pytest.fixture(scope="module")
def content(model, tmp_path_factory):
    folder = tmp_path_factory.mktemp("exports")
    options = export.Options(format="onnx", max_detections=D)
    version = export.export(model, SCALE, folder, "m", options, CLASS_NAMES)
    model.prediction_decoder = model.prediction_decoder.changed(max_detections=D)
    return (version / "model.onnx").read_bytes()


@pytest.fixture(scope="module")
def session(content):
    return load(content)


def load(content):
    """The onnxruntime session of a model, bytes."""
    onnxruntime = pytest.importorskip("onnxruntime")
    return onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])


def run(session, **inputs):
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(names, inputs)))


def pixels(height, width, seed=0):
    """A smooth random picture, uint8."""
    coarse = np.random.default_rng(seed).uniform(0, 255, (5, 6, 3))
    return tf.cast(tf.clip_by_value(tf.image.resize(coarse, (height, width), "bicubic"), 0, 255), tf.uint8).numpy()


def assert_same_detections(found, expected):
    """One image's served outputs against `original_pixels.detect`'s. Nearly equal scores may change places."""
    count = expected["num_detections"]
    assert found["num_detections"] == count > 0
    np.testing.assert_allclose(found["detection_scores"][:count], expected["confidence"][:count], atol=1e-5)
    expected = {**expected, "boxes": expected["boxes"][:, [1, 0, 3, 2]]}
    pairs = [("detection_" + name, name) for name in ("classes", "boxes", "edge_stddev") if name in expected]
    left = list(range(count))
    for row in range(count):
        same = [
            other
            for other in left
            if abs(found["detection_scores"][other] - expected["confidence"][row]) < 1e-5
            and all(np.allclose(found[ours][other], expected[its][row], atol=1e-2) for ours, its in pairs)
        ]
        assert same, f"detection {row} is missing"
        left.remove(same[0])
    for name, value in found.items():
        if name != "num_detections":
            assert (value[count:] == (-1 if name == "detection_classes" else 0)).all(), name


def test_finds_what_the_detector_finds(model, session):
    """In images of any size, one or several at a time."""
    detect = tf.function(lambda images: original_pixels.detect(model, images, SCALE), reduce_retracing=True)
    for number, size in enumerate([(96, 160), (333, 517), (75, 31), (7, 200)]):
        images = np.stack([pixels(*size, seed=seed) for seed in range(1 + number % 2)])
        expected = {name: value.numpy() for name, value in detect(tf.constant(images)).items()}
        found = run(session, image_tensor=images)
        for row in range(len(images)):
            assert_same_detections(
                {name: value[row] for name, value in found.items()}, {n: v[row] for n, v in expected.items()}
            )


def test_inputs_outputs_and_metadata(model, session):
    (image_tensor,) = session.get_inputs()
    assert (image_tensor.name, image_tensor.type) == ("image_tensor", "tensor(uint8)")
    assert image_tensor.shape == ["batch", "height", "width", 3]
    assert {output.shape[0] for output in session.get_outputs()} == {"batch"}
    expected = {**KEYS, **(EDGE_STDDEV if "edge_stddev" in model.detect(tf.zeros([1, 64, 64, 3])) else {})}
    assert {output.name: (output.type, output.shape[1:]) for output in session.get_outputs()} == expected
    metadata = session.get_modelmeta().custom_metadata_map
    assert {name: json.loads(value) for name, value in metadata.items()} == {
        "class_names": list(CLASS_NAMES),
        "scale": list(SCALE),
    }


def test_no_body_returns_its_inputs_as_they_are():
    """OpenVINO 2026 refuses to load a model with such a loop. As text: ONNX's own notation."""
    graph = pytest.importorskip("onnx.parser").parse_graph(
        """
        outer (int64 n, bool go, float[1] x) => (float[1] y) {
            y = Loop (n, go, x) <body = inner (int64 i, bool on, float[1] value) => (bool on, float[1] value) {}>
        }
        """
    )
    onnx._copy_what_bodies_pass_on(graph)
    (body,) = (attribute.g for attribute in graph.node[0].attribute)
    assert not {value.name for value in body.output} & {value.name for value in body.input}
    assert [(node.op_type, *node.input, *node.output) for node in body.node] == [
        ("Identity", "on", "on_passed_on"),
        ("Identity", "value", "value_passed_on"),
    ]


def test_convolutions_in_integers(content, session):
    """All convolutions have 7-bit kernels and 8-bit inputs, and the model finds nearly the same."""
    package = pytest.importorskip("onnx")
    in_integers = onnx_int8.quantized(content, (pixels(80 + seed, 120, seed) for seed in range(4)))
    graph = package.load_model_from_string(in_integers).graph
    made_by = {name: node for node in graph.node for name in node.output}
    constants = {tensor.name: package.numpy_helper.to_array(tensor) for tensor in graph.initializer}
    convolutions = [node for node in graph.node if node.op_type == "Conv"]
    assert convolutions
    for node in convolutions:
        x, kernel = (made_by[name] for name in node.input[:2])
        assert x.op_type == kernel.op_type == "DequantizeLinear"
        assert constants[kernel.input[0]].dtype == np.int8 and constants[x.input[2]].dtype == np.uint8
        assert np.abs(constants[kernel.input[0]].astype(int)).max() <= 64
    in_integers = load(in_integers)
    metadata, expected = (each.get_modelmeta().custom_metadata_map for each in (in_integers, session))
    assert metadata.items() >= expected.items()
    images = np.stack([pixels(90, 120, seed) for seed in range(3)])
    found, expected = (run(each, image_tensor=images)["detection_scores"] for each in (in_integers, session))
    assert 0 < np.abs(found - expected).max() < 0.1


def test_an_export_in_integers_sees_the_images_of_the_folder(tiny_gfl, tmp_path, monkeypatch):
    monkeypatch.setattr(onnx, "convert", lambda *_: b"wide")
    monkeypatch.setattr(
        onnx_int8, "quantized", lambda content, images: content + bytes(image[0, 0, 0] for image in images)
    )
    folder = tmp_path / "images"
    folder.mkdir()
    for grey in (7, 8, 9):
        tf.io.write_file(str(folder / f"{grey}.png"), tf.io.encode_png(np.full([4, 5, 3], grey, np.uint8)))
    options = export.Options(format="onnx", precision="int8", representative_images=str(folder))
    version = export.export(tiny_gfl, SCALE, tmp_path, "m", options)
    assert (version / "model.onnx").read_bytes() == b"wide\x07\x08\x09"


def test_integers_need_images():
    pytest.importorskip("onnxruntime")
    with pytest.raises(ValueError, match="there are no representative images"):
        onnx_int8.quantized(b"", [])


@pytest.mark.slow
def test_decoder_in_place_of_the_models(tiny_run):
    model, _ = run_dir.load_run(tiny_run)
    decoder = model.prediction_decoder.changed(max_detections=3, nms="soft_gaussian", class_wise=False)
    levels = [logging.getLogger(name).level for name in ("tf2onnx", "tensorflow")]
    found = run(load(onnx.convert(model, SCALE, CLASS_NAMES, decoder)), image_tensor=pixels(75, 90)[np.newaxis])
    assert [logging.getLogger(name).level for name in ("tf2onnx", "tensorflow")] == levels
    model.prediction_decoder = decoder
    expected = original_pixels.detect(model, pixels(75, 90)[np.newaxis], SCALE)
    assert found["detection_boxes"].shape == (1, 3, 4)
    assert_same_detections({n: v[0] for n, v in found.items()}, {n: v[0].numpy() for n, v in expected.items()})


@pytest.mark.parametrize(
    ["options", "masked"],
    [
        ({}, False),
        ({"padding": (0, 2), "strides": (2, 1), "dilation_rate": (1, 2)}, True),
        ({"groups": 2, "deformable_groups": 4}, True),
        ({"groups": 4, "deformable_groups": 2, "kernel_size": (1, 5)}, False),
    ],
)
@pytest.mark.parametrize("steps", [1, 7])
def test_deformable_convolution(monkeypatch, steps, options, masked):
    options = dict(options)
    package = pytest.importorskip("onnx")
    helper, float32 = package.helper, package.TensorProto.FLOAT
    random = np.random.default_rng(0)
    groups, parts = options.get("groups", 1), options.get("deformable_groups", 1)
    kernel = random.normal(size=(*options.pop("kernel_size", (3, 3)), 8 // groups, 12)).astype(np.float32)
    points = kernel.shape[0] * kernel.shape[1]
    (sy, sx), (py, px), (dy, dx) = (options.get(name, (1, 1)) for name in ("strides", "padding", "dilation_rate"))
    images = random.normal(size=(2, 9, 11, 8)).astype(np.float32)
    height = (9 + 2 * py - dy * (kernel.shape[0] - 1) - 1) // sy + 1
    width = (11 + 2 * px - dx * (kernel.shape[1] - 1) - 1) // sx + 1
    offsets = random.normal(size=(2, height, width, parts * points * 2), scale=3).astype(np.float32)
    mask = random.uniform(size=(2, height, width, parts * points)).astype(np.float32)
    expected = deformable.deformable_conv2d(images, offsets, kernel, tf.constant(mask) if masked else None, **options)

    monkeypatch.setattr(sampling, "CPU_STEP_BYTES", 4 * 4 * points * 8 * (2 * height * width // steps + 1))
    mask = mask if masked else np.ones([1, 1, 1, parts * points], np.float32)
    inputs = {"images": images, "offsets": offsets, "kernel": kernel, "mask": mask}
    options = deformable.Options((sy, sx), (py, px), (dy, dx), groups, parts)
    function = onnx._deformable_function("Convolve", kernel.shape, options)
    graph = helper.make_graph(
        [helper.make_node("Convolve", list(inputs), ["y"], domain=onnx.DOMAIN)],
        "graph",
        [helper.make_tensor_value_info(name, float32, value.shape) for name, value in inputs.items()],
        [helper.make_tensor_value_info("y", float32, None)],
    )
    opsets = [helper.make_opsetid("", onnx.OPSET), helper.make_opsetid(onnx.DOMAIN, 1)]
    content = helper.make_model(graph, functions=[function], opset_imports=opsets, ir_version=8)
    found = run(load(content.SerializeToString()), **inputs)["y"]
    np.testing.assert_allclose(found, expected, atol=1e-4)


@pytest.mark.slow
def test_another_precision_than_float32(tiny_run):
    config = run_dir.RunDirectory(tiny_run).read_config()
    config.precision = "mixed_bfloat16"
    with pytest.raises(ValueError, match="computes in bfloat16; an export to ONNX needs"):
        onnx.convert(build_detector(config), SCALE, CLASS_NAMES)


def test_without_tf2onnx(monkeypatch):
    monkeypatch.setitem(sys.modules, "tf2onnx", None)
    with pytest.raises(ImportError, match=r"pip install .*onnx"):
        onnx.convert(None, SCALE, CLASS_NAMES)
