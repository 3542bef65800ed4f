"""`predict` of one batch: the same detections without an input pipeline, which Keras gives everything else."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import gfl_tf
from gfl_tf.detectors.one_batch import is_one

IMAGES = np.random.default_rng(0).uniform(0, 255, (3, 64, 64, 3))


@pytest.fixture(scope="module")
def gfl(build):
    return build(gfl_tf.GFL)


@pytest.mark.parametrize("images", [IMAGES, IMAGES.astype(np.uint8), tf.constant(IMAGES, tf.float32)])
def test_detections_are_those_of_the_pipeline(gfl, images):
    found = gfl.predict(images)
    piped = gfl.predict(images, verbose=0, callbacks=[keras.callbacks.Callback()])
    assert found.keys() == piped.keys()
    for name, value in found.items():
        assert isinstance(value, np.ndarray)
        np.testing.assert_allclose(value, piped[name], rtol=1e-5, atol=1e-4, err_msg=name)


def test_what_is_one_batch(gfl):
    assert is_one(gfl, IMAGES) and is_one(gfl, IMAGES, 3, verbose=0) and is_one(gfl, tf.constant(IMAGES))
    assert not is_one(gfl, IMAGES, 2), "two batches"
    assert not is_one(gfl, IMAGES[:0]) and not is_one(gfl, IMAGES[0]), "Keras's errors"
    assert not is_one(gfl, IMAGES, verbose=1), "a progress bar is wanted"
    assert not is_one(gfl, IMAGES, callbacks=[keras.callbacks.Callback()]) and not is_one(gfl, IMAGES, steps=1)
    assert not is_one(gfl, {"images": IMAGES}) and not is_one(gfl, tf.data.Dataset.from_tensors(IMAGES))


def test_traces(gfl, monkeypatch):
    """One for a static shape, and one for all others."""
    traces = []
    monkeypatch.setattr(gfl, "predict_step", lambda data, step=gfl.predict_step: (traces.append(data), step(data))[1])
    gfl.make_predict_function(force=True)
    for height in (64, 96, 128, 64, 128):
        for _ in range(2):
            gfl.predict(np.zeros((1, height, 64, 3)))
    assert len(traces) <= 3
    gfl.predict(np.zeros((1, 64, 64, 3)))
    assert len(traces) <= 3
