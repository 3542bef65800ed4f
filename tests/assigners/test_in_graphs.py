"""What all assigners have in common: they run in graphs of unknown sizes, by image, and are saved with a model."""

import functools

import keras
import numpy as np
import pytest
import tensorflow as tf

from gfl_tf.assigners.atss import ATSSAssigner
from gfl_tf.assigners.fcos import FCOSAssigner
from gfl_tf.assigners.max_iou import MaxIoUAssigner
from gfl_tf.ops.grid import GridSpec

ASSIGNERS = [
    ATSSAssigner(k=4, ignore_outside=False),
    FCOSAssigner(range_strides=4.0, centre_radius=1.5),
    MaxIoUAssigner(positive_iou=0.6, negative_iou=0.3),
]
by_assigner = pytest.mark.parametrize("assigner", ASSIGNERS, ids=lambda assigner: type(assigner).__name__)
BOXES = np.float32([[[0, 0, 60, 50], [10, 10, 90, 90], [-1, -1, -1, -1]], [[5, 20, 30, 64], [-1] * 4, [-1] * 4]])
IMAGE_SHAPE = np.int32([[90, 96], [64, 50]])


def assign(assigner, boxes, image_shape, canvas_shape):
    return assigner(boxes, tf.where(boxes[..., 2] > 0, 0, -1), GridSpec().on(canvas_shape, image_shape))


@by_assigner
def test_positives_by_image(assigner):
    """Each image alone has the same positives, and each place learns at most one box."""
    together = assign(assigner, BOXES, IMAGE_SHAPE, [96, 96])
    assert together.is_positive.numpy().any(axis=1).all()
    for image in range(2):
        alone = assign(assigner, BOXES[image : image + 1], IMAGE_SHAPE[image : image + 1], [96, 96])
        for one, both in zip(alone, together):
            np.testing.assert_array_equal(one[0], both[image])
        place = alone.place[alone.is_positive].numpy()
        assert len(set(place)) == len(place)
        assert tf.gather(alone.counts[0], place).numpy().all()


@by_assigner
@pytest.mark.parametrize("batch", [None, 2])
def test_graph_of_unknown_sizes(assigner, batch):
    signature = [
        tf.TensorSpec([batch, None, 4]), tf.TensorSpec([batch, 2], tf.int32), tf.TensorSpec([2], tf.int32)
    ]  # fmt: skip
    graph = tf.function(functools.partial(assign, assigner), input_signature=signature)
    for canvas in ([96, 96], [96, 128]):
        expected = assign(assigner, BOXES, IMAGE_SHAPE, canvas)
        tf.nest.map_structure(np.testing.assert_array_equal, graph(BOXES, IMAGE_SHAPE, canvas), expected)


@by_assigner
def test_xla(assigner):
    compiled = tf.function(lambda boxes, shape: assign(assigner, boxes, shape, [96, 96]), jit_compile=True)
    actual, expected = compiled(BOXES, IMAGE_SHAPE), assign(assigner, BOXES, IMAGE_SHAPE, [96, 96])
    for name in ("is_positive", "counts"):
        np.testing.assert_array_equal(getattr(actual, name), getattr(expected, name))
    for name in ("place", "box"):
        np.testing.assert_array_equal(*(getattr(t, name)[expected.is_positive] for t in (actual, expected)))


@by_assigner
def test_serialization(assigner):
    restored = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(assigner))
    assert restored == assigner
