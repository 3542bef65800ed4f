"""Every kind of suppression with every detector, in a traced function, and with voting in a SavedModel."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from tensorflow.core.protobuf import saved_model_pb2

import gfl_tf
from gfl_tf.serving import export

pytestmark = pytest.mark.one_stack

IMAGES = np.random.default_rng(0).integers(0, 256, (2, 64, 96, 3)).astype(np.uint8)
DETECTORS = {"gfl": gfl_tf.GFL, "gflv2": gfl_tf.GFLV2, "atss": gfl_tf.ATSS, "vfnet": gfl_tf.VFNet}
KINDS = ("hard", "soft_linear", "soft_gaussian")


@pytest.fixture(scope="module", params=list(DETECTORS))
def model(request, build):
    """With random weights large enough for dozens of candidates in any image."""
    keras.utils.set_random_seed(1)
    model = build(DETECTORS[request.param], head_options=dict(prior=0.03))
    for weight in model.head.trainable_weights:
        if weight.shape.rank > 1:
            weight.assign(tf.random.normal(weight.shape, stddev=0.2))
    return model


@pytest.fixture(scope="module")
def outputs(model):
    return model(tf.cast(IMAGES, tf.float32))


def decoder(kind):
    return gfl_tf.PredictionDecoder(nms=kind, iou_threshold=0.3, max_detections=3 * 129)  # all pairs of an image


def test_kinds_differ_as_they_should(model, outputs):
    """Soft-NMS lowers scores and leaves more than hard NMS, though not all candidates."""
    candidates = model.candidates(outputs, tf.constant(IMAGES.shape[1:3]))
    scores = candidates["scores"].numpy()
    found = {kind: decoder(kind).suppress(candidates) for kind in KINDS}
    for image in range(2):
        counts = [int(found[kind]["num_detections"][image]) for kind in KINDS]
        num_candidates = (scores[image] > 0).sum()
        assert 1 < counts[0] < min(counts[1:]) and max(counts[1:]) < num_candidates
        for kind, count in zip(KINDS, counts):
            confidence = found[kind]["confidence"][image].numpy()
            assert (np.diff(confidence[:count]) <= 0).all() and (confidence[count:] == -1).all()
            assert np.isin(confidence[:count], scores[image]).all() == (kind == "hard")


@pytest.mark.parametrize("kind", KINDS)
def test_traced(model, outputs, kind):
    """In a traced function as step by step."""
    model.prediction_decoder = decoder(kind)
    expected = model.decode_predictions(outputs, tf.constant(IMAGES))
    found = tf.function(model.decode_predictions)(outputs, tf.constant(IMAGES))
    assert set(found) == set(expected) and (expected["num_detections"] > 1).numpy().all()
    for name, value in expected.items():
        np.testing.assert_allclose(found[name], value, rtol=1e-4, atol=1e-3, err_msg=name)


def test_saved_model(build, tmp_path):
    """An export answers as the model does, and consists of TensorFlow's own operations."""
    keras.utils.set_random_seed(1)
    model = build(gfl_tf.GFL)
    model.head.box.kernel.assign(tf.random.normal(model.head.box.kernel.shape, stddev=0.2))
    model.head.classification.kernel.assign(tf.random.normal(model.head.classification.kernel.shape, stddev=0.5))
    model.prediction_decoder = decoder("soft_linear").changed(voting_sigma=0.05)
    path = export.export(model, (96, 64), tmp_path, "soft")

    saved = saved_model_pb2.SavedModel.FromString((path / "saved_model.pb").read_bytes())
    functions = saved.meta_graphs[0].graph_def.library.function
    operations = {node.op for function in functions for node in function.node_def}
    assert "NonMaxSuppressionV5" not in operations
    assert all(hasattr(tf.raw_ops, name) for name in operations - {function.signature.name for function in functions})

    loaded = tf.saved_model.load(str(path))
    found = loaded.signatures["image_tensor"](image_tensor=tf.constant(IMAGES))
    expected = model.detect(tf.cast(IMAGES, tf.float32))
    np.testing.assert_array_equal(found["num_detections"], expected["num_detections"])
    for image, count in enumerate(expected["num_detections"].numpy()):
        assert count > 10
        boxes = expected["boxes"].numpy()[image, :count, [1, 0, 3, 2]].T
        np.testing.assert_allclose(found["detection_boxes"][image, :count], boxes, rtol=1e-4, atol=1e-3)
        scores = expected["confidence"][image, :count]
        np.testing.assert_allclose(found["detection_scores"][image, :count], scores, rtol=1e-4)
        np.testing.assert_array_equal(found["detection_classes"][image, :count], expected["classes"][image, :count])
