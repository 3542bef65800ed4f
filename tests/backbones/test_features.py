"""Every backbone of the config table, in a small form, under a detector."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import gfl_tf
from gfl_tf import compat
from gfl_tf.backbones.features import freeze_batch_norm, pyramid_features
from gfl_tf.build import BACKBONES
from tests.tiny import build_tiny

# TensorFlow 2.15's oneDNN build corrupts memory in the weight gradient of a 1x1 convolution of stride 2 from 8
# channels (tf.nn.conv2d alone does), so the ResNets are 16 channels wide.
TINY = {
    "csp_darknet": dict(stackwise_channels=[8, 8, 16, 16], stackwise_depth=[1, 1, 1, 1]),
    "densenet": dict(stackwise_num_repeats=[1, 1, 1, 1], growth_rate=8),
    "efficientnet_v2": dict(
        width_coefficient=0.25,
        depth_coefficient=0.2,
        stackwise_kernel_sizes=[3] * 6,
        stackwise_num_repeats=[1] * 6,
        stackwise_input_filters=[32, 16, 32, 48, 96, 112],
        stackwise_output_filters=[16, 32, 48, 96, 112, 192],
        stackwise_expansion_ratios=[1, 2, 2, 2, 2, 2],
        stackwise_squeeze_and_excite_ratios=[0, 0, 0, 0.25, 0.25, 0.25],
        stackwise_strides=[1, 2, 2, 2, 1, 2],
        stackwise_conv_types=["fused", "fused", "fused", "unfused", "unfused", "unfused"],
    ),
    "mobilenet_v3": dict(
        stackwise_expansion=[1, 4, 4, 4, 4],
        stackwise_filters=[8, 8, 16, 16, 16],
        stackwise_kernel_size=[3] * 5,
        stackwise_stride=[2, 2, 2, 1, 2],
        stackwise_se_ratio=[0.25, None, None, 0.25, 0.25],
        stackwise_activation=["relu", "relu", "hard_swish", "hard_swish", "hard_swish"],
    ),
    "reference_res2net": dict(depth=50, base_width=8),
    "reference_resnet": dict(depth=18),
    "resnet": dict(
        stackwise_filters=[64, 16, 16, 16],
        stackwise_blocks=[1, 1, 1, 1],
        stackwise_strides=[1, 2, 2, 2],
        block_type="basic_block",
    ),
    "resnet_v2": dict(
        stackwise_filters=[16, 16, 16, 16], stackwise_blocks=[2, 2, 2, 2], stackwise_strides=[1, 2, 2, 2]
    ),
    "yolo_v8": dict(stackwise_channels=[8, 8, 16, 16], stackwise_depth=[1, 1, 1, 1]),
}


def test_all_are_here():
    """But for those out of other libraries, which have a test of their own."""
    assert set(TINY) == set(BACKBONES) - {"keras_applications", "keras_hub"}


@pytest.mark.parametrize("name", TINY)
def test_under_a_detector(name):
    """333 x 517 is padded to 352 x 544 = 11 x 17 cells of P5: 2992 + 748 + 187 + 54 + 15 points."""
    backbone = BACKBONES[name](include_rescaling=True, **TINY[name])
    model = build_tiny(gfl_tf.GFL, 2, backbone=backbone, num_bins=8)
    images = tf.random.stateless_uniform((1, 333, 517, 3), seed=(1, 2), maxval=255.0)
    outputs = model(images)
    assert outputs["classification"].shape == (1, 3996, 2)
    assert outputs["box"].shape == (1, 3996, 36)

    labels = {"boxes": tf.constant([[[4.0, 6, 50, 60]]]), "classes": tf.constant([[1.0]])}
    with tf.GradientTape() as tape:
        loss = model.compute_loss(images[:, :64, :96], labels, model(images[:, :64, :96], training=True))
    assert np.isfinite(loss)
    # Every trainable weight takes part: layers past P5, as DenseNet and MobileNetV3 have them, are not trainable.
    gradients = tape.gradient(loss, model.trainable_variables)
    assert [v.name for v, g in zip(model.trainable_variables, gradients) if g is None] == []
    assert all(np.isfinite(g).all() for g in gradients)


def test_strides():
    features = pyramid_features(BACKBONES["yolo_v8"](include_rescaling=True, **TINY["yolo_v8"]))
    shapes = {level: value.shape for level, value in features(tf.zeros((1, 64, 128, 3))).items()}
    assert shapes == {"P3": (1, 8, 16, 8), "P4": (1, 4, 8, 16), "P5": (1, 2, 4, 16)}


def test_missing_level_is_named():
    inputs = keras.Input((None, None, 3))
    backbone = keras.Model(inputs, keras.layers.Conv2D(1, 1, strides=8, name="eighth")(inputs), name="short")
    backbone.pyramid_level_inputs = {"P3": "eighth"}
    with pytest.raises(ValueError, match="short has no P4, P5. Of 256 x 352 pixels its levels have: P3 32 x 44"):
        pyramid_features(backbone)


def halvings(levels=("P3", "P4", "P5"), padding="same", input_shape=(None, None, 3)):
    """A model that halves its input five times; `levels`: where it says that it has P3 to P5."""
    inputs = x = keras.Input(input_shape)
    for level in ("P1", "P2", "P3", "P4", "P5"):
        x = keras.layers.Conv2D(1, 3, strides=2, padding=padding, name=level)(x)
    backbone = keras.Model(inputs, x, name="halvings")
    backbone.pyramid_level_inputs = dict(zip(("P3", "P4", "P5"), levels))
    return backbone


def test_sizes_of_its_own():
    """Of 40 x 72 pixels P5 has 2 x 3: rounded up."""
    features = pyramid_features(halvings(input_shape=(40, 72, 3)))
    assert tuple(features(tf.zeros((1, 40, 72, 3)))["P5"].shape[1:3]) == (2, 3)


WRONG = [
    (dict(levels=("P3", "P5", "P5")), r"P4 \(P5\) must have 1/16 .* Of 256 x 352 pixels that is 16 x 22, not 8 x 11"),
    (dict(padding="valid"), r"P3 \(P3\) must have 1/8 of the image's size. .* 32 x 44, not 31 x 43"),
    (dict(input_shape=(64, 96, 3), padding="valid"), "Of 64 x 96 pixels that is 8 x 12, not 7 x 11"),
    (dict(levels=("P3", "P4", "p_5")), "halvings has no layer 'p_5' to be P5. Like it are: .*P5"),
    (dict(levels=()), "halvings does not say which of its layers are its levels. Name them: gfl_tf.backbones.Pyramid"),
]


@pytest.mark.parametrize("arguments, message", WRONG)
def test_wrong_levels_are_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        pyramid_features(halvings(**arguments))


def test_levels_of_keras_hub_go_by_their_size():
    """It calls the tensors by numbers of stages."""
    backbone = halvings()
    del backbone.pyramid_level_inputs
    outputs = {f"P{level + 1}": backbone.get_layer(f"P{level}").output for level in (1, 3, 4, 5)}
    backbone.pyramid_outputs = {**outputs, "P7": backbone.output}
    features = pyramid_features(backbone)(tf.zeros((1, 64, 96, 3)))
    assert [tuple(value.shape[1:3]) for _, value in sorted(features.items())] == [(8, 12), (4, 6), (2, 3)]
    backbone.pyramid_outputs = {level: outputs[level] for level in ("P2", "P4")}
    with pytest.raises(ValueError, match="halvings has no P4, P5. .* its levels have: P2 128 x 176, P4 32 x 44"):
        pyramid_features(backbone)


def test_pixels_are_normalized_by_the_weights():
    """As they are, and not by the copy that Keras made of them."""
    inputs = keras.Input((64, 64, 3))
    norm = keras.layers.Normalization()
    levels = {f"P{level}": keras.layers.AveragePooling2D(2**level, name=f"P{level}") for level in (3, 4, 5)}
    backbone = keras.Model(inputs, [layer(norm(inputs)) for layer in levels.values()])
    backbone.pyramid_level_inputs = {level: level for level in levels}
    features = pyramid_features(backbone)
    norm.adapt_mean.assign([1.0, 2.0, 3.0])
    norm.adapt_variance.assign([4.0, 9.0, 16.0])
    for value in features(tf.ones((1, 64, 64, 3)) * 10.0).values():
        np.testing.assert_allclose(value[0, 0, 0], [9 / 2, 8 / 3, 7 / 4], rtol=1e-5)


@pytest.mark.parametrize("name", ["efficientnet_v2", "yolo_v8"])
def test_frozen_batch_norm_keeps_its_statistics(name):
    """Of EfficientNetV2's blocks, too."""
    backbone = BACKBONES[name](include_rescaling=True, **TINY[name])
    norms = [layer for layer in compat.nested_layers(backbone) if isinstance(layer, keras.layers.BatchNormalization)]
    norms = [norm for norm in norms if norm.built]
    assert len(norms) > 10
    images = tf.random.stateless_uniform((2, 64, 64, 3), seed=(1, 2), maxval=255.0)
    freeze_batch_norm(backbone)
    before = [norm.get_weights() for norm in norms]
    backbone(images, training=True)
    tf.nest.map_structure(np.testing.assert_array_equal, before, [norm.get_weights() for norm in norms])
    trainable = {id(variable) for variable in backbone.trainable_variables}
    assert trainable and not any(id(norm.gamma) in trainable for norm in norms)
