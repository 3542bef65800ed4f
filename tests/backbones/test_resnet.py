"""ResNet and ResNeXt: the published networks' sizes and names, the reference's features, and how they train."""

import re

import keras
import keras_cv
import numpy as np
import pytest
import tensorflow as tf

from gfl_tf.backbones.blocks import IMAGENET_MEAN, IMAGENET_STD
from gfl_tf.backbones.features import pyramid_features
from gfl_tf.backbones.resnet import ResNet
from gfl_tf.checkpoints.weight_file import layer_variables
from gfl_tf.layers.deformable import DeformableConv2D
from gfl_tf.layers.grouped import GroupedConv2D
from tests.parity.weights import weight

BATCH_NORM = keras.layers.BatchNormalization


def images(height, width, batch=1):
    return tf.constant(np.random.default_rng(1).normal(size=(batch, height, width, 3)), tf.float32)


# Parameters of torchvision's ImageNet classifiers, without those of their last layer.
@pytest.mark.parametrize(
    "arguments,parameters",
    [
        (dict(depth=18), 11_689_512 - 513_000),
        (dict(depth=34), 21_797_672 - 513_000),
        (dict(depth=50), 25_557_032 - 2_049_000),
        (dict(depth=50, groups=32, base_width=4), 25_028_904 - 2_049_000),
        (dict(depth=101, groups=64, base_width=4), 83_455_272 - 2_049_000),
    ],
)
def test_number_of_parameters(arguments, parameters):
    backbone = ResNet(**arguments)
    assert sum(np.prod(variable.shape) for variable in backbone.trainable_variables) == parameters


@pytest.mark.parametrize("depth,channels", [(18, (64, 128, 256, 512)), (50, (256, 512, 1024, 2048))])
def test_levels(depth, channels):
    backbone = ResNet(depth)
    outputs = [backbone.get_layer(backbone.pyramid_level_inputs[f"P{level}"]).output for level in (2, 3, 4, 5)]
    features = keras.Model(backbone.inputs, outputs)(images(75, 97))
    # Every one of the five halvings rounds up: 75 x 97, 38 x 49, 19 x 25, 10 x 13, 5 x 7, 3 x 4.
    sizes = [(19, 25), (10, 13), (5, 7), (3, 4)]
    assert [feature.shape for feature in features] == [(1, *size, c) for size, c in zip(sizes, channels)]


def test_names():
    """Layers with weights are named after the reference's modules."""
    names = [re.sub(r"_(?=\d)|(?<=\d)_", ".", layer.name) for layer in ResNet(50).layers if layer.weights]
    block = ["conv1", "bn1", "conv2", "bn2", "conv3", "bn3"]
    expected = ["conv1", "bn1"]
    for stage, depth in enumerate([3, 4, 6, 3], start=1):
        expected += [f"layer{stage}.{index}.{part}" for index in range(depth) for part in block]
        expected += [f"layer{stage}.0.downsample.{part}" for part in (0, 1)]
    assert sorted(names) == sorted(expected)


def assign_by_name(backbone):
    """Gives the backbone the weights that the reference's model of the same names had."""
    for layer in backbone.layers:
        name = "backbone." + re.sub(r"_(?=\d)|(?<=\d)_", ".", layer.name)
        if isinstance(layer, BATCH_NORM):
            parts = ("weight", "bias", "running_mean", "running_var")
            layer.set_weights([weight(f"{name}.{part}", layer.gamma.shape) for part in parts])
        elif layer.weights:
            height, width, channels, filters = layer.kernel.shape
            kernel = weight(f"{name}.weight", (filters, channels, height, width))
            layer.set_weights([kernel.transpose(2, 3, 1, 0)])


def test_features_of_the_reference(shared):
    reference = np.load(shared / "reference" / "gfl_r50_fpn.npz")
    inputs = np.load(shared / "reference" / "inputs.npz")
    batch = np.broadcast_to(np.float32(IMAGENET_MEAN), (2, 256, 320, 3)).copy()  # zero once it is normalized
    batch[0], batch[1, :, :288] = inputs["image0"], inputs["image1"]
    backbone = ResNet(50, include_rescaling=True)
    assign_by_name(backbone)
    layers = {"stem": "maxpool", **{f"C{level}": backbone.pyramid_level_inputs[f"P{level}"] for level in (2, 3, 4, 5)}}
    outputs = {name: backbone.get_layer(layer).output for name, layer in layers.items()}
    features = keras.Model(backbone.inputs, outputs)(batch)
    for name, step in {"stem": 211, "C2": 211, "C3": 53, "C4": 13, "C5": 3}.items():
        feature = features[name].numpy()
        feature = feature.reshape(2, -1, feature.shape[-1])[:, ::step, :: 1 if name == "stem" else 5]
        expected = reference[f"feat/{name}"]
        # float32 through up to 50 layers; measured: below 1e-6
        np.testing.assert_allclose(feature, expected, rtol=0, atol=5e-6 * np.abs(expected).max(), err_msg=name)


def test_rescaling():
    pixels = tf.abs(images(64, 64)) * 100
    inside = ResNet(18, include_rescaling=True)
    outside = ResNet(18)
    outside.set_weights(inside.get_weights())
    expected = outside((pixels - tf.constant(IMAGENET_MEAN)) / tf.constant(IMAGENET_STD))
    np.testing.assert_allclose(inside(pixels), expected, rtol=1e-5, atol=1e-5)


def test_bgr():
    """The same weights see the channels the other way round."""
    rgb, bgr = ResNet(18), ResNet(18, bgr=True)
    bgr.set_weights(rgb.get_weights())
    np.testing.assert_array_equal(bgr(images(64, 64)), rgb(images(64, 64)[..., ::-1]))


def test_stride_in_1x1():
    """Half of a stage's first 3x3 convolution's positions, and no other sizes or weights."""
    backbones = [ResNet(50, stride_in_1x1=stride_in_1x1) for stride_in_1x1 in (False, True)]
    strides = [
        [backbone.get_layer(f"layer2_0_{conv}").strides[0] for conv in ("conv1", "conv2", "conv3", "downsample_0")]
        for backbone in backbones
    ]
    assert strides == [[1, 2, 1, 2], [2, 1, 1, 2]]
    assert [backbone.get_config()["stride_in_1x1"] for backbone in backbones] == [False, True]
    assert backbones[0].output_shape == backbones[1].output_shape
    assert [w.shape for w in backbones[0].weights] == [w.shape for w in backbones[1].weights]


def train_once(backbone):
    """One step of plain gradient descent; how much each variable moved, by name."""
    variables = layer_variables(backbone)
    before = {name: variable.numpy() for name, variable in variables.items()}
    with tf.GradientTape() as tape:
        loss = tf.reduce_mean(tf.square(backbone(images(64, 96, batch=2), training=True)))
    gradients = tape.gradient(loss, backbone.trainable_variables)
    keras.optimizers.SGD(0.1).apply_gradients(zip(gradients, backbone.trainable_variables))
    return {name: np.abs(variable.numpy() - before[name]).max() for name, variable in variables.items()}


@pytest.mark.parametrize("norm_eval", [False, True])
def test_norm_eval(norm_eval):
    moved = train_once(ResNet(18, norm_eval=norm_eval))
    moving = {name: step for name, step in moved.items() if "/moving_" in name}
    others = {name: step for name, step in moved.items() if name not in moving}
    assert all(others.values()), "kernels, scales and shifts are trained either way"
    assert not any(moving.values()) if norm_eval else all(moving.values())


@pytest.mark.parametrize("frozen_stages", [1, 3])
def test_frozen_stages(frozen_stages):
    backbone = ResNet(18, frozen_stages=frozen_stages)
    moved = train_once(backbone)
    frozen = ("conv1", "bn1", *(f"layer{stage}_" for stage in range(1, frozen_stages + 1)))
    assert {name for name, step in moved.items() if step == 0} == {name for name in moved if name.startswith(frozen)}
    again = ResNet.from_config(backbone.get_config())
    assert [v.name for v in again.trainable_variables] == [v.name for v in backbone.trainable_variables]


@pytest.mark.parametrize("groups,base_width", [(1, 64), (32, 4)])
def test_deformable_stages(groups, base_width):
    plain = ResNet(50, groups, base_width)
    deformable = ResNet(50, groups, base_width, deformable_stages=("C3", "C5"), deformable_version=1)
    convs = {layer.name: layer for layer in deformable.layers if isinstance(layer, DeformableConv2D)}
    blocks = {2: 4, 4: 3}
    assert any(isinstance(layer, GroupedConv2D) for layer in deformable.layers) == (groups > 1)
    assert ResNet.from_config(deformable.get_config()).get_config() == deformable.get_config()
    assert set(convs) == {f"layer{stage}_{index}_conv2" for stage in blocks for index in range(blocks[stage])}
    # Offsets start at zero: version 1 then is the plain convolution.
    for layer in plain.layers:
        if layer.name in convs:
            convs[layer.name].kernel.assign(layer.kernel)
        elif layer.weights:
            deformable.get_layer(layer.name).set_weights(layer.get_weights())
    expected = plain(images(64, 96))
    np.testing.assert_allclose(deformable(images(64, 96)), expected, rtol=1e-4, atol=1e-5 * np.abs(expected).max())


def test_modulation():
    versions = {ResNet(18, deformable_stages=("C5",), deformable_version=v).get_layer("layer4_0_conv2") for v in (1, 2)}
    assert {layer.modulated for layer in versions} == {False, True}


def test_saving(tmp_path):
    arguments = dict(
        depth=18,
        deformable_stages=("C5",),
        deformable_version=1,
        frozen_stages=1,
        norm_eval=True,
        bgr=True,
        include_rescaling=True,
        input_shape=(64, 96, 3),
    )
    backbone = ResNet(**arguments, name="small")
    assert {**backbone.get_config(), **arguments} == backbone.get_config()
    backbone.save(tmp_path / "small.keras")
    again = keras.models.load_model(tmp_path / "small.keras")
    assert type(again) is ResNet and again.get_config() == backbone.get_config()
    assert [v.name for v in again.trainable_variables] == [v.name for v in backbone.trainable_variables]
    np.testing.assert_array_equal(again(images(64, 96)), backbone(images(64, 96)))


def test_under_kerascv_and_pyramid_features():
    backbone = ResNet(18, include_rescaling=True)
    detector = keras_cv.models.RetinaNet(num_classes=3, bounding_box_format="xyxy", backbone=backbone)
    assert detector(images(128, 128))["classification"].shape[-1] == 3
    assert sorted(pyramid_features(backbone)(images(64, 64))) == ["P3", "P4", "P5"]


@pytest.mark.parametrize(
    "arguments,message",
    [
        (dict(depth=20), "depth 20 is not one of"),
        (dict(depth=18, groups=32), "depth 18 has no bottlenecks"),
        (dict(depth=18, stride_in_1x1=True), "depth 18 has no bottlenecks: stride_in_1x1 stays False"),
        (dict(deformable_stages=("C3", "P4")), "deformable_stages P4: the stages are C2, C3, C4, C5"),
        (dict(deformable_version=3), "deformable_version 3"),
        (dict(frozen_stages=-1), "frozen_stages -1"),
    ],
)
def test_impossible_arguments(arguments, message):
    with pytest.raises(ValueError, match=message):
        ResNet(**arguments)
