"""TensorFlow Lite files in the interpreter against the detectors that they were made of."""

import re

import keras_cv
import numpy as np
import pytest
import tensorflow as tf

import gfl_tf
from gfl_tf import compat
from gfl_tf.ops import boxes as box_ops
from gfl_tf.ops import sampling
from gfl_tf.serving import canvas, export, tflite
from gfl_tf.training import run_dir
from tests.tiny import build_tiny, tiny_backbone

CANVAS = (64, 96)
IMAGE_SHAPE = np.array([60, 90], np.int32)


def picture(seed):
    coarse = np.random.default_rng(seed).uniform(0, 255, (1, 5, 6, 3))
    return tf.cast(tf.clip_by_value(tf.image.resize(coarse, CANVAS, "bicubic"), 0, 255), tf.uint8).numpy()


@pytest.fixture(scope="module")
def gflv2(tiny_run):
    return run_dir.load_run(tiny_run)[0]


@pytest.fixture(scope="module")
def expected(gflv2):
    return outputs_of(canvas.detect_canvas(gflv2, *CANVAS), picture(1))


def outputs_of(detect, image):
    return {name: np.array(value) for name, value in detect(image=image, image_shape=IMAGE_SHAPE).items()}


def interpreted(content, image):
    return outputs_of(compat.tflite_interpreter(content).get_signature_runner(), image)


def assert_same(found, expected):
    assert found.keys() == expected.keys()
    assert expected["num_detections"][0] >= 5
    for name, value in expected.items():
        assert found[name].dtype == value.dtype and found[name].shape == value.shape
        # Pixels of a canvas of 96, and scores: sums of some hundred float32 products in another order.
        np.testing.assert_allclose(found[name], value, rtol=1e-4, atol=1e-3, err_msg=name)


def exported(model, tmp_path, **options):
    """The content of the file that an export writes."""
    options = export.Options(format="tflite", canvas=CANVAS, **options)
    return (export.export(model, (160, 96), tmp_path, "m", options) / "model.tflite").read_bytes()


def test_gflv2(gflv2, expected, tmp_path):
    content = exported(gflv2, tmp_path)
    assert_same(interpreted(content, picture(1)), expected)


def test_nothing_found(tiny_vfnet):
    """Soft-NMS of no boxes."""
    decoder = tiny_vfnet.prediction_decoder.changed(score_threshold=1.0)
    found = interpreted(tflite.convert(tiny_vfnet, *CANVAS, decoder=decoder), picture(1))
    assert found["num_detections"] == [0] and (found["detection_classes"] == -1).all()
    assert not found["detection_scores"].any() and not found["detection_boxes"].any()


@pytest.mark.slow
@pytest.mark.parametrize("name", ["gfl", "atss", "depthwise"])
def test_other_detectors(name, request):
    model = request.getfixturevalue(f"tiny_{name}")
    content = tflite.convert(model, *CANVAS)
    assert_same(interpreted(content, picture(1)), outputs_of(canvas.detect_canvas(model, *CANVAS), picture(1)))


def test_vfnet(tiny_vfnet, monkeypatch):
    """Deformable and star-shaped convolutions, of several steps on P3; soft-NMS."""
    monkeypatch.setattr(sampling, "UNROLLED_STEP_BYTES", 1 << 16)
    content = tflite.convert(tiny_vfnet, *CANVAS)
    assert_same(interpreted(content, picture(1)), outputs_of(canvas.detect_canvas(tiny_vfnet, *CANVAS), picture(1)))


def test_float16(gflv2, expected, tmp_path):
    content = exported(gflv2, tmp_path, precision="float16", max_detections=4)
    tensors = compat.tflite_interpreter(content).get_tensor_details()
    stored = sum(np.prod(tensor["shape"]) for tensor in tensors if tensor["dtype"] == np.float16)
    assert stored >= sum(np.prod(weight.shape) for weight in gflv2.weights if weight.shape.rank > 1)
    # Weights rounded to 11 bits, by 5e-4 of them at most, one layer's errors on top of the other's.
    best = {name: value[:, :4] for name, value in expected.items() if value.ndim > 1}
    best["num_detections"] = np.array([4])
    assert_close(interpreted(content, picture(1)), best, min_iou=0.98, max_score=0.005)


def test_int8(gflv2, expected, tmp_path):
    (tmp_path / "images").mkdir()
    for seed in range(2, 6):
        shown = picture(seed)[0, :60, :80]  # of another shape than the canvas: the ranges must know its empty part
        (tmp_path / "images" / f"{seed}.png").write_bytes(tf.io.encode_png(shown).numpy())
    content = exported(gflv2, tmp_path, precision="int8", representative_images=str(tmp_path / "images"))
    # Random weights give neighbours nearly the same score, and another of them may suppress the others; ranges of four
    # pictures cut off what others reach: scores of three pictures moved by up to 0.04. A trained detector keeps its AP.
    assert_close(interpreted(content, picture(1)), expected, min_iou=0.7, max_score=0.05)

    tensors = compat.tflite_interpreter(content).get_tensor_details()
    assert weights_in_integers(content) == convolution_weights(gflv2)
    # Keras 3 adds a number to each name.
    in_float = re.compile(r"^Softmax|NonMaxSuppression|/norm(_1)?/(Mean|unstack)|TopK|/(box|classification)(_\d+)?/")
    of_float = [tensor for tensor in tensors if in_float.search(tensor["name"])]
    assert len(of_float) > 20 and not [tensor["name"] for tensor in of_float if tensor["dtype"] == np.int8]


def mobilenet():
    """Its squeeze and excitation has convolutions that the converter makes one with the activation, numbered.

    They are not as wide as the neck, whose untrained zeros the converter would take for their constants.
    """
    return keras_cv.models.MobileNetV3Backbone(
        stackwise_expansion=[1, 4, 4, 4],
        stackwise_filters=[8, 8, 24, 24],
        stackwise_kernel_size=[3, 3, 3, 3],
        stackwise_stride=[2, 2, 2, 2],
        stackwise_se_ratio=[None, None, 0.25, 0.25],
        stackwise_activation=["relu", "relu", "hard_swish", "hard_swish"],
        include_rescaling=True,
    )


LIGHT = dict(head_options=dict(depthwise=True), neck_options=dict(depthwise=True), backbone=mobilenet)


@pytest.mark.parametrize("options", [dict(head_options=dict(groups=0)), LIGHT], ids=["no normalization", "light"])
def test_int8_of_others(options):
    """All convolutions but the output ones compute in integers."""
    backbone = options.get("backbone", tiny_backbone)()
    model = build_tiny(gfl_tf.RetinaNet, **{**options, "backbone": backbone})
    content = tflite.convert(model, *CANVAS, "int8", [(picture(2), IMAGE_SHAPE)] * 2)
    assert weights_in_integers(content) == convolution_weights(model)


def weights_in_integers(content):
    tensors = compat.tflite_interpreter(content).get_tensor_details()
    kernels = [t for t in tensors if t["dtype"] == np.int8 and len(t["quantization_parameters"]["scales"]) > 1]
    return sum(np.prod(kernel["shape"]) for kernel in kernels)


def convolution_weights(model):
    """Of all convolutions but the output ones."""
    parts = model.get_layer("pyramid_features"), model.neck, model.head
    kernels = sum(int(tf.size(weight)) for part in parts for weight in part.weights if weight.shape.rank == 4)
    outputs = [*model.head.classification.weights, *model.head.box.weights]
    return kernels - sum(int(tf.size(weight)) for weight in outputs if weight.shape.rank == 4)


@pytest.mark.slow
def test_int8_with_deformable_convolutions(tiny_vfnet):
    decoder = tiny_vfnet.prediction_decoder.changed(nms="hard")
    content = tflite.convert(tiny_vfnet, *CANVAS, "int8", [(picture(2), IMAGE_SHAPE)] * 2, decoder)
    reference = outputs_of(canvas.detect_canvas(tiny_vfnet, *CANVAS, decoder), picture(1))
    assert_close(interpreted(content, picture(1)), reference, min_iou=0.7, max_score=0.02)


def assert_close(found, expected, min_iou, max_score):
    """Every detection of `expected` has one of its class in `found`, and their numbers are the same."""
    count = int(expected["num_detections"][0])
    assert found["num_detections"][0] == count
    boxes = [outputs["detection_boxes"][0, :count] for outputs in (expected, found)]
    overlap = box_ops.iou(boxes[0][:, np.newaxis], boxes[1]).numpy()  # whether of x or y first
    classes = [outputs["detection_classes"][0, :count] for outputs in (expected, found)]
    overlap[classes[0][:, np.newaxis] != classes[1]] = 0
    counterpart = overlap.argmax(axis=1)
    scores = [outputs["detection_scores"][0, :count] for outputs in (expected, found)]
    assert overlap.max(axis=1).min() > min_iou
    assert np.abs(scores[0] - scores[1][counterpart]).max() < max_score


def test_int8_with_soft_nms_is_refused(tiny_vfnet):
    with pytest.raises(ValueError, match="nms is 'soft_linear', a loop"):
        tflite.convert(tiny_vfnet, *CANVAS, "int8", [(picture(2), IMAGE_SHAPE)])


def test_int8_with_voting_is_refused(gflv2):
    decoder = gflv2.prediction_decoder.changed(voting_sigma=0.02)
    with pytest.raises(ValueError, match="voting_sigma is 0.02, .* choose 0, or another precision"):
        tflite.convert(gflv2, *CANVAS, "int8", [(picture(2), IMAGE_SHAPE)], decoder)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((60, 96), "60 x 96 .* multiples of 32"),
        ((64, 96, "bfloat16"), "'bfloat16'; TensorFlow Lite has float32, float16, int8"),
        ((64, 96, "int8"), "int8 needs representative images"),
        ((64, 96, "float16", [(picture(0), IMAGE_SHAPE)]), "are for int8, not for float16"),
        ((64, 96, "int8", []), "there are no representative images"),
        ((64, 96, "int8", [(picture(0)[0], IMAGE_SHAPE)]), r"representative image 0 is \(64, 96, 3\)"),
    ],
)
def test_wrong_arguments(gflv2, arguments, message):
    with pytest.raises(ValueError, match=message):
        tflite.convert(gflv2, *arguments)
