"""A functional Keras model with the names of its levels: what is refused, and what survives saving."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from gfl_tf.backbones import Pyramid, ResNet
from gfl_tf.compat import keras_cv

LEVELS = {"P3": "third", "P4": "fourth", "P5": "fifth"}
IMAGES = tf.constant(np.random.default_rng(0).normal(size=(1, 64, 96, 3)), tf.float32)


def plain():
    inputs = x = keras.Input((None, None, 3))
    for name in ("first", "second", *LEVELS.values()):
        x = keras.layers.Conv2D(2, 3, strides=2, padding="same", name=name)(x)
    return keras.Model(inputs, keras.layers.ReLU()(x), name="plain")


def test_stands_for_the_model():
    model = plain()
    pyramid = Pyramid(model, LEVELS)
    assert pyramid.name == "plain" and pyramid.pyramid_level_inputs == LEVELS
    assert [id(value) for value in pyramid.weights] == [id(value) for value in model.weights]
    np.testing.assert_array_equal(pyramid(IMAGES), model(IMAGES))


def test_under_kerascv():
    model = keras_cv.models.RetinaNet(num_classes=3, bounding_box_format="xyxy", backbone=Pyramid(plain(), LEVELS))
    assert model(tf.zeros((1, 128, 128, 3)))["classification"].shape[-1] == 3


def test_saving(tmp_path):
    model = plain()
    model.get_layer("second").trainable = False
    pyramid = Pyramid(model, LEVELS)
    pyramid.save(tmp_path / "pyramid.keras")
    again = keras.models.load_model(tmp_path / "pyramid.keras")
    assert type(again) is Pyramid and again.pyramid_level_inputs == LEVELS and again.name == "plain"
    assert [layer.name for layer in again.layers if not layer.trainable] == ["second"]
    np.testing.assert_array_equal(again(IMAGES), pyramid(IMAGES))

    pyramid.trainable = False
    assert not Pyramid.from_config(pyramid.get_config()).trainable_variables


def test_wrong_names():
    with pytest.raises(ValueError, match="plain has no layer 'forth' to be P4. Like it are: fourth"):
        Pyramid(plain(), {**LEVELS, "P4": "forth"})


class Subclassed(keras.Model):
    def call(self, inputs):
        return inputs


def test_no_functional_model():
    with pytest.raises(ValueError, match="must be a functional Keras model"):
        Pyramid(Subclassed(), LEVELS)


def test_layers_that_will_be_called_otherwise():
    """A backbone that makes its layers itself gives those without names other numbers when it is loaded."""
    model = ResNet(18)
    numbered = next(layer.name for layer in model.layers if layer.name.startswith("re_lu"))
    assert Pyramid(model, model.pyramid_level_inputs).pyramid_level_inputs == model.pyramid_level_inputs
    with pytest.raises(ValueError, match="'re_lu.*', but ResNet gives that layer another number each time"):
        Pyramid(model, {**model.pyramid_level_inputs, "P2": numbered})
