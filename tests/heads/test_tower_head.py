"""The tower head's raw outputs: names, order, what is shared, which tower each comes from, the forms of the quality."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from gfl_tf.boxes.distributions import GeneralDistribution
from gfl_tf.boxes.points import AnchorDeltas
from gfl_tf.heads.tower_head import TowerHead
from gfl_tf.layers.deformable import DeformableConv2D
from gfl_tf.layers.dgqp import DGQP
from gfl_tf.ops.grid import GridSpec
from gfl_tf.scores.branch import QualityBranch
from gfl_tf.scores.dgqp import DGQPScore
from gfl_tf.scores.joint import JointScore

SIZES = [(8, 12), (4, 6), (2, 3), (1, 2), (1, 1)]  # P3 to P7 of 64 x 96 pixels
FIRST = np.cumsum([0] + [height * width for height, width in SIZES])
CHANNELS = 4


def features(seed=0, sizes=SIZES):
    rng = np.random.default_rng(seed)
    return [tf.constant(rng.normal(0, 1, (2, *size, CHANNELS)).astype(np.float32)) for size in sizes]


def tiny(**options):
    return TowerHead(3, **{"channels": CHANNELS, "num_convs": 1, "groups": 2, **options})


def gflv2(**options):
    return tiny(box_outputs=4 * 5, dgqp=DGQP(k=2), **options)


def built(head):
    head.build([(None, None, None, CHANNELS)] * len(head.levels))
    return head


def changed_points(head, before, after):
    """For each output, the points at which any channel differs."""
    outputs = head(before), head(after)
    return {
        name: np.flatnonzero(np.any(outputs[0][name].numpy() != outputs[1][name].numpy(), axis=(0, 2)))
        for name in outputs[0]
    }


OUTPUTS = [
    (dict(), {"classification": 3, "box": 4}),
    (dict(box_outputs=20), {"classification": 3, "box": 20}),
    (dict(quality="box"), {"classification": 3, "box": 4, "quality": 1}),
    (dict(quality="class"), {"classification": 3, "box": 4, "quality": 1}),
    (dict(box_outputs=20, dgqp=DGQP(k=2)), {"classification": 3, "box": 20, "quality": 1}),
    (dict(groups=0, scale_levels=False), {"classification": 3, "box": 4}),
]
COMPOSED = dict(box_outputs=20, dgqp=DGQP(k=2, outputs=6)), {"classification": 3, "box": 20}


@pytest.mark.parametrize(
    "anchors, options, channels", [(anchors, *case) for anchors in (1, 9) for case in OUTPUTS] + [(1, *COMPOSED)]
)
def test_names_shapes_and_types(anchors, options, channels):
    outputs = tiny(anchors_per_point=anchors, **options)(features())
    shapes = {name: value.shape for name, value in outputs.items()}
    assert shapes == {name: (2, anchors * FIRST[-1], width) for name, width in channels.items()}
    assert {value.dtype for value in outputs.values()} == {tf.float32}


@pytest.mark.parametrize("level", range(5))
def test_levels_stand_in_order(level):
    before = features()
    after = [feature + float(i == level) * tf.range(1.0, 5.0) for i, feature in enumerate(before)]
    for name, points in changed_points(gflv2(), before, after).items():
        assert points.min() >= FIRST[level] and points.max() < FIRST[level + 1], name
        assert len(points) > 0


@pytest.mark.parametrize("anchors", [1, 3])
def test_points_are_row_major_and_their_anchors_together(anchors):
    """Without towers a 3x3 convolution is all there is: the cell at row 5, column 7 touches its 3 x 3 neighbours."""
    before = features()
    p3 = before[0].numpy()
    p3[:, 5, 7] += 1
    points = [12 * row + column for row in (4, 5, 6) for column in (6, 7, 8)]
    expected = [anchors * point + anchor for point in points for anchor in range(anchors)]
    head = gflv2(num_convs=0, anchors_per_point=anchors)
    for name, places in changed_points(head, before, [tf.constant(p3), *before[1:]]).items():
        assert places.tolist() == expected, name


def test_outputs_of_the_anchors_of_a_point():
    """A point's channels are those of its anchors one after the other: biases 0, 1, ... show which is which."""
    head = built(tiny(anchors_per_point=3, quality="box"))
    for layer, width in ((head.classification, 3), (head.box, 4), (head.quality_branch, 1)):
        layer.bias.assign(tf.range(3.0 * width))
    outputs = head([tf.zeros_like(feature) for feature in features()])
    for name, width in (("classification", 3), ("box", 4), ("quality", 1)):
        expected = np.tile(np.arange(3 * width).reshape(3, width), (FIRST[-1], 1))
        np.testing.assert_allclose(outputs[name], [expected] * 2, atol=1e-6)


@pytest.mark.parametrize(
    "levels, sizes", [((2, 3, 4, 5), [(16, 24), (8, 12), (4, 6), (2, 3)]), ((5, 6), [(2, 3), (1, 2)])]
)
def test_other_levels(levels, sizes):
    head = gflv2(levels=levels)
    outputs = head(features(sizes=sizes))
    assert outputs["quality"].shape == (2, sum(height * width for height, width in sizes), 1)
    assert [scale.name for scale in head.scales] == [f"scale_p{level}" for level in levels]
    with pytest.raises(ValueError, match="the head has levels .*, the neck puts out 5"):
        head.call(features())


@pytest.mark.parametrize("level", range(5))
def test_a_level_has_its_own_scale_of_box_outputs(level):
    head = tiny(quality="box")
    before = head(features())
    head.scales[level].scale.assign(3.0)
    after = head(features())
    factor = np.ones(FIRST[-1])
    factor[FIRST[level] : FIRST[level + 1]] = 3
    np.testing.assert_allclose(after["box"], before["box"] * factor[:, np.newaxis], rtol=1e-6)
    for name in ("classification", "quality"):
        np.testing.assert_array_equal(after[name], before[name])


def test_without_scales_of_the_levels():
    with_scales, without = built(tiny()), built(tiny(scale_levels=False))
    assert len(without.scales) == 0 and len(without.weights) == len(with_scales.weights) - 5
    without.set_weights([w for w in with_scales.get_weights() if w.shape])
    tf.nest.map_structure(np.testing.assert_array_equal, without(features()), with_scales(features()))


def test_levels_share_their_weights():
    """The same map at P6 and P7 gives the same outputs."""
    maps = features()[:3] + [features()[3]] * 2
    for value in gflv2()(maps).values():
        # TensorFlow's own kernels, without oneDNN, round by where a map lies in memory
        np.testing.assert_allclose(value[:, -4:-2], value[:, -2:], rtol=1e-5, atol=1e-8)


@pytest.mark.parametrize("quality", ["box", "class"])
@pytest.mark.parametrize("tower", ["box", "class"])
def test_which_tower_an_output_comes_from(quality, tower):
    head = built(tiny(quality=quality))
    before = head(features())
    kernel = getattr(head, f"{tower}_tower")[0].conv.kernel
    kernel.assign(tf.random.stateless_normal(kernel.shape, seed=(0, 1)))
    after = head(features())
    expected = {"class": {"classification"}, "box": {"box"}}[tower] | ({"quality"} if quality == tower else set())
    assert {name for name in before if np.any(before[name] != after[name])} == expected


def test_start_of_training():
    """At a feature of zero every class score is the prior, and all else is 0."""
    outputs = tiny(prior=0.02, quality="box")([tf.zeros_like(feature) for feature in features()])
    np.testing.assert_allclose(tf.sigmoid(outputs["classification"]), np.full((2, FIRST[-1], 3), 0.02), rtol=1e-5)
    for name, channels in (("box", 4), ("quality", 1)):
        np.testing.assert_array_equal(outputs[name], np.zeros((2, FIRST[-1], channels)))


def test_paper_defaults():
    """GFL: 4 convolutions of 256 channels, n = 16. GFLv2: k = 4 and the mean of 4 sides into 64, then 1."""
    parts = GridSpec(), GeneralDistribution(), DGQPScore()
    head = TowerHead(80, **TowerHead.fitting(*parts))
    head.build([(None, None, None, 256)] * 5)
    assert len(head.class_tower) == len(head.box_tower) == 4
    assert head.class_tower[3].conv.kernel.shape == (3, 3, 256, 256) and head.class_tower[3].groups == 32
    assert head.classification.kernel.shape == (3, 3, 256, 80)
    assert head.box.kernel.shape == (3, 3, 256, 4 * 17)
    assert [tuple(w.shape) for w in head.dgqp.weights] == [(20, 64), (64,), (64, 1), (1,)]


def test_retinanets_towers():
    """groups 0: convolutions with a bias and ReLU, no normalization."""
    head = built(tiny(groups=0, num_convs=2, scale_levels=False))
    for block in (*head.class_tower, *head.box_tower):
        assert block.norm is None and type(block.conv) is keras.layers.Conv2D
        block.conv.bias.assign([-5.0, 1, 2, 3])
        block.conv.kernel.assign(tf.zeros_like(block.conv.kernel))
    # Biases alone, through ReLU: (0, 1, 2, 3) in every tower, so the middle of P3 has the kernel's weighted sum.
    kernel = np.random.default_rng(0).normal(size=(3, 3, CHANNELS, 4))
    head.box.kernel.assign(kernel)
    np.testing.assert_allclose(
        head(features())["box"][0, 12 * 4 + 6], (kernel.sum(axis=(0, 1)) * [[0], [1], [2], [3]]).sum(axis=0), rtol=1e-5
    )


def test_depthwise():
    """Towers and outputs: the same head, but each 3x3 kernel is the product of a depthwise and a 1x1 one."""
    light, full = (built(tiny(quality="box", num_convs=2, depthwise=depthwise)) for depthwise in (True, False))

    def convolutions(head):
        towers = [block.conv for block in (*head.class_tower, *head.box_tower)]
        return [*towers, head.classification, head.box, head.quality_branch]

    for conv, twin in zip(convolutions(light), convolutions(full)):
        each, across, *bias = conv.get_weights()
        twin.set_weights([each * across, *bias])  # [3, 3, C, 1] and [1, 1, C, F]
    actual, expected = light(features()), full(features())
    assert actual.keys() == expected.keys()
    for name, value in expected.items():
        np.testing.assert_allclose(actual[name], value, rtol=1e-4, atol=1e-5, err_msg=name)


def test_decomposed_form():
    """The quality is the DGQP of the scaled box outputs."""
    head = built(gflv2())
    for index, scale in enumerate(head.scales):
        scale.scale.assign(index + 1.0)
    outputs = head(features())
    np.testing.assert_array_equal(outputs["quality"], head.dgqp(outputs["box"]))


def test_composed_form():
    """The distribution statistics go into the class features; there is no quality output."""
    head = tiny(box_outputs=20, dgqp=DGQP(k=2, outputs=6))
    maps = features()
    with tf.GradientTape() as tape:
        outputs = head(maps)
        total = tf.reduce_sum(outputs["classification"] ** 2)
    assert set(outputs) == {"classification", "box"}
    assert head.classification.kernel.shape == (3, 3, CHANNELS + 6, 3)
    assert tf.reduce_max(tf.abs(tape.gradient(total, head.box.kernel))) > 0


@pytest.mark.parametrize(
    "grid, boxes, score, expected",
    [
        (GridSpec(), GeneralDistribution(num_bins=7), JointScore(), ((3, 4, 5, 6, 7), 1, 32, "")),
        (GridSpec(levels=(2, 3)), AnchorDeltas(), QualityBranch(quality_tower="class"), ((2, 3), 1, 4, "class")),
        (GridSpec(anchor_ratios=(0.5, 2.0)), AnchorDeltas(), JointScore(), ((3, 4, 5, 6, 7), 2, 4, "")),
    ],
)
def test_fits_the_other_parts(grid, boxes, score, expected):
    head = TowerHead(3, **TowerHead.fitting(grid, boxes, score))
    assert (head.levels, head.anchors_per_point, head.box_outputs, head.quality) == expected
    assert head.dgqp is None


@pytest.mark.parametrize("channels, quality", [(0, True), (8, False)])
def test_fits_a_dgqp(channels, quality):
    score = DGQPScore(k=2, composed_channels=channels)
    options = TowerHead.fitting(GridSpec(), GeneralDistribution(num_bins=4), score)
    outputs = tiny(**options)(features())
    assert ("quality" in outputs) == quality
    score.check_outputs(outputs)


def test_unseeded_initializers_differ():
    """Two layers that start alike would stay alike in part."""
    for groups in (2, 0):
        head = built(tiny(groups=groups, num_convs=2))
        kernels = [w.numpy() for w in head.weights if w.shape == (3, 3, CHANNELS, CHANNELS)]
        assert len({kernel.tobytes() for kernel in kernels}) == len(kernels) == 5  # two towers and the box


@pytest.mark.parametrize(
    "options, message",
    [
        (dict(quality="both"), "quality is 'both'; it must be one of '', 'box', 'class'"),
        (dict(prior=1.0), "prior is 1.0; it must be a number between 0 and 1"),
        (dict(quality="box", dgqp=DGQP(k=2)), "the quality comes from a DGQP or from a branch, not from both"),
        (dict(anchors_per_point=2, dgqp=DGQP(k=2, outputs=6)), "composed form has one anchor a point"),
        (dict(deformable=True, depthwise=True), "a convolution is deformable or depthwise, not both"),
    ],
)
def test_impossible_arguments_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        tiny(box_outputs=20, **options)


def test_what_fcos_improved_version_adds():
    """A deformable convolution at the end of both towers, and biases before the normalization."""
    head = tiny(num_convs=2, deformable=True, conv_bias=True)
    for tower in (head.class_tower, head.box_tower):
        assert [isinstance(block.conv, DeformableConv2D) for block in tower] == [False, True]
        assert all(block.conv.use_bias and block.norm is not None for block in tower)
    assert not tiny(num_convs=1).class_tower[0].conv.use_bias


HEADS = {
    "gfl": lambda: tiny(box_outputs=20, prior=0.1),
    "composed": lambda: tiny(box_outputs=20, dgqp=DGQP(k=2, outputs=6)),
    "decomposed": lambda: tiny(box_outputs=20, dgqp=DGQP(k=3, statistics=("variance",))),
    "branch": lambda: tiny(quality="class", num_convs=2),
    "depthwise": lambda: tiny(box_outputs=20, dgqp=DGQP(k=2, outputs=6), depthwise=True),
    "deformable": lambda: tiny(deformable=True, conv_bias=True),
    "retinanet": lambda: tiny(groups=0, scale_levels=False, anchors_per_point=9, levels=(3, 4, 5, 6, 7)),
}


@pytest.mark.parametrize("kind", list(HEADS))
def test_serialization(kind):
    head = HEADS[kind]()
    restored = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(head))
    assert type(restored) is TowerHead and restored.get_config() == head.get_config()
    expected = head(features())
    built(restored).set_weights(head.get_weights())
    tf.nest.map_structure(np.testing.assert_array_equal, restored(features()), expected)
