"""Batch normalization: the same numbers with Keras 2 and Keras 3, by hand."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from gfl_tf import compat
from gfl_tf.backbones.features import pyramid_features
from gfl_tf.compat import keras_cv
from gfl_tf.layers.batch_norm import BatchNormalization

INPUTS = np.random.default_rng(0).normal(2.0, 3.0, size=(2, 3, 4, 5)).astype(np.float32)
PIXELS = INPUTS.reshape(-1, 5)


def _layer(**options):
    layer = BatchNormalization(momentum=0.75, epsilon=1e-2, **options)
    layer.build((None, None, None, 5))
    random = np.random.default_rng(1)
    for variable in layer.weights:
        variable.assign(random.uniform(0.5, 2.0, 5))
    return layer


def _statistics(layer):
    return layer.moving_mean.numpy(), layer.moving_variance.numpy()


def _normalized(layer, mean, variance):
    return (INPUTS - mean) / np.sqrt(variance + 1e-2) * layer.gamma.numpy() + layer.beta.numpy()


def test_training():
    layer = _layer()
    mean, variance = _statistics(layer)
    outputs = layer(INPUTS, training=True)
    np.testing.assert_allclose(outputs, _normalized(layer, PIXELS.mean(axis=0), PIXELS.var(axis=0)), atol=1e-5)
    # The batch's variance enters the moving one without its bias.
    expected = 0.75 * mean + 0.25 * PIXELS.mean(axis=0), 0.75 * variance + 0.25 * PIXELS.var(axis=0, ddof=1)
    np.testing.assert_allclose(_statistics(layer), expected, rtol=1e-5)


@pytest.mark.parametrize("how", ["inference", "norm_eval", "not trainable"])
def test_moving_statistics(how):
    layer = _layer(norm_eval=how == "norm_eval")
    layer.trainable = how != "not trainable"
    before = _statistics(layer)
    outputs = layer(INPUTS, training=how != "inference")
    np.testing.assert_allclose(outputs, _normalized(layer, *before), atol=1e-5)
    np.testing.assert_array_equal(_statistics(layer), before)
    assert len(layer.trainable_variables) == (0 if how == "not trainable" else 2)


def test_norm_eval_holds_inside_a_model_in_training():
    inputs = keras.Input((3, 4, 5))
    layer = BatchNormalization(norm_eval=True)
    model = keras.Model(inputs, layer(inputs))
    outer = keras.Model(inputs, model(inputs))
    np.testing.assert_allclose(outer(INPUTS, training=True), outer(INPUTS, training=False), atol=1e-6)
    assert not layer.moving_mean.numpy().any()


def test_round_trip():
    config = keras.saving.serialize_keras_object(_layer(norm_eval=True))
    assert keras.saving.deserialize_keras_object(config).norm_eval


def test_bfloat16_is_computed_in_it_with_float32_parameters():
    layer = BatchNormalization(dtype="mixed_bfloat16")
    outputs = layer(INPUTS, training=True)
    assert outputs.dtype == tf.bfloat16
    assert {tf.as_dtype(variable.dtype) for variable in layer.weights} == {tf.float32}
    np.testing.assert_allclose(layer.moving_mean, 0.01 * PIXELS.mean(axis=0), rtol=1e-2)


def test_every_layer_of_a_backbone_is_one_operation():
    """KerasCV's own layers too, those inside its blocks included."""
    backbone = keras_cv.models.EfficientNetV2Backbone(
        stackwise_kernel_sizes=[3] * 5, stackwise_num_repeats=[1] * 5, stackwise_input_filters=[8] * 5,
        stackwise_output_filters=[8] * 5, stackwise_expansion_ratios=[1, 2, 2, 2, 2],
        stackwise_squeeze_and_excite_ratios=[0.0, 0.0, 0.0, 0.25, 0.25], stackwise_strides=[1, 2, 2, 2, 2],
        stackwise_conv_types=["fused", "fused", "fused", "unfused", "unfused"], skip_connection_dropout=0.0,
        width_coefficient=1.0, depth_coefficient=1.0, include_rescaling=True,
    )  # fmt: skip
    features = pyramid_features(backbone)
    layers = compat.nested_layers(features)
    norms = [layer for layer in layers if isinstance(layer, keras.layers.BatchNormalization) and layer.built]
    call = tf.function(lambda images: features(images, training=True))
    operations = call.get_concrete_function(tf.TensorSpec([1, 64, 64, 3])).graph.get_operations()
    used = [operation for operation in operations if operation.type == "FusedBatchNormV3"]
    assert len(used) == len(norms) > 8
