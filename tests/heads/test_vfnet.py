"""The VFNet head's raw outputs: names, units, what depends on what, gradients through the star, the ablations."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from gfl_tf.boxes.points import AnchorDeltas, DiracDistances
from gfl_tf.heads.vfnet import VFNetHead
from gfl_tf.layers.blocks import ConvGN
from gfl_tf.layers.deformable import DeformableConv2D
from gfl_tf.layers.star import StarConv2D
from gfl_tf.ops.grid import GridSpec
from gfl_tf.scores.branch import QualityBranch
from gfl_tf.scores.joint import JointScore

SIZES = [(8, 12), (4, 6), (2, 3), (1, 2), (1, 1)]  # P3 to P7 of 64 x 96 pixels
FIRST = np.cumsum([0] + [height * width for height, width in SIZES])
STRIDES = np.repeat([8, 16, 32, 64, 128], np.diff(FIRST))[:, np.newaxis]
CHANNELS = 4
NAMES = {"classification", "box", "refined_box"}


def features(seed=0):
    rng = np.random.default_rng(seed)
    return [tf.constant(rng.normal(0, 1, (2, *size, CHANNELS)).astype(np.float32)) for size in SIZES]


def tiny(**options):
    return VFNetHead(3, **{"channels": CHANNELS, "num_convs": 1, "groups": 2, **options})


def awake(**options):
    """A head whose kernels are large enough to show in the outputs."""
    head = tiny(**options)
    head(features())
    for index, variable in enumerate(head.trainable_variables):
        if "kernel" in variable.name:
            variable.assign(0.3 * tf.random.stateless_normal(variable.shape, (index, 7)))
    return head


def changed_outputs(head, variable):
    before = head(features())
    variable.assign_add(0.1 * tf.random.stateless_normal(variable.shape, (0, 1)))
    after = head(features())
    return {name for name in before if np.any(np.abs(before[name] - after[name]) > 1e-6)}


def test_names_shapes_and_types():
    outputs = tiny()(features())
    shapes = {name: value.shape for name, value in outputs.items()}
    points = FIRST[-1]
    assert shapes == {"classification": (2, points, 3), "box": (2, points, 4), "refined_box": (2, points, 4)}
    assert {value.dtype for value in outputs.values()} == {tf.float32}


@pytest.mark.parametrize("normalization, unit", [("reg_denom", [64, 128, 256, 512, 1024]), ("stride", None)])
def test_start_of_training(normalization, unit):
    """Boxes reach one unit to each side, refined ones as far; scores are the prior."""
    outputs = tiny(prior=0.2, box_normalization=normalization)([tf.zeros_like(feature) for feature in features()])
    expected = STRIDES if unit is None else np.repeat(unit, np.diff(FIRST))[:, np.newaxis]
    for name in ("box", "refined_box"):
        np.testing.assert_allclose(outputs[name], np.broadcast_to(expected, (2, FIRST[-1], 4)), rtol=1e-6)
    np.testing.assert_allclose(tf.sigmoid(outputs["classification"]), 0.2 * np.ones((2, FIRST[-1], 3)), rtol=1e-5)


@pytest.mark.parametrize(
    "part, star, expected",
    [
        ("class_tower", True, {"classification"}),
        ("class_star", True, {"classification"}),
        ("box_tower", True, NAMES),
        ("box_feature", True, NAMES),  # the initial box places the points of both star convolutions
        ("box_feature", False, {"box", "refined_box"}),
        ("refine_star", True, {"refined_box"}),
        ("refinement", True, {"refined_box"}),
    ],
)
def test_what_depends_on_what(part, star, expected):
    head = awake(star=star)
    layer = getattr(head, part)
    layer = layer[0] if isinstance(layer, (list, tuple)) else layer
    kernel = layer.conv.kernel if isinstance(layer, ConvGN) else layer.kernel
    assert changed_outputs(head, kernel) == expected


@pytest.mark.parametrize("level", range(5))
def test_a_level_has_its_own_scales(level):
    head = awake(star=False)
    before = head(features())
    head.scales[level].scale.assign(2.0)
    head.refinement_scales[level].scale.assign(3.0)
    after = head(features())
    factor = np.repeat(np.arange(5) == level, np.diff(FIRST))[:, np.newaxis]
    unit = 8.0 * STRIDES
    np.testing.assert_allclose(np.log(after["box"] / unit), np.log(before["box"] / unit) * (1 + factor), atol=1e-4)
    logs = [np.log(outputs["refined_box"] / outputs["box"]) for outputs in (before, after)]
    np.testing.assert_allclose(logs[1], logs[0] * (1 + 2 * factor), atol=1e-4)


def gradient_of_box_kernel(head, name):
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(tf.square(head(features())[name]))
    gradient = tape.gradient(loss, head.box.kernel)
    return None if gradient is None else gradient.numpy()


@pytest.mark.parametrize("name", ["classification", "refined_box"])
def test_gradient_through_the_star(name):
    """It reaches the initial box through the star's points alone, times `star_gradient`."""
    # Small boxes: points outside the map have no gradient.
    full, tenth, none = (
        gradient_of_box_kernel(awake(star_gradient=factor, box_normalization="stride"), name)
        for factor in (1.0, 0.1, 0.0)
    )
    assert np.abs(full).max() > 0
    np.testing.assert_allclose(tenth, 0.1 * full, rtol=1e-3, atol=1e-4 * np.abs(full).max())
    np.testing.assert_array_equal(none, 0 * full)
    plain = gradient_of_box_kernel(awake(star=False), name)
    assert plain is None or not plain.any()


@pytest.mark.parametrize("star", [True, False])
@pytest.mark.parametrize("refine", [True, False])
def test_ablations(star, refine):
    """Table 3: each of the star convolutions and the refinement on or off."""
    head = tiny(star=star, refine=refine)
    assert set(head(features())) == (NAMES if refine else NAMES - {"refined_box"})
    assert isinstance(head.class_star, StarConv2D if star else ConvGN)
    assert hasattr(head, "refine_star") == refine


def test_deformable_convolution_at_the_end_of_the_towers():
    head = tiny(num_convs=2, deformable=True)
    for tower in (head.class_tower, head.box_tower):
        assert [isinstance(block.conv, DeformableConv2D) for block in tower] == [False, True]
    assert set(head(features())) == NAMES
    assert not isinstance(head.box_feature.conv, DeformableConv2D)


def test_unknown_normalization():
    with pytest.raises(ValueError, match="box_normalization is 'px'; it must be one of 'reg_denom'"):
        tiny(box_normalization="px")


def test_other_levels():
    """P2 and P3: strides 4 and 8, and eight of them to each side."""
    head = tiny(levels=(2, 3))
    outputs = head([tf.zeros_like(feature) for feature in features()[:2]])
    expected = np.repeat([32, 64], [8 * 12, 4 * 6])[:, np.newaxis]
    for name in ("box", "refined_box"):
        np.testing.assert_allclose(outputs[name], np.broadcast_to(expected, (2, 120, 4)), rtol=1e-6)
    with pytest.raises(ValueError, match="the head has levels .2, 3., the neck puts out 5"):
        head.call(features())


def test_fits_the_other_parts():
    distances = DiracDistances(activation="none", unit="pixel")
    assert VFNetHead.fitting(GridSpec(levels=(2, 3)), distances, JointScore()) == {"levels": (2, 3)}
    for grid, boxes, score in (
        (GridSpec(), DiracDistances(activation="exp", unit="stride"), JointScore()),
        (GridSpec(), AnchorDeltas(), JointScore()),
        (GridSpec(), distances, QualityBranch()),
        (GridSpec(anchor_ratios=(0.5, 2.0)), distances, JointScore()),
    ):
        with pytest.raises(ValueError, match="four distances in pixels a point and joint class scores"):
            VFNetHead.fitting(grid, boxes, score)


def test_config_round_trip():
    head = tiny(prior=0.2, num_convs=2, star=False, deformable=True, box_normalization="stride", star_gradient=0.5)
    restored = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(head))
    assert type(restored) is VFNetHead and restored.get_config() == head.get_config()
    assert len(restored.box_tower) == 2
