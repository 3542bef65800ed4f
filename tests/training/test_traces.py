"""How often a graph is made: once for each canvas in training, and once for all in evaluation."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import gfl_tf
from gfl_tf.evaluation import coco
from gfl_tf.layers import deformable
from gfl_tf.training import finite_step
from tests.tiny import build_tiny

CANVASES = ((64, 64), (64, 96))


def batch(height, width):
    labels = {
        "boxes": tf.constant([[[4.0, 4, 40, 50]]]),
        "classes": tf.constant([[1.0]]),
        "image_shape": tf.constant([[height, width]]),
    }
    return tf.random.uniform([1, height, width, 3]), labels


def test_training_and_evaluation():
    model = build_tiny(gfl_tf.GFL)
    model.compile(keras.optimizers.SGD(0.001))
    model.optimizer.build(model.trainable_variables)
    step, detect = finite_step.build(model, tf.distribute.get_strategy()), coco.detect_function(model)
    for canvas in CANVASES * 2:
        images, labels = batch(*canvas)
        step((images, labels))
        detect(images)
    assert step.experimental_get_tracing_count() == len(CANVASES)
    assert detect.experimental_get_tracing_count() == 1


@pytest.mark.one_stack
def test_deformable_convolutions_share_theirs():
    """Of all levels, canvases and layers of the same kernel."""
    deformable._traced.cache_clear()
    layers = [deformable.DeformableConv2D(8), deformable.DeformableConv2D(8)]
    for canvas in CANVASES:
        images = np.zeros([1, *canvas, 8], np.float32)
        with tf.GradientTape() as tape:
            outputs = layers[1](layers[0](images))
        tape.gradient(outputs, layers[0].trainable_weights)
    assert deformable._traced.cache_info().currsize == 1
