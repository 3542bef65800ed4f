"""The detector that is served: the same answers from fewer and smaller numbers, for every backbone."""

import keras_cv
import numpy as np
import pytest
import tensorflow as tf
from tensorflow import keras

import gfl_tf
from gfl_tf.backbones.features import freeze_batch_norm
from gfl_tf.backbones.resnet import ResNet
from gfl_tf.heads.gfl import GFLHead, GFLV2Head
from gfl_tf.layers.dgqp import DGQP
from gfl_tf.necks.fpn import FPN
from gfl_tf.necks.pafpnx import PAFPNX
from gfl_tf.serving.network import serving_model

IMAGES = tf.random.stateless_uniform([1, 64, 64, 3], seed=(1, 2), maxval=255.0)


RESNET = dict(
    stackwise_filters=(4, 4, 8, 8), stackwise_blocks=(1, 1, 1, 1), stackwise_strides=(1, 2, 2, 2), include_rescaling=True
)


def small_resnet():
    return keras_cv.models.ResNetBackbone(**RESNET)


def plain_functional():
    """A model that is no KerasCV backbone, with names by Keras, a cast and a convolution with two consumers."""
    inputs = keras.Input((None, None, 3))
    x = tf.cast(keras.layers.Rescaling(1 / 255)(inputs), "float32")
    levels = {}
    for level in ("P1", "P2", "P3", "P4", "P5"):
        x = keras.layers.Conv2D(4, 3, strides=2, padding="same")(x)
        y = keras.layers.ReLU()(keras.layers.BatchNormalization()(x))
        x = y if level == "P1" else keras.layers.Add()([x, y])
    names = [layer.name for layer in keras.Model(inputs, x).layers if layer.name.startswith("add")]
    backbone = keras.Model(inputs, x)
    backbone.pyramid_level_inputs = {**levels, **dict(zip(("P2", "P3", "P4", "P5"), names))}
    return backbone


# Each with the batch normalizations that stay: the number that follow no convolution, or one used elsewhere, too.
BACKBONES = {
    "ResNet": (
        lambda: ResNet(18, deformable_stages=("C5",), frozen_stages=1, norm_eval=True, include_rescaling=True),
        0,
    ),
    "KerasCV ResNetV2": (lambda: keras_cv.models.ResNetV2Backbone(**RESNET), 4),
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
            stackwise_kernel_sizes=[3] * 4,
            stackwise_num_repeats=[1, 1, 1, 2],
            stackwise_input_filters=[32] * 4,
            stackwise_output_filters=[32] * 4,
            stackwise_expansion_ratios=[1, 4, 4, 4],
            stackwise_squeeze_and_excite_ratios=[0, 0, 0.25, 0.25],
            stackwise_strides=[2, 2, 2, 2],
            stackwise_conv_types=["fused", "fused", "unfused", "unfused"],
            include_rescaling=True,
        ),
        0,
    ),
    "plain functional": (plain_functional, 4),
}


def detector(backbone, cls=gfl_tf.GFL, seed=0, **options):
    """A tiny detector with all weights at random."""
    keras.utils.set_random_seed(seed)
    options.setdefault("head", GFLHead(3, channels=8, num_convs=1, groups=4, prior=0.4))
    options.setdefault("neck", FPN(channels=8))
    model = cls(backbone, 3, "xyxy", **options)
    random = np.random.default_rng(seed)
    for layer in model.backbone.submodules:
        if isinstance(layer, keras.layers.BatchNormalization) and layer.built:
            layer.set_weights([random.uniform(0.5, 2.0, weight.shape) for weight in layer.get_weights()])
    for weight in (*model.neck.weights, *model.head.weights):
        if weight.shape.rank > 1:
            weight.assign(random.normal(0, 0.1, weight.shape))
    return model


def small(precision="float32", **options):
    before = keras.mixed_precision.global_policy()
    keras.mixed_precision.set_global_policy(precision)
    try:
        return detector(small_resnet(), gfl_tf.GFLV2, head=gflv2_head(), **options)
    finally:
        keras.mixed_precision.set_global_policy(before)


def gflv2_head():
    return GFLV2Head(GFLHead(3, channels=8, num_convs=1, groups=4, prior=0.4), DGQP(hidden=8))


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
    model = detector(build(), head=GFLHead(3, channels=8, num_convs=0))
    expected = features(model)
    served = serving_model(model)
    call = tf.function(lambda: features(served)).get_concrete_function()
    operations = [operation.type for operation in call.graph.get_operations()]
    assert sum(operation.startswith("FusedBatchNorm") for operation in operations) == norms_left
    assert_close(call(), expected, 1e-5)
    assert_close(features(serving_model(model, "bfloat16")), expected, 0.1)


@pytest.mark.parametrize(("precision", "tolerance"), [("bfloat16", 0.05), ("float16", 0.005)])
def test_half_precision(tiny_vfnet, precision, tolerance):
    served, model = serving_model(tiny_vfnet, precision), tiny_vfnet
    outputs, expected = served(IMAGES), model(IMAGES)
    assert {value.dtype for value in outputs.values()} == {tf.float32}
    assert_close(outputs, expected, tolerance)
    full = {"classification", "box", "refinement", "offset_conv"}
    for layer in (*served.neck.submodules, *served.head.submodules):
        if isinstance(layer, (keras.layers.Conv2D, gfl_tf.layers.DeformableConv2D)):
            own = layer.kernel.dtype
            assert own == ("float32" if layer.name in full else precision), layer.name
    assert served.backbone.get_layer("stem_1_conv").kernel.dtype == precision


def test_settings_are_kept():
    decoder = gfl_tf.PredictionDecoder(score_threshold=0.2, max_detections=7)
    neck = PAFPNX(channels=8, groups=4, deformable=False)
    model = small(prediction_decoder=decoder, neck=neck, bin_width=0.5, mean=(1.0, 2.0, 3.0), std=(4.0, 5.0, 6.0))
    served = serving_model(model)
    assert type(served) is gfl_tf.GFLV2
    assert served.get_config() == model.get_config()
    for name, value in model.detect(IMAGES).items():
        np.testing.assert_allclose(served.detect(IMAGES)[name], value, rtol=1e-4, atol=1e-4)


def test_as_mixed_precision():
    """Beyond the backbone, where folding rounds otherwise, to the last bit."""
    mixed = small("mixed_bfloat16")
    served = serving_model(mixed, "bfloat16")
    levels = features(mixed)
    assert {level.dtype for level in levels.values()} == {tf.bfloat16}
    outputs = served.head(served.neck(levels))
    for name, value in mixed.head(mixed.neck(levels)).items():
        np.testing.assert_array_equal(outputs[name], value)


def test_float32_of_a_model_of_mixed_precision():
    served = serving_model(small("mixed_float16"))
    assert {layer.compute_dtype for layer in served.submodules if isinstance(layer, keras.layers.Layer)} == {"float32"}
    assert_close(served(IMAGES), small()(IMAGES), 1e-5)


def test_given_model_and_policy_stay():
    model = small()
    weights, before = model.get_weights(), model(IMAGES)
    flags = [layer.trainable for layer in model.backbone.layers]
    serving_model(model, "bfloat16")
    for weight, expected in zip(model.get_weights(), weights):
        np.testing.assert_array_equal(weight, expected)
    for name, value in model(IMAGES).items():
        np.testing.assert_array_equal(value, before[name])
    assert [layer.trainable for layer in model.backbone.layers] == flags
    assert keras.mixed_precision.global_policy().name == "float32"


def test_whatever_is_trainable():
    """Keras orders a model's weights by it."""
    model = small()
    freeze_batch_norm(model.backbone)
    model.backbone.layers[2].trainable = False
    model.neck.outputs["P4"].trainable = False
    model.head.base.class_tower[0].trainable = False
    assert_close(serving_model(model)(IMAGES), model(IMAGES), 1e-4)


def test_weights_take_half_the_space():
    # Of the convolutions' inputs alone, as the normalizations that were folded keep theirs unused.
    model = serving_model(small(), "float16")
    half = [weight for weight in model.trainable_weights if weight.dtype == tf.float16]
    assert sum(weight.shape.rank > 1 for weight in half) > 10


def test_unknown_precision():
    with pytest.raises(ValueError, match="'int8'; choose one of float32, bfloat16, float16"):
        serving_model(None, "int8")
