"""The ATSS head's raw outputs: names, what is shared, which tower each comes from, and the start of training."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from gfl_tf.heads.atss import ATSSHead

SIZES = [(8, 12), (4, 6), (2, 3), (1, 2), (1, 1)]  # P3 to P7 of 64 x 96 pixels
FIRST = np.cumsum([0] + [height * width for height, width in SIZES])
CHANNELS = 4


def features(seed=0):
    rng = np.random.default_rng(seed)
    return [tf.constant(rng.normal(0, 1, (2, *size, CHANNELS)).astype(np.float32)) for size in SIZES]


def tiny(**options):
    return ATSSHead(3, **{"channels": CHANNELS, "num_convs": 1, "groups": 2, **options})


def test_names_shapes_and_types():
    outputs = tiny()(features())
    shapes = {name: value.shape for name, value in outputs.items()}
    points = FIRST[-1]
    assert shapes == {"classification": (2, points, 3), "box": (2, points, 4), "centerness": (2, points, 1)}
    assert {value.dtype for value in outputs.values()} == {tf.float32}


@pytest.mark.parametrize("tower, outputs", [("class_tower", {"classification"}), ("box_tower", {"box", "centerness"})])
def test_centerness_comes_from_the_box_tower(tower, outputs):
    head = tiny()
    before = head(features())
    kernel = getattr(head, tower)[0].conv.kernel
    kernel.assign(tf.random.stateless_normal(kernel.shape, seed=(0, 1)))
    after = head(features())
    assert {name for name in before if np.any(before[name] != after[name])} == outputs


@pytest.mark.parametrize("level", range(5))
def test_a_level_has_its_own_scale_of_box_deltas(level):
    head = tiny()
    before = head(features())
    head.scales[level].scale.assign(3.0)
    after = head(features())
    factor = np.ones(FIRST[-1])
    factor[FIRST[level] : FIRST[level + 1]] = 3
    np.testing.assert_allclose(after["box"], before["box"] * factor[:, np.newaxis], rtol=1e-6)
    for name in ("classification", "centerness"):
        np.testing.assert_array_equal(after[name], before[name])


def test_scores_start_at_the_prior():
    outputs = tiny(prior=0.2)([tf.zeros_like(feature) for feature in features()])
    np.testing.assert_allclose(tf.sigmoid(outputs["classification"]), 0.2 * np.ones((2, FIRST[-1], 3)), rtol=1e-5)
    np.testing.assert_array_equal(outputs["box"], np.zeros((2, FIRST[-1], 4)))


def test_config_round_trip():
    head = tiny(prior=0.2, num_convs=2)
    restored = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(head))
    assert type(restored) is ATSSHead and restored.get_config() == head.get_config()
    assert len(restored.box_tower) == 2
