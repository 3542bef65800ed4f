"""Training in less memory: a batch in micro-batches, and with results made again in the backward pass, gives the losses
and gradients of the batch."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import gfl_tf
from gfl_tf import compat
from gfl_tf.backbones.features import freeze_batch_norm
from gfl_tf.build import RECIPES

# Gradients relative to each variable's largest, and what is left of sums of larger numbers: their order differs,
# nothing else.
TOLERANCE, ROUNDING = 1e-5, 1e-8
BATCH = 3
random = np.random.default_rng(0)
IMAGES = random.uniform(0, 255, (BATCH, 64, 96, 3)).astype(np.float32)
CORNERS = random.uniform(0, 40, (BATCH, 4, 2))
BOXES = np.concatenate([CORNERS, CORNERS + random.uniform(8, 50, (BATCH, 4, 2))], axis=-1).astype(np.float32)
CLASSES = np.array([[0, 1, 2, 0], [1, -1, -1, -1], [-1, -1, -1, -1]], np.float32)  # no positives in the last
DATA = tf.constant(IMAGES), {"boxes": tf.constant(BOXES), "classes": tf.constant(CLASSES)}
WEIGHTS = tf.constant([0.5, 2.0, 1.0])


@pytest.fixture
def detector(build):
    """A function that makes a tiny detector of a recipe, with normalization on its moving statistics."""

    def detector(recipe, **options):
        keras.utils.set_random_seed(1)
        model = build(recipe, levels=(4, 5), head_options={"num_convs": 2}, **options)
        freeze_batch_norm(model.backbone)
        return model

    return detector


def of_batch(model, data=(*DATA, WEIGHTS), in_graph=False, **options):
    """(losses, gradients by their variables' order) of a step, compiled with these options."""
    model.compile(optimizer=options.pop("optimizer", "sgd"), **options)
    compute = tf.function(model.compute_gradients, autograph=False) if in_graph else model.compute_gradients
    losses, gradients = compute(data)
    return {name: float(losses[name]) for name in model.metric_names}, gradients


def check(expected, found):
    (losses, gradients), (found_losses, found_gradients) = expected, found
    assert found_losses == pytest.approx(losses, rel=1e-6)
    for one, other in zip(gradients, found_gradients):
        assert (one is None) == (other is None)
        if one is not None:
            np.testing.assert_allclose(other, one, rtol=0, atol=TOLERANCE * np.abs(one).max() + ROUNDING)


OTHERS = [pytest.param(name, marks=pytest.mark.slow) for name in RECIPES if name != "gfl"]


@pytest.mark.parametrize("name", ["gfl", *OTHERS])
def test_every_detector(detector, name):
    """Eagerly; 3 images in 2 parts, of which one has no object."""
    model = detector(RECIPES[name])
    expected = of_batch(model)
    check(expected, of_batch(model, recompute=True, micro_batches=2))


def test_in_a_graph_with_a_teacher_and_regularization(detector):
    """More micro-batches than images; a class tower without a gradient has none either way."""
    teacher = detector(gfl_tf.GFL)
    model = detector(gfl_tf.GFL, classification_weight=0.0)
    model.neck.laterals["P4"].kernel_regularizer = keras.regularizers.L2(0.1)
    distillation = gfl_tf.Distillation(teacher)
    expected = of_batch(model, distillation=distillation)
    less = dict(recompute=True, micro_batches=8, distillation=distillation)
    check(expected, of_batch(model, in_graph=True, **less))


def test_mixed_precision(detector):
    """The scale of the loss is in the gradients of the raw outputs."""
    keras.mixed_precision.set_global_policy("mixed_float16")
    try:
        model = detector(gfl_tf.GFL)
    finally:
        keras.mixed_precision.set_global_policy("float32")

    def made(**options):
        optimizer = keras.mixed_precision.LossScaleOptimizer(keras.optimizers.SGD(), initial_scale=64.0)
        return of_batch(model, optimizer=optimizer, **options)

    (losses, expected), (found_losses, found) = made(), made(recompute=True, micro_batches=2)
    assert found_losses == pytest.approx(losses, rel=1e-3)
    for one, other in zip(expected, found):
        one, other = np.float64(one), np.float64(other)
        assert np.linalg.norm(one - other) <= 0.05 * np.linalg.norm(one)


def test_statistics_of_micro_batches_are_updated_once_each(build):
    model = build(gfl_tf.GFL, levels=(4, 5))
    norm = next(layer for layer in compat.nested_layers(model) if isinstance(layer, keras.layers.BatchNormalization))
    before = norm.moving_mean.numpy()
    model.compile(optimizer="sgd", recompute=True, micro_batches=BATCH)
    weights = model.get_weights()
    model.compute_gradients(DATA)
    found = norm.moving_mean.numpy()
    model.set_weights(weights)
    for image in IMAGES:
        model.get_layer("pyramid_features")(model.get_layer("preprocess")(image[np.newaxis]), training=True)
    np.testing.assert_allclose(found, norm.moving_mean.numpy(), rtol=1e-5)
    assert not np.allclose(found, before)


@pytest.mark.slow
def test_model_fit(detector):
    """Two steps in `fit` are two steps without, of batches of unknown size."""
    model = detector(gfl_tf.GFL)
    weights = model.get_weights()
    model.compile(optimizer=keras.optimizers.SGD(0.01))
    for _ in range(2):
        model.train_step(DATA)
    expected = model.get_weights()
    model.set_weights(weights)
    model.compile(optimizer=keras.optimizers.SGD(0.01), recompute=True, micro_batches=2)
    model.fit(tf.data.Dataset.from_tensors(DATA).repeat(2).unbatch().batch(BATCH), verbose=0)
    for one, other in zip(expected, model.get_weights()):
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-6)


def test_what_was_chosen_comes_back_with_a_saved_model(detector, tmp_path):
    model = detector(gfl_tf.GFL)
    model.compile(optimizer="sgd", recompute=True, micro_batches=2)
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    assert loaded.micro_batches == 2 and loaded.head.recompute
    loaded.compile(optimizer="sgd")
    assert loaded.micro_batches == 1 and not loaded.head.recompute


def refused(model, match, **options):
    with pytest.raises(ValueError, match=match):
        model.compile(optimizer="sgd", **options)


def test_what_cannot_be(build, detector):
    model = detector(gfl_tf.GFL)
    refused(model, "micro_batches is 0", micro_batches=0)
    refused(model, "recompute is 1", recompute=1)
    refused(model, "micro_batches=2 cannot be compiled with XLA: leave jit_compile=True out", micro_batches=2,
            jit_compile=True)  # fmt: skip
    model.head.class_tower[0].conv.activity_regularizer = keras.regularizers.L2(0.1)
    refused(model, "activity_regularizer of conv would be counted twice", micro_batches=2)
    refused(build(gfl_tf.GFL, backbone=_chain(keras.layers.Dropout(0.1))), "dropout.* would draw other random numbers",
            recompute=True)  # fmt: skip
    build(gfl_tf.GFL, backbone=_chain(keras.layers.Dropout(0.0))).compile(recompute=True)
    beside = build(gfl_tf.GFL, backbone=_chain(keras.layers.ReLU(), beside=True))
    refused(beside, "cannot be divided, as nowhere between", recompute=True)
    beside.compile(micro_batches=2)


def _chain(layer, beside=False):
    """A backbone of five convolutions, each with `layer` behind it, by choice with the image beside them."""
    inputs = x = keras.Input((None, None, 3))
    for level in range(1, 6):
        x = layer(keras.layers.Conv2D(4, 3, 2, padding="same")(x))
        small = [keras.layers.AveragePooling2D(2**level, padding="same")(inputs)] * beside
        x = keras.layers.Concatenate(name=f"level{level}")([x, x, *small])
    return gfl_tf.backbones.Pyramid(keras.Model(inputs, x), {f"P{level}": f"level{level}" for level in (3, 4, 5)})
