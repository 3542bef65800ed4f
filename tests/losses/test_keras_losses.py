"""The Keras `Loss` classes: values, reduction, serialization, and use in a model that is not a detector."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from gfl_tf import losses

CLASSES = [
    (losses.FocalLoss(alpha=0.4, gamma=1.5), losses.focal_loss, dict(alpha=0.4, gamma=1.5)),
    (losses.QualityFocalLoss(beta=1.5), losses.quality_focal_loss, dict(beta=1.5)),
    (
        losses.VarifocalLoss(alpha=0.6, gamma=1.5, iou_weighted=False),
        losses.varifocal_loss,
        dict(alpha=0.6, gamma=1.5, iou_weighted=False),
    ),
    (losses.DistributionFocalLoss(), losses.distribution_focal_loss, {}),
    (losses.IoULoss(), losses.iou_loss, {}),
    (losses.GIoULoss(), losses.giou_loss, {}),
    (losses.DIoULoss(), losses.diou_loss, {}),
    (losses.CIoULoss(), losses.ciou_loss, {}),
]
IDS = [type(loss).__name__ for loss, _, _ in CLASSES]


def example(loss):
    """Targets and predictions of 6 points in 2 images."""
    rng = np.random.default_rng(0)
    if isinstance(loss, (losses.IoULoss, losses.GIoULoss, losses.DIoULoss, losses.CIoULoss)):
        corners = rng.uniform(0, 5, (2, 2, 6, 2))
        boxes = np.concatenate([corners, corners + 3], axis=-1).astype(np.float32)
        return boxes[0], boxes[1]
    predictions = rng.normal(0, 2, (2, 6, 5)).astype(np.float32)
    if isinstance(loss, losses.DistributionFocalLoss):
        return rng.uniform(0, 4, (2, 6)).astype(np.float32), predictions
    return rng.integers(0, 2, (2, 6, 5)).astype(np.float32), predictions


@pytest.mark.parametrize("loss, function, options", CLASSES, ids=IDS)
def test_is_the_function(loss, function, options):
    targets, predictions = example(loss)
    per_point = function(targets, predictions, **options).numpy()
    if per_point.ndim == 3:  # classification: the classes are summed
        per_point = per_point.sum(axis=-1)
    np.testing.assert_allclose(loss.call(targets, predictions), per_point, rtol=1e-6)
    np.testing.assert_allclose(loss(targets, predictions), per_point.mean(), rtol=1e-6)
    weights = np.float32([[1, 0, 2, 0, 0, 0], [0, 0, 0, 3, 0, 0]])
    summed = type(loss).from_config({**loss.get_config(), "reduction": "sum"})
    np.testing.assert_allclose(
        summed(targets, predictions, sample_weight=weights), (per_point * weights).sum(), rtol=1e-5
    )


@pytest.mark.parametrize("loss, function, options", CLASSES[:3], ids=IDS[:3])
def test_with_quality_logits(loss, function, options):
    targets, predictions = example(loss)
    quality = np.random.default_rng(1).normal(0, 2, (2, 6, 1)).astype(np.float32)
    expected = tf.reduce_sum(function(targets, predictions, quality, **options), axis=-1)
    np.testing.assert_allclose(loss.call(targets, predictions, quality), expected, rtol=1e-6)


@pytest.mark.parametrize("loss, function, options", CLASSES, ids=IDS)
def test_serialization(loss, function, options):
    for restored in (
        keras.losses.deserialize(keras.losses.serialize(loss)),
        keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(loss)),
    ):
        assert type(restored) is type(loss)
        assert restored.get_config() == loss.get_config()
        targets, predictions = example(loss)
        assert restored(targets, predictions) == loss(targets, predictions)
    named = type(loss)(**options, name="mine", reduction="sum").get_config()
    assert (named["name"], named["reduction"]) == ("mine", "sum") and options.items() <= named.items()
    assert type(loss)().name == function.__name__


@pytest.mark.parametrize("loss", [losses.FocalLoss, losses.VarifocalLoss, losses.QualityFocalLoss])
def test_impossible_powers_are_refused(loss):
    option = "beta" if loss is losses.QualityFocalLoss else "gamma"
    with pytest.raises(ValueError, match=f"{option} is -1; it must be a number of at least 0"):
        loss(**{option: -1})


@pytest.mark.parametrize("loss, function, options", CLASSES[:4], ids=IDS[:4])
def test_in_a_model_of_ones_own(loss, function, options, tmp_path):
    """A dense layer learns a table of 6 rows, and is saved and loaded with its loss."""
    targets = example(loss)[0][0]  # [6, 5], or [6] for distributions
    keras.utils.set_random_seed(0)
    model = keras.Sequential([keras.layers.Input((6,)), keras.layers.Dense(5)])
    model.compile(optimizer=keras.optimizers.Adam(0.3), loss=loss)
    inputs = np.eye(6, dtype=np.float32)
    history = model.fit(inputs, targets, epochs=30, batch_size=6, verbose=0).history["loss"]
    # The distribution loss cannot fall below the entropy of its targets between two bins.
    floor = 0.0 if targets.ndim == 2 else entropy_between_bins(targets)
    assert history[-1] - floor < 0.1 * (history[0] - floor)
    model.save(tmp_path / "model.keras")
    restored = keras.models.load_model(tmp_path / "model.keras")
    assert restored.loss.get_config() == loss.get_config()
    np.testing.assert_allclose(
        restored.evaluate(inputs, targets, verbose=0), model.evaluate(inputs, targets, verbose=0), rtol=1e-6
    )


def entropy_between_bins(targets):
    p = targets % 1
    return np.mean(-(p * np.log(p) + (1 - p) * np.log(1 - p)))


def test_giou_loss_in_a_model():
    """Four weights that are a box move onto the target."""
    model = keras.Sequential([keras.layers.Input((1,)), keras.layers.Dense(4, kernel_initializer="zeros")])
    model.layers[0].bias.assign([5, 5, 8, 8])
    model.compile(optimizer=keras.optimizers.Adam(0.3), loss=losses.GIoULoss())
    target = tf.constant([[0.0, 1, 4, 3]])
    model.fit(tf.data.Dataset.from_tensors((tf.zeros((1, 1)), target)).repeat(150), verbose=0)
    assert model.evaluate(tf.zeros((1, 1)), target, verbose=0) < 0.3
