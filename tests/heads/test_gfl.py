"""The heads' raw outputs: their order, sharing, scales, and the two forms of GFLv2."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from gfl_tf.heads.gfl import GFLHead, GFLV2Head
from gfl_tf.layers.dgqp import DGQP

SIZES = [(8, 12), (4, 6), (2, 3), (1, 2), (1, 1)]  # P3 to P7 of 64 x 96 pixels
FIRST = np.cumsum([0] + [height * width for height, width in SIZES])
CHANNELS = 4


def features(seed=0):
    rng = np.random.default_rng(seed)
    return [tf.constant(rng.normal(0, 1, (2, *size, CHANNELS)).astype(np.float32)) for size in SIZES]


def tiny(num_convs=1, **options):
    return GFLHead(3, num_bins=4, channels=CHANNELS, num_convs=num_convs, groups=2, **options)


def changed_points(head, before, after):
    """For each output, the points at which any channel differs."""
    outputs = head(before), head(after)
    return {
        name: np.flatnonzero(np.any(outputs[0][name].numpy() != outputs[1][name].numpy(), axis=(0, 2)))
        for name in outputs[0]
    }


def test_names_shapes_and_types():
    outputs = GFLV2Head(tiny())(features())
    shapes = {name: value.shape for name, value in outputs.items()}
    points = FIRST[-1]
    assert shapes == {"classification": (2, points, 3), "box": (2, points, 4 * 5), "quality": (2, points, 1)}
    assert {value.dtype for value in outputs.values()} == {tf.float32}


@pytest.mark.parametrize("level", range(5))
def test_levels_stand_in_order(level):
    head = GFLV2Head(tiny())
    before = features()
    after = [feature + float(i == level) * tf.range(1.0, 5.0) for i, feature in enumerate(before)]
    for name, points in changed_points(head, before, after).items():
        assert points.min() >= FIRST[level] and points.max() < FIRST[level + 1], name
        assert len(points) > 0


def test_points_of_a_level_are_row_major():
    """Without towers a 3x3 convolution is all there is: the cell at row 5, column 7 touches its 3 x 3 neighbours."""
    before = features()
    p3 = before[0].numpy()
    p3[:, 5, 7] += 1
    expected = [12 * row + column for row in (4, 5, 6) for column in (6, 7, 8)]
    for name, points in changed_points(GFLV2Head(tiny(num_convs=0)), before, [tf.constant(p3), *before[1:]]).items():
        assert points.tolist() == expected, name


def test_every_level_has_its_scale():
    head = tiny()
    before = head(features())["box"].numpy()
    for index, scale in enumerate(head.scales):
        scale.scale.assign(index + 2.0)
    after = head(features())["box"].numpy()
    for index in range(5):
        level = slice(FIRST[index], FIRST[index + 1])
        np.testing.assert_allclose(after[:, level], before[:, level] * (index + 2), rtol=1e-5)


def test_levels_share_their_weights():
    """The same map at P6 and P7 gives the same outputs."""
    maps = features()[:3] + [features()[3]] * 2
    outputs = GFLV2Head(tiny())(maps)
    for value in outputs.values():  # TensorFlow's own kernels, without oneDNN, round by where a map lies in memory
        np.testing.assert_allclose(value[:, -4:-2], value[:, -2:], rtol=1e-5, atol=1e-8)


def test_prior():
    """At a feature of zero every class score is the prior."""
    head = tiny(num_convs=0, prior=0.02)
    scores = tf.sigmoid(head([tf.zeros_like(feature) for feature in features()])["classification"])
    np.testing.assert_allclose(scores, np.full(scores.shape, 0.02), rtol=1e-5)


def test_paper_defaults():
    """GFL: 4 convolutions of 256 channels, n = 16. GFLv2: k = 4 and the mean of 4 sides into 64, then 1."""
    head = GFLV2Head(GFLHead(80))
    head.build([(None, None, None, 256)] * 5)
    assert len(head.base.class_tower) == len(head.base.box_tower) == 4
    assert head.base.class_tower[3].conv.kernel.shape == (3, 3, 256, 256)
    assert head.base.classification.kernel.shape == (3, 3, 256, 80)
    assert head.base.box.kernel.shape == (3, 3, 256, 4 * 17)
    assert [tuple(w.shape) for w in head.dgqp.weights] == [(20, 64), (64,), (64, 1), (1,)]


def test_composed_form():
    """The distribution statistics go into the class features; there is no quality output."""
    head = tiny(composed=DGQP(k=2, outputs=6))
    maps = features()
    with tf.GradientTape() as tape:
        outputs = head(maps)
        total = tf.reduce_sum(outputs["classification"] ** 2)
    assert set(outputs) == {"classification", "box"}
    assert head.classification.kernel.shape == (3, 3, CHANNELS + 6, 3)
    assert tf.reduce_max(tf.abs(tape.gradient(total, head.box.kernel))) > 0


def test_unseeded_initializers_differ():
    """Two towers that start alike would stay alike in part."""
    head = tiny()
    head.build([(None, None, None, CHANNELS)] * 5)
    kernels = [head.class_tower[0].conv.kernel.numpy(), head.box_tower[0].conv.kernel.numpy()]
    assert np.abs(kernels[0] - kernels[1]).max() > 1e-3


@pytest.mark.parametrize(
    "head",
    [tiny(prior=0.1), tiny(composed=DGQP(k=2, outputs=6)), GFLV2Head(tiny(), DGQP(k=3, statistics=("variance",)))],
    ids=["gfl", "composed", "decomposed"],
)
def test_serialization(head):
    restored = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(head))
    assert restored.get_config() == head.get_config()
    expected = head(features())
    restored.build([(None, None, None, CHANNELS)] * 5)
    restored.set_weights(head.get_weights())
    tf.nest.map_structure(np.testing.assert_array_equal, restored(features()), expected)
