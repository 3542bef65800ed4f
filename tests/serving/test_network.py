"""The detector that is served: the same answers from fewer and smaller numbers, for every backbone."""

import keras
import keras_cv
import numpy as np
import pytest
import tensorflow as tf

import gfl_tf
from gfl_tf import compat
from gfl_tf.backbones.features import freeze_batch_norm
from gfl_tf.backbones.resnet import ResNet
from gfl_tf.serving.network import serving_model
from tests.tiny import build_tiny

pytestmark = pytest.mark.one_stack

IMAGES = tf.random.stateless_uniform([1, 64, 64, 3], seed=(1, 2), maxval=255.0)


RESNET = dict(
    stackwise_filters=(4, 4, 8, 8),
    stackwise_blocks=(2, 1, 1, 1),
    stackwise_strides=(1, 2, 2, 2),
    include_rescaling=True,
)


def small_resnet():
    return keras_cv.models.ResNetBackbone(**RESNET)


def plain_functional():
    """A model that is no KerasCV backbone, with Keras's names, a cast, and outputs of convolutions used twice."""
    inputs = keras.Input((None, None, 3))
    x = keras.layers.Rescaling(1 / 255)(inputs)
    if not compat.KERAS_3:  # which has no TensorFlow operations between layers
        x = tf.cast(x, "float32")
    levels = {}
    for level in ("P1", "P2", "P3", "P4", "P5"):
        x = keras.layers.Conv2D(4, 3, strides=2, padding="same")(x)
        y = keras.layers.ReLU()(keras.layers.BatchNormalization()(x))
        add = keras.layers.Add()
        x = add([x, y])
        levels[level] = add.name
    backbone = keras.Model(inputs, x)
    backbone.pyramid_level_inputs = levels
    return backbone


# Each with the batch normalizations that stay: the number that follow no convolution, or one used elsewhere, too.
BACKBONES = {
    "ResNet": (
        lambda: ResNet(18, deformable_stages=("C5",), frozen_stages=1, norm_eval=True, include_rescaling=True),
        0,
    ),
    "KerasCV ResNetV2": (
        lambda: keras_cv.models.ResNetV2Backbone(**{**RESNET, "stackwise_blocks": (2, 2, 2, 2)}),
        8,
    ),
    "CSPDarkNet": (
        lambda: keras_cv.models.CSPDarkNetBackbone(
            stackwise_channels=[8, 8, 8, 8], stackwise_depth=[1, 1, 1, 1], include_rescaling=True
        ),
        0,
    ),
    "MobileNetV3": (
        lambda: keras_cv.models.MobileNetV3Backbone(
            stackwise_expansion=[1, 4, 4, 4],
            stackwise_filters=[8, 8, 8, 8],
            stackwise_kernel_size=[3, 3, 5, 5],
            stackwise_stride=[2, 2, 2, 2],
            stackwise_se_ratio=[0.25, None, None, 0.25],
            stackwise_activation=["relu", "relu", "hard_swish", "hard_swish"],
            include_rescaling=True,
        ),
        0,
    ),
    "EfficientNetV2": (
        lambda: keras_cv.models.EfficientNetV2Backbone(
            width_coefficient=0.25,
            depth_coefficient=0.25,
            stackwise_kernel_sizes=[3] * 5,
            stackwise_num_repeats=[1, 1, 1, 1, 2],
            stackwise_input_filters=[32] * 5,
            stackwise_output_filters=[32] * 5,
            stackwise_expansion_ratios=[1, 4, 4, 4, 4],  # without expansion KerasCV's fused blocks have no strides
            stackwise_squeeze_and_excite_ratios=[0, 0, 0, 0.25, 0.25],
            stackwise_strides=[1, 2, 2, 2, 2],
            stackwise_conv_types=["fused", "fused", "fused", "unfused", "unfused"],
            include_rescaling=True,
        ),
        0,
    ),
    "plain functional": (plain_functional, 5),
}


def detector(build_backbone, recipe=gfl_tf.GFL, seed=0, **options):
    """A tiny detector with all weights at random."""
    keras.utils.set_random_seed(seed)
    model = build_tiny(recipe, backbone=build_backbone(), **options)
    random = np.random.default_rng(seed)
    for layer in compat.nested_layers(model.backbone):
        if isinstance(layer, keras.layers.BatchNormalization) and layer.built:
            layer.set_weights([random.uniform(0.5, 2.0, weight.shape) for weight in layer.get_weights()])
    for weight in (*model.neck.weights, *model.head.weights):
        if weight.shape.rank > 1:
            weight.assign(random.normal(0, 0.1, weight.shape))
    return model


def gflv2(policy):
    """Of unusual settings, and not all of it trainable, which is what Keras orders weights by."""
    before = keras.mixed_precision.global_policy()
    keras.mixed_precision.set_global_policy(policy)
    try:
        model = detector(
            small_resnet,
            gfl_tf.GFLV2,
            head_options={"prior": 0.4},
            prediction_decoder=gfl_tf.PredictionDecoder(score_threshold=0.2, max_detections=7),
            bin_width=0.5,
            mean=(1.0, 2.0, 3.0),
            std=(4.0, 5.0, 6.0),
        )
    finally:
        keras.mixed_precision.set_global_policy(before)
    freeze_batch_norm(model.backbone)
    for layer in (model.backbone.layers[2], model.neck.outputs["P4"], model.head.class_tower[0]):
        layer.trainable = False
    return model


@pytest.fixture(scope="module")
def model():
    return gflv2("float32")


def features(model):
    return model.get_layer("pyramid_features")(IMAGES, training=False)


def assert_close(actual, expected, tolerance):
    """Within `tolerance` of each output's range."""
    for name, value in expected.items():
        result = tf.cast(actual[name], tf.float32)
        np.testing.assert_allclose(result, value, rtol=0, atol=tolerance * np.ptp(value), err_msg=name)


@pytest.mark.parametrize("name", BACKBONES)
def test_every_backbone(name):
    build, norms_left = BACKBONES[name]
    # The simplest head: it is about the backbone.
    model = detector(build, head_options={"num_convs": 0})
    expected = features(model)
    served = serving_model(model)
    call = tf.function(lambda: features(served)).get_concrete_function()
    operations = [operation.type for operation in call.graph.get_operations()]
    assert sum(operation.startswith("FusedBatchNorm") for operation in operations) == norms_left
    assert_close(call(), expected, 1e-5)
    if name in ("MobileNetV3", "plain functional"):  # they mix types where these are not all set
        assert_close(features(serving_model(model, "bfloat16")), expected, 0.1)


def test_same_detector(model):
    weights, before = model.get_weights(), model(IMAGES)
    served = serving_model(model)
    assert type(served) is gfl_tf.Detector
    parts = ("backbone", "neck", "head")
    config, expected = ({k: v for k, v in m.get_config().items() if k not in parts} for m in (served, model))
    assert config == expected
    assert served.neck.get_config() == model.neck.get_config()
    detections = served.detect(IMAGES)
    for name, value in model.detect(IMAGES).items():
        np.testing.assert_allclose(detections[name], value, rtol=1e-4, atol=1e-3, err_msg=name)
    # The given one is as it was.
    for weight, value in zip(model.get_weights(), weights):
        np.testing.assert_array_equal(weight, value)
    for name, value in model(IMAGES).items():
        np.testing.assert_array_equal(value, before[name])
    assert keras.mixed_precision.global_policy().name == "float32"


def test_unrolled(tiny_vfnet):
    def unrolled(model):
        return [layer.unroll for layer in compat.nested_layers(model) if hasattr(layer, "unroll")]

    assert unrolled(serving_model(tiny_vfnet, unroll=True)) == [True] * 4  # two of towers, two stars
    assert unrolled(serving_model(tiny_vfnet)) == unrolled(tiny_vfnet) == [False] * 4


def kernel_types(layers):
    """{type: names of the convolutions and dense layers of it}"""
    types = {}
    for layer in layers:
        if hasattr(layer, "kernel"):
            types.setdefault(tf.as_dtype(layer.kernel.dtype).name, set()).add(layer.name)
    return types


@pytest.mark.parametrize(("precision", "tolerance"), [("bfloat16", 0.05), ("float16", 0.005)])
def test_half_precision(model, tiny_vfnet, precision, tolerance):
    model, full = {
        "bfloat16": (tiny_vfnet, {"classification", "box", "refinement", "offset_conv"}),
        "float16": (model, {"classification", "box", "hidden", "output"}),
    }[precision]
    served = serving_model(model, precision)
    outputs = served(IMAGES)
    assert {value.dtype for value in outputs.values()} == {tf.float32}
    assert_close(outputs, model(IMAGES), tolerance)
    types = kernel_types(compat.nested_layers(served))
    assert set(types) == {"float32", precision} and types["float32"] == full


def test_model_of_mixed_precision(model):
    mixed = gflv2("mixed_bfloat16")
    assert_close(serving_model(mixed)(IMAGES), model(IMAGES), 1e-4)
    # Beyond the backbone, where folding rounds otherwise, bfloat16 weights compute as cast ones do.
    served, levels = serving_model(mixed, "bfloat16"), features(mixed)
    assert {level.dtype for level in levels.values()} == {tf.bfloat16}
    outputs = served.head(served.neck(levels))
    for name, value in mixed.head(mixed.neck(levels)).items():
        np.testing.assert_array_equal(outputs[name], value)


def test_unknown_precision():
    with pytest.raises(ValueError, match="'int8'; choose one of float32, bfloat16, float16"):
        serving_model(None, "int8")
