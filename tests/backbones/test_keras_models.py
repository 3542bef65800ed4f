"""KerasHub's backbones and models of keras.applications under a detector: levels, training, saving, serving."""

import functools

import keras
import numpy as np
import pytest
import tensorflow as tf

import gfl_tf
from gfl_tf import compat
from gfl_tf.backbones import keras_models
from gfl_tf.backbones.features import freeze_batch_norm, level_tensors, pyramid_features
from gfl_tf.checkpoints import weight_file
from gfl_tf.serving.network import serving_model
from tests.tiny import build_tiny, values

IMAGES = tf.random.stateless_uniform((2, 64, 96, 3), seed=(1, 2), maxval=255.0)
NORMALIZATION = dict(mean=(123.675, 116.28, 103.53), std=(58.395, 57.12, 57.375))
HUB = {
    "ResNetBackbone": dict(
        input_conv_filters=[64],
        input_conv_kernel_sizes=[7],
        stackwise_num_filters=[64, 16, 16, 16],
        stackwise_num_blocks=[1, 1, 1, 1],
        stackwise_num_strides=[1, 2, 2, 2],
        block_type="basic_block",
    ),
    # As CSPDarkNet53, whose stages of 1/2 to 1/32 KerasHub calls P2 to P6; with grouped convolutions.
    "CSPNetBackbone": dict(
        stem_filters=8,
        stem_kernel_size=3,
        stem_strides=1,
        stackwise_depth=[1, 1, 1, 1, 1],
        stackwise_strides=[2, 2, 2, 2, 2],
        stackwise_num_filters=[16, 16, 16, 16, 16],
        block_type="bottleneck_block",
        stage_type="csp",
        bottle_ratio=[0.5],
        block_ratio=[1.0],
        expand_ratio=[2.0],
        stem_padding="same",
        groups=4,
    ),
    "EfficientNetBackbone": dict(
        width_coefficient=0.5,
        depth_coefficient=1.0,
        stackwise_kernel_sizes=[3] * 7,
        stackwise_num_repeats=[1, 1, 1, 1, 2, 1, 1],
        stackwise_input_filters=[16, 16, 16, 32, 32, 32, 32],
        stackwise_output_filters=[16, 16, 32, 32, 32, 32, 32],
        stackwise_expansion_ratios=[1, 1, 2, 2, 2, 2, 2],
        stackwise_squeeze_and_excite_ratios=[0, 0, 0, 0.25, 0.25, 0.25, 0.25],
        stackwise_strides=[1, 2, 2, 1, 2, 1, 2],
        stackwise_block_types=["cba", "fused", "fused", "unfused", "unfused", "v1", "v1"],
    ),
    # It does not say what its levels are. Its depthwise convolutions are grouped ones.
    "MobileNetBackbone": dict(
        stackwise_expansion=[[16], [16, 24], [24], [32]],
        stackwise_num_blocks=[1, 2, 1, 1],
        stackwise_num_filters=[[16], [16, 16], [16], [24]],
        stackwise_kernel_size=[[3], [5, 5], [5], [3]],
        stackwise_num_strides=[[2], [2, 1], [2], [2]],
        stackwise_se_ratio=[[None], [0.25, 0.25], [0.25], [None]],
        stackwise_activation=[["relu"], ["hard_swish", "hard_swish"], ["hard_swish"], ["hard_swish"]],
        stackwise_padding=[[1], [2, 2], [2], [1]],
        output_num_filters=32,
        depthwise_filters=8,
        depthwise_stride=1,
        depthwise_residual=False,
        last_layer_filter=32,
        levels=dict(P3="block_2_1", P4="block_3_0", P5="block_4_0"),
    ),
}
APPLICATIONS = {
    "MobileNet": dict(alpha=0.25, levels=dict(P3="conv_pw_5_relu", P4="conv_pw_11_relu", P5="conv_pw_13_relu")),
    # Keras 2 calls the layers otherwise. Its graph has TensorFlow's functions in it there.
    "MobileNetV3Small": dict(
        alpha=0.25,
        levels={
            level: f"{block}_add" if compat.KERAS_3 else f"{block}/Add"
            for level, block in [("P3", "expanded_conv_2"), ("P4", "expanded_conv_7"), ("P5", "expanded_conv_10")]
        },
    ),
}
PAST_P5 = {
    "MobileNetBackbone": {"block_5_0"},
    "MobileNetV3Small": {"conv_1", "conv_1_bn"} if compat.KERAS_3 else {"conv_1"},
}


def build(name):
    if name in APPLICATIONS:
        return keras_models.keras_applications(name, **APPLICATIONS[name])
    pytest.importorskip("keras_hub", reason="KerasHub is not installed; it needs Keras 3")
    return keras_models.keras_hub(name, **HUB[name])


def batch_norms(model):
    return [
        layer
        for layer in compat.nested_layers(model)
        if isinstance(layer, keras.layers.BatchNormalization) and layer.built
    ]


def detector(backbone, **options):
    return build_tiny(gfl_tf.GFLV2, 2, backbone=backbone, **options)


class Built:
    """A backbone with all weights at random, what Keras computes of it, and a detector around it."""

    def __init__(self, name):
        keras.utils.set_random_seed(1)
        self.name = name
        self.options = NORMALIZATION if name in HUB else {}
        self.pixels = (IMAGES - self.options["mean"]) / self.options["std"] if self.options else IMAGES
        backbone = build(name)
        random = np.random.default_rng(1)
        for norm in batch_norms(backbone):
            norm.set_weights([random.uniform(0.5, 2.0, value.shape) for value in norm.get_weights()])
        self.expected = keras.Model(backbone.inputs, level_tensors(backbone))(self.pixels, training=False)
        self.model = detector(backbone, **self.options)
        self.outputs = self.model(IMAGES, training=False)

    @functools.cached_property
    def again(self):
        """Made of the detector's config, with other weights."""
        return type(self.model).from_config(self.model.get_config())

    def features(self, model):
        return model.get_layer("pyramid_features")(self.pixels, training=False)


@pytest.fixture(scope="module", params=[*HUB, *APPLICATIONS])
def built(request):
    return Built(request.param)


def assert_same(actual, expected, tolerance=0.0):
    """Within `tolerance` of each output's range."""
    assert set(actual) == set(expected)
    for name, value in expected.items():
        np.testing.assert_allclose(actual[name], value, rtol=0, atol=tolerance * np.ptp(value), err_msg=name)


def test_levels(built):
    """With the sizes that they must have, and the values that Keras's own layers compute."""
    features = built.features(built.model)
    sizes = {level: tuple(value.shape[1:3]) for level, value in features.items()}
    assert sizes == {"P3": (8, 12), "P4": (4, 6), "P5": (2, 3)}
    names = {"P3": "P4", "P4": "P5", "P5": "P6"} if built.name == "CSPNetBackbone" else {name: name for name in sizes}
    assert_same(features, {level: built.expected[name] for level, name in names.items()}, 1e-5)


def test_batch_norm_is_ours(built):
    """On Keras 3, of all layers, those inside blocks too."""
    norms = batch_norms(built.model.backbone)
    assert len(norms) > 10
    if compat.KERAS_3:
        assert all(norm.call.func is compat.batch_norm for norm in norms)


def test_saving(built, tmp_path):
    built.model.save(tmp_path / "model.keras")
    assert_same(keras.models.load_model(tmp_path / "model.keras")(IMAGES, training=False), built.outputs)


def test_config_and_weight_file(built, tmp_path):
    assert type(built.again.backbone) is type(built.model.backbone)
    before = built.again(IMAGES, training=False)
    assert not np.allclose(before["classification"], built.outputs["classification"])
    weight_file.save_arrays(values(built.model), tmp_path / "weights.npz")
    weight_file.load(weight_file.named_variables(built.again), tmp_path / "weights.npz")
    assert_same(built.again(IMAGES, training=False), built.outputs)


def test_serving(built):
    served = serving_model(built.model)
    call = tf.function(lambda: served(IMAGES, training=False)).get_concrete_function()
    assert_same(call(), built.outputs, 1e-4)
    graph = call.graph.as_graph_def()
    nodes = [*graph.node, *(node for function in graph.library.function for node in function.node_def)]
    assert not any(node.op.startswith("FusedBatchNorm") for node in nodes)
    # Keras compiles grouped convolutions with XLA, which other runtimes than TensorFlow do not have.
    assert not any("_XlaMustCompile" in function.attr for function in graph.library.function)


def test_training_step(built):
    """Changes all of the backbone but layers past P5, which take no part."""
    model, labels = built.again, {"boxes": tf.constant([[[4.0, 6, 50, 60]]] * 2), "classes": tf.constant([[1.0]] * 2)}
    variables = weight_file.layer_variables(model.backbone)
    before = {name: variable.numpy() for name, variable in variables.items()}
    with tf.GradientTape() as tape:
        loss = model.compute_loss(IMAGES, labels, model(IMAGES, training=True))
    assert np.isfinite(loss)
    gradients = tape.gradient(loss, model.trainable_variables)
    keras.optimizers.SGD(0.1).apply_gradients(zip(gradients, model.trainable_variables))
    after = {name: variable.numpy() for name, variable in variables.items()}
    assert all(np.isfinite(value).all() for value in after.values())
    # The offset of a normalization that another one follows has no gradient.
    still = {name for name in before if np.array_equal(before[name], after[name]) and not name.endswith("beta")}
    assert {name.split("/")[0].lower() for name in still} == PAST_P5.get(built.name, set())


def test_names_in_weight_files(built):
    """The same for layers that were made later, and so have other numbers."""
    names = list(weight_file.layer_variables(built.model.backbone))
    assert list(weight_file.layer_variables(built.again.backbone)) == names
    assert list(weight_file.layer_variables(build(built.name))) == names


def test_frozen_batch_norm(built):
    """Those inside blocks too."""
    backbone = built.again.backbone
    freeze_batch_norm(backbone)
    norms = batch_norms(backbone)
    before = [norm.get_weights() for norm in norms]
    backbone(built.pixels, training=True)
    tf.nest.map_structure(np.testing.assert_array_equal, before, [norm.get_weights() for norm in norms])
    trainable = {id(variable) for variable in backbone.trainable_variables}
    assert trainable and not any(id(norm.gamma) in trainable for norm in norms)


# From the documentation of the models' `preprocess_input`.
CAFFE = {"mean": (123.68, 116.779, 103.939), "std": (1.0, 1.0, 1.0), "channels": "BGR"}
HALF = {"mean": (127.5, 127.5, 127.5), "std": (127.5, 127.5, 127.5), "channels": "RGB"}
TORCH = {"mean": (123.675, 116.28, 103.53), "std": (58.395, 57.12, 57.375), "channels": "RGB"}
INSIDE = {"mean": None, "std": None, "channels": "RGB"}


@pytest.mark.parametrize(
    "model, expected",
    [
        ("ResNet50", CAFFE),
        ("VGG16", CAFFE),
        ("ResNet50V2", HALF),
        ("MobileNetV2", HALF),
        ("DenseNet121", TORCH),
        ("EfficientNetB0", INSIDE),
        ("MobileNetV3Small", INSIDE),
    ],
)
def test_normalization(model, expected):
    assert keras_models.normalization(model) == expected
    assert keras_models.normalization(model, include_preprocessing=False, levels={}) is None


def test_turned_channels():
    """RGB through the detector's normalization and turned channels is what Keras means by BGR."""
    model = keras.applications.VGG16(weights=None, include_top=False)
    first = keras.Model(model.inputs, model.get_layer("block1_conv1").output)
    expected = first(keras.applications.vgg16.preprocess_input(IMAGES.numpy()))
    keras_models.turn_channels(model)
    actual = first((IMAGES - CAFFE["mean"]) / CAFFE["std"])
    np.testing.assert_allclose(actual, expected, rtol=0, atol=1e-5 * np.ptp(expected))


@pytest.mark.parametrize("weights, step", [("imagenet", -1), (None, 1)])
def test_imagenet_weights_for_bgr_are_turned(monkeypatch, weights, step):
    """Without the download."""
    model = keras.applications.VGG16(weights=None, include_top=False)
    kernel = model.get_layer("block1_conv1").kernel.numpy()

    def vgg(weights, include_top):
        return model

    vgg.__module__ = keras.applications.VGG16.__module__
    monkeypatch.setattr(keras_models, "_application", lambda name: vgg)
    levels = dict(P3="block3_pool", P4="block4_pool", P5="block5_pool")
    backbone = keras_models.keras_applications("VGG16", levels, weights=weights)
    np.testing.assert_array_equal(backbone.get_layer("block1_conv1").kernel, kernel[:, :, ::step])


def test_same_normalization():
    same = keras_models.same_normalization
    assert same({"mean": (123.7, 116.3, 103.5), "std": (58.4, 57.1, 57.4)}, TORCH) and not same(CAFFE, TORCH)
    assert same({"mean": (0, 0, 0), "std": (1, 1, 1)}, INSIDE) and not same(INSIDE, HALF)


@pytest.mark.parametrize(
    "arguments, message",
    [
        (dict(model="ResNet50V3", levels={}), "'ResNet50V3' is not a model of keras.applications; it has .*ResNet50V2"),
        (dict(model="preprocess_input", levels={}), "is not a model of keras.applications"),
    ],
)
def test_wrong_application(arguments, message):
    with pytest.raises(ValueError, match=message):
        keras_models.keras_applications(**arguments)


WRONG_HUB = [
    (ValueError, dict(backbone="ResNet"), "'ResNet' is not a backbone of keras_hub.models; it has .*ResNetBackbone"),
    (ValueError, dict(backbone="ResNetBackbone", depth=50), "ResNetBackbone has no argument depth"),
    (
        ValueError,
        dict(backbone="EfficientNetBackbone", **HUB["EfficientNetBackbone"], num_features=64),
        "EfficientNetBackbone leaves num_features out of its config",
    ),
]


@pytest.mark.parametrize("error, arguments, message", WRONG_HUB)
def test_wrong_hub(error, arguments, message):
    pytest.importorskip("keras_hub", reason="KerasHub is not installed; it needs Keras 3")
    with pytest.raises(error, match=message):
        keras_models.keras_hub(**arguments)


def test_hub_without_levels():
    pytest.importorskip("keras_hub", reason="KerasHub is not installed; it needs Keras 3")
    arguments = {name: value for name, value in HUB["MobileNetBackbone"].items() if name != "levels"}
    backbone = keras_models.keras_hub("MobileNetBackbone", **arguments)
    with pytest.raises(ValueError, match="does not say which of its layers are its levels"):
        pyramid_features(backbone)
