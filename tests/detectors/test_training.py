"""compile, fit, evaluate, predict; mixed precision; the data formats a model takes."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import gfl_tf
from gfl_tf.heads.gfl import GFLHead

METRICS = ("loss", "quality_loss", "box_loss", "distribution_loss", "num_positives", "mean_iou")
BOXES = np.float32([[[10, 4, 50, 44], [40, 8, 72, 56]], [[20, 6, 60, 60], [-1, -1, -1, -1]]])
CLASSES = np.float32([[0, 2], [1, -1]])


def bright_boxes():
    """Two images, noise with a bright rectangle per box, and their labels."""
    images = np.random.default_rng(0).uniform(0, 60, (2, 64, 96, 3)).astype(np.float32)
    for image in range(2):
        for (x1, y1, x2, y2), label in zip(BOXES[image].astype(int), CLASSES[image].astype(int)):
            if label >= 0:
                images[image, y1:y2, x1:x2, label] = 255
    return images, {"boxes": BOXES, "classes": CLASSES}


def test_fit_evaluate_predict(build):
    """Twenty steps on two images bring the loss down; all its parts show as metrics. The one test of compiled training.

    Not `quality_loss`: its targets, the IoUs, rise.
    """
    keras.utils.set_random_seed(0)
    model = build(gfl_tf.GFLV2)
    model.compile(optimizer=keras.optimizers.Adam(0.01))
    batches = tf.data.Dataset.from_tensors(bright_boxes()).repeat()
    history = model.fit(batches, epochs=4, steps_per_epoch=5, validation_data=batches, validation_steps=1, verbose=0)
    assert set(history.history) == {*METRICS, *(f"val_{name}" for name in METRICS)}
    first, last = ({name: values[i] for name, values in history.history.items()} for i in (0, -1))
    for name in ("loss", "box_loss", "distribution_loss"):
        assert np.isfinite(last[name]) and last[name] < first[name], name
    assert last["mean_iou"] > first["mean_iou"]
    parts = last["quality_loss"] + last["box_loss"] + last["distribution_loss"]
    np.testing.assert_allclose(last["loss"], parts, rtol=1e-5)
    assert first["num_positives"] == last["num_positives"] > 2

    results = model.evaluate(batches, steps=1, verbose=0, return_dict=True)
    np.testing.assert_allclose(results["loss"], last["val_loss"], rtol=1e-4)

    detections = model.predict(batches, steps=2, verbose=0)
    shapes = {name: value.shape for name, value in detections.items()}
    assert shapes == {
        "boxes": (4, 100, 4),
        "classes": (4, 100),
        "confidence": (4, 100),
        "num_detections": (4,),
        "edge_stddev": (4, 100, 4),
    }
    on_batch = model.predict_on_batch(bright_boxes()[0])
    for name, value in on_batch.items():
        np.testing.assert_allclose(value, detections[name][:2], rtol=1e-4, atol=1e-4, err_msg=name)


def test_ragged_and_keras_cv_batches(build):
    """Dense labels, ragged labels and KerasCV's dict, compiled: the same loss."""
    model = build(gfl_tf.GFL)
    model.compile()
    images, labels = bright_boxes()
    ragged = {
        "boxes": tf.RaggedTensor.from_row_lengths(np.concatenate([BOXES[0], BOXES[1, :1]]), [2, 1]),
        "classes": tf.RaggedTensor.from_row_lengths(CLASSES[CLASSES >= 0], [2, 1]),
    }
    losses = [
        model.evaluate(tf.data.Dataset.from_tensors(batch), verbose=0, return_dict=True)["loss"]
        for batch in ((images, labels), (images, ragged), {"images": images, "bounding_boxes": labels})
    ]
    np.testing.assert_allclose(losses, losses[0], rtol=1e-6)
    model.compile(optimizer="sgd", run_eagerly=True)
    history = model.fit(tf.data.Dataset.from_tensors((images, ragged)), verbose=0).history
    np.testing.assert_allclose(history["num_positives"][0], model.evaluate(images, labels, verbose=0)[4])


@pytest.fixture
def policy():
    yield keras.mixed_precision.set_global_policy
    keras.mixed_precision.set_global_policy("float32")


@pytest.mark.parametrize("name", ["mixed_bfloat16", pytest.param("mixed_float16", marks=pytest.mark.slow)])
def test_mixed_precision(build, policy, name):
    """Six steps in half precision move the float32 weights where six steps in float32 do, to a few percent."""

    def movement(name):
        policy(name)
        keras.utils.set_random_seed(0)
        model = build(gfl_tf.GFLV2)
        model.compile(optimizer=keras.optimizers.SGD(0.001), run_eagerly=True)
        images, labels = bright_boxes()
        outputs = model(images)
        assert {output.dtype for output in outputs.values()} == {tf.float32}
        assert model.head.base.box_tower[0].conv.compute_dtype == name.removeprefix("mixed_")
        before = [variable.numpy() for variable in model.trainable_variables]
        batches = tf.data.Dataset.from_tensors((images, labels)).repeat()
        history = model.fit(batches, steps_per_epoch=1, epochs=6, verbose=0).history
        assert np.isfinite([history[metric] for metric in METRICS]).all()
        detections = model.predict(images, verbose=0)
        assert all(np.isfinite(value).all() for value in detections.values())
        after = [variable.numpy() for variable in model.trainable_variables]
        return np.concatenate([(b - a).ravel() for a, b in zip(before, after)])

    half, full = movement(name), movement("float32")
    # Over six seeds: cosines from 0.991, lengths within 0.8 %. A skipped step would make it a sixth shorter.
    np.testing.assert_allclose(np.linalg.norm(half), np.linalg.norm(full), rtol=0.03)
    assert half @ full > 0.98 * np.linalg.norm(half) * np.linalg.norm(full)


def test_regularization_is_minimized_and_not_part_of_the_metrics(build):
    head = GFLHead(3, channels=16, num_convs=1, groups=4)
    head.box.kernel_regularizer = keras.regularizers.L2(100.0)
    model = build(gfl_tf.GFL, head=head)
    images, labels = bright_boxes()
    loss = model.compute_loss(images, labels, model(images))
    regularization = 100.0 * tf.reduce_sum(tf.square(head.box.kernel))
    assert regularization > 0.1 * loss
    np.testing.assert_allclose(model.metrics[0].result(), loss - regularization, rtol=1e-5)


def test_one_class(build):
    """C = 1: class 0 is an object, not background."""
    model = build(gfl_tf.GFLV2, num_classes=1)
    model.compile(optimizer="sgd", run_eagerly=True)
    images, labels = bright_boxes()
    one_class = {"boxes": BOXES, "classes": np.minimum(CLASSES, 0)}
    history = model.fit(tf.data.Dataset.from_tensors((images, one_class)), verbose=0).history
    assert history["num_positives"][0] > 0 and np.isfinite(history["loss"][0])
    assert model(images)["classification"].shape[-1] == 1


@pytest.mark.slow
@pytest.mark.parametrize("detector", [gfl_tf.GFLV2, gfl_tf.VFNet], ids=["gflv2", "vfnet"])
def test_xla_compiles_the_training_step(build, detector):
    model = build(detector)
    images, labels = bright_boxes()
    batches = tf.data.Dataset.from_tensors((images, labels))
    results = []
    weights = model.get_weights()
    for jit_compile in (False, True):
        model.set_weights(weights)
        model.compile(optimizer="sgd", jit_compile=jit_compile)
        results.append(model.fit(batches, verbose=0).history)
    assert results[0].keys() == results[1].keys()
    for name in model.metric_names:
        np.testing.assert_allclose(results[1][name], results[0][name], rtol=1e-4, err_msg=name)
