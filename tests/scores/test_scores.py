"""How class scores and quality become one number, worked out by hand: at inference, and what is trained on what."""

import math

import keras
import numpy as np
import pytest
import tensorflow as tf

from gfl_tf import losses
from gfl_tf.detectors import training
from gfl_tf.ops.grid import Places
from gfl_tf.scores.branch import QualityBranch
from gfl_tf.scores.dgqp import DGQPScore
from gfl_tf.scores.joint import JointScore

LOG3 = math.log(3)  # sigmoid(log 3) = 3/4
# Two classes at three places: scores (1/2, 3/4), (1/4, 1/2), (1/4, 1/4); qualities 1/4, 3/4, 1/2.
CLASS_LOGITS = tf.constant([[[0, LOG3], [-LOG3, 0], [-LOG3, -LOG3]]])
CLASS_SCORES = np.array([[[1 / 2, 3 / 4], [1 / 4, 1 / 2], [1 / 4, 1 / 4]]])
QUALITY_LOGITS = tf.constant([[[-LOG3], [LOG3], [0]]])
QUALITIES = np.array([[[1 / 4], [3 / 4], [1 / 2]]])
PLAIN = JointScore(quality_targets=False, weight_boxes_by="none")


def outputs(score, **changes):
    outputs = {"classification": CLASS_LOGITS, "box": tf.zeros([1, 3, 4]), "quality": QUALITY_LOGITS, **changes}
    return outputs if score.has_quality_output else {name: outputs[name] for name in ("classification", "box")}


def positives(score, **changes):
    """Three candidates, the last of them no positive: IoUs 0.5 and 0.125, centerness 1 and sqrt(1/9 * 1/4) = 1/6.

    The targets are 20 x 20; the points lie in the middle, and 2 and 4 pixels from the left and upper side.
    """
    targets = tf.constant([[[0.0, 0, 20, 20]] * 3])
    boxes = tf.constant([[[0.0, 0, 20, 10], [0, 0, 5, 10], [0, 0, 20, 20]]])
    places = Places(tf.constant([[[10.0, 10], [2, 4], [10, 10]]]), tf.fill([1, 3], 8.0), tf.zeros([1, 3, 4]))
    mask = tf.constant([[1.0, 1, 0]])
    return training.Positives(mask, outputs(score, **changes), places, targets, None, None).with_boxes(boxes)


IOU = [[0.5, 0.125, 0]]
CENTERNESS = [[1, 1 / 6, 0]]


@pytest.mark.parametrize("score", [JointScore(), PLAIN, DGQPScore(composed_channels=8)])
def test_one_score_a_class(score):
    assert not score.has_quality_output and score.quality is None
    np.testing.assert_allclose(score.scores(outputs(score)), CLASS_SCORES, rtol=1e-6)
    assert score.factors(outputs(score)) is None
    assert score.quality_loss(positives(score)) is None
    for by_pairs in (False, True):  # the best logit, which is in the order of the best score
        np.testing.assert_allclose(score.ranking(outputs(score), by_pairs), [[LOG3, 0, -LOG3]], rtol=1e-6)


def test_dgqp_multiplies_its_quality():
    """Here the threshold of the candidates sees the product."""
    score = DGQPScore()
    assert score.has_quality_output and score.quality is None  # its quality has no loss of its own
    np.testing.assert_allclose(score.scores(outputs(score)), CLASS_SCORES * QUALITIES, rtol=1e-6)
    assert score.factors(outputs(score)) is None
    for by_pairs in (False, True):
        np.testing.assert_allclose(score.ranking(outputs(score), by_pairs), [[3 / 16, 3 / 8, 1 / 8]], rtol=1e-6)


@pytest.mark.parametrize("quality", ["centerness", "iou"])
def test_branch_multiplies_its_quality_afterwards(quality):
    """The threshold sees the class score; pairs are ranked by it too."""
    score = QualityBranch(quality=quality)
    assert score.has_quality_output and score.quality == quality
    np.testing.assert_allclose(score.scores(outputs(score)), CLASS_SCORES, rtol=1e-6)
    np.testing.assert_allclose(score.factors(outputs(score)), QUALITIES, rtol=1e-6)
    np.testing.assert_allclose(score.ranking(outputs(score), False), [[3 / 16, 3 / 8, 1 / 8]], rtol=1e-6)
    np.testing.assert_allclose(score.ranking(outputs(score), True), [[3 / 4, 1 / 2, 1 / 4]], rtol=1e-6)


def test_example():
    """IoUs 200 / 400 and 50 / 400."""
    np.testing.assert_allclose(positives(PLAIN).iou, IOU, rtol=1e-6)
    np.testing.assert_allclose(positives(PLAIN).quality("centerness"), CENTERNESS, rtol=1e-6)


@pytest.mark.parametrize(
    "score, expected",
    [
        (JointScore(), IOU),
        (DGQPScore(), IOU),
        (PLAIN, [[1, 1, 0]]),
        (QualityBranch(), [[1, 1, 0]]),
        (QualityBranch(quality_targets=True), IOU),
    ],
)
def test_targets(score, expected):
    np.testing.assert_allclose(score.targets(positives(score)), expected, rtol=1e-6)


@pytest.mark.parametrize(
    "score, expected",
    [
        (JointScore(), [[3 / 4, 1 / 2, 0]]),  # the best class score
        (DGQPScore(), [[3 / 16, 3 / 8, 0]]),  # of the product
        (DGQPScore(composed_channels=8), [[3 / 4, 1 / 2, 0]]),
        (PLAIN, [[1, 1, 0]]),
        (JointScore(weight_boxes_by="iou"), IOU),
        (QualityBranch(), CENTERNESS),
        (QualityBranch(quality="iou"), CENTERNESS),
        (QualityBranch(weight_boxes_by="score"), [[3 / 4, 1 / 2, 0]]),  # the class score alone
    ],
)
def test_box_weights(score, expected):
    with tf.GradientTape() as tape:
        tape.watch(CLASS_LOGITS)
        weights = score.box_weights(positives(score))
    np.testing.assert_allclose(weights, expected, rtol=1e-6)
    assert tape.gradient(weights, CLASS_LOGITS) is None


@pytest.mark.parametrize("quality, targets", [("iou", IOU), ("centerness", CENTERNESS)])
def test_quality_loss(quality, targets):
    """Binary cross entropy of probabilities 1/4 and 3/4, positives alone."""
    score = QualityBranch(quality=quality)
    expected = [
        -target * math.log(p) - (1 - target) * math.log(1 - p) for target, p in zip(targets[0][:2], (1 / 4, 3 / 4))
    ]
    np.testing.assert_allclose(score.quality_loss(positives(score)), [[*expected, 0]], rtol=1e-5)


@pytest.mark.parametrize("score", [JointScore(), PLAIN, QualityBranch(), DGQPScore(composed_channels=8)])
def test_classification_loss_is_of_the_class_logits(score):
    targets = tf.constant([[[0.0, 1], [0, 0], [1, 0]]])
    expected = tf.reduce_sum(losses.focal_loss(targets, CLASS_LOGITS), axis=-1)
    value = score.classification_loss(losses.FocalLoss(), targets, outputs(score))
    np.testing.assert_allclose(value, expected, rtol=1e-6)


def test_classification_loss_of_the_product():
    """J = 1/2 * 1/4, 3/4 * 1/4, ...: the losses of its own logits."""
    targets = tf.constant([[[0.0, 0.5], [0, 0], [1, 0]]])
    product = CLASS_SCORES * QUALITIES
    logits = np.float32(np.log(product / (1 - product)))
    for loss in (losses.QualityFocalLoss(), losses.VarifocalLoss()):
        value = DGQPScore().classification_loss(loss, targets, outputs(DGQPScore()))
        np.testing.assert_allclose(value, loss.call(targets, logits), rtol=1e-5)


def test_a_loss_may_keep_its_classes():
    """Keras's binary cross entropy takes the mean over classes, one's own loss may leave them apart."""

    class Absolute(keras.losses.Loss):
        def call(self, y_true, y_pred):
            return tf.abs(y_true - tf.sigmoid(y_pred))

    value = PLAIN.classification_loss(Absolute(), tf.zeros([1, 3, 2]), outputs(PLAIN))
    np.testing.assert_allclose(value, CLASS_SCORES.sum(axis=-1), rtol=1e-6)


@pytest.mark.parametrize(
    "score, expected",
    [
        (JointScore(guided="iou", guided_power=1.0), IOU),
        (JointScore(guided="centerness", guided_power=2.0), np.square(CENTERNESS)),
        (JointScore(guided="centerness"), np.power(CENTERNESS, 1.5)),
        (QualityBranch(guided="iou", guided_power=0.0), None),
        (JointScore(), None),
    ],
)
def test_guidance(score, expected):
    guidance = score.guidance(positives(score))
    if score.guided_power == 0:
        np.testing.assert_array_equal(guidance[0, :2], [1, 1])
    elif expected is None:
        assert guidance is None
    else:
        np.testing.assert_allclose(guidance, expected, rtol=1e-6)


def test_guided_losses_keep_the_sum_of_the_positives():
    """Four places a image; positives at 1 and 3 of the first, at 0 of the second, and an entry that is none.

    Losses 2, 4 and 6, sum 12; times the guidance of 1/4, 3/4 and 1/2 they are 1/2, 3 and 3, sum 6.5. Factor 12 / 6.5.
    """
    values = tf.constant([[1.0, 2, 3, 4], [6, 7, 8, 9]])
    guidance = tf.constant([[0.25, 0, 0.75], [0.5, 0, 0]])
    mask, place = tf.constant([[1.0, 0, 1], [1, 0, 0]]), tf.constant([[1, 0, 3], [0, 0, 1]])
    with tf.GradientTape() as tape:
        tape.watch(values)
        guided = training._guided(values, guidance, mask, place)
    factor = 12 / 6.5
    np.testing.assert_allclose(guided, [[1, 0.5 * factor, 3, 3 * factor], [3 * factor, 7, 8, 9]], rtol=1e-6)
    np.testing.assert_allclose(tf.reduce_sum(guided), tf.reduce_sum(values), rtol=1e-6)
    # The factor is a number: the gradient of a positive's loss is its weight.
    weights = [[1, 0.25 * factor, 1, 0.75 * factor], [0.5 * factor, 1, 1, 1]]
    np.testing.assert_allclose(tape.gradient(guided, values), weights, rtol=1e-6)


def test_guided_losses_without_positives():
    values = tf.constant([[1.0, 2]])
    guided = training._guided(values, tf.zeros([1, 3]), tf.zeros([1, 3]), tf.zeros([1, 3], tf.int32))
    np.testing.assert_array_equal(guided, values)
    assert training._guided(values, None, None, None) is values


def test_head_layers():
    assert JointScore().head_layer() is None and QualityBranch().head_layer() is None
    dgqp = DGQPScore(k=3, hidden=5, statistics=("variance",), prior=0.3).head_layer()
    assert (dgqp.k, dgqp.hidden, dgqp.statistics, dgqp.outputs, dgqp.prior) == (3, 5, ("variance",), 1, 0.3)
    assert DGQPScore(composed_channels=8).head_layer().outputs == 8


@pytest.mark.parametrize("score", [JointScore(), QualityBranch(), DGQPScore(), DGQPScore(composed_channels=8)])
def test_outputs_are_checked(score):
    score.check_outputs(outputs(score))
    name = type(score).__name__
    if score.has_quality_output:
        with pytest.raises(ValueError, match=f"has no quality output, but {name} needs a quality output"):
            score.check_outputs({"classification": 0, "box": 0})
    else:
        with pytest.raises(ValueError, match=f"has quality output, but {name} needs no quality output"):
            score.check_outputs({"classification": 0, "box": 0, "quality": 0})


@pytest.mark.parametrize(
    "cls, options, message",
    [
        (JointScore, dict(weight_boxes_by="area"), "weight_boxes_by is 'area'; it must be one of"),
        (JointScore, dict(guided="score"), "guided is 'score'; it must be one of"),
        (JointScore, dict(guided_power=-1.0), "guided_power is -1.0; it must be a number of at least 0"),
        (QualityBranch, dict(quality="giou"), "quality is 'giou'; it must be one of 'iou', 'centerness'$"),
        (QualityBranch, dict(quality_tower=""), "quality_tower is ''; it must be one of 'box', 'class'$"),
        (QualityBranch, dict(quality_weight=-1.0), "quality_weight is -1.0; it must be a number of at least 0"),
        (QualityBranch, dict(guided="score"), "guided is 'score'; it must be"),  # those of every score
        (
            DGQPScore,
            dict(k=0),
            "k is 0; it must be a whole number of at least 1 .without a DGQP, k = 0 in GFLv2's table 2, it is GFL",
        ),
        (
            DGQPScore,
            dict(statistics=("median",)),
            "statistics is .*; it must be one or more values in a tuple, each one of 'topk'",
        ),
        (
            DGQPScore,
            dict(composed_channels=-1),
            "composed_channels is -1; it must be 0 or a whole number of at least 2",
        ),
        (
            DGQPScore,
            dict(composed_channels=1),
            "composed_channels is 1; it must be 0 or a whole number of at least 2",
        ),
    ],
)
def test_impossible_arguments_are_refused(cls, options, message):
    with pytest.raises(ValueError, match=message):
        cls(**options)


@pytest.mark.parametrize(
    "score",
    [
        JointScore(guided="iou", guided_power=2.0),
        QualityBranch(
            quality="iou", quality_tower="class", quality_weight=0.5, quality_targets=True, weight_boxes_by="iou"
        ),
        DGQPScore(k=3, statistics=("topk", "variance"), composed_channels=8),
    ],
)
def test_serialization(score):
    assert keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(score)) == score
