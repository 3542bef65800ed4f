"""A detector that learns from a teacher, with `compile` and `fit`."""

import types

import keras
import numpy as np
import pytest
import tensorflow as tf

import gfl_tf
from gfl_tf.assigners.atss import ATSSAssigner
from gfl_tf.assigners.fcos import FCOSAssigner
from gfl_tf.boxes.distributions import GaussianDistribution, GeneralDistribution
from gfl_tf.boxes.points import DiracDistances
from gfl_tf.detectors.training import assign
from gfl_tf.ops.grid import GridSpec
from gfl_tf.training import fields
from tests.detectors.scenes import BOXES, CANVAS, CLASSES, NUM_POINTS, bright_boxes, parts_of, random_outputs

NAMES = ("localization_distillation_loss", "region_distillation_loss", "class_distillation_loss")


@pytest.fixture(scope="module")
def teacher(build):
    """Untrained, with distributions that a student does not have."""
    keras.utils.set_random_seed(1)
    model = build(gfl_tf.GFL, name="teacher")
    bias = model.head.box.bias
    bias.assign(np.random.default_rng(0).normal(0, 2, bias.shape))
    return model


def test_defaults_are_those_of_the_config(teacher):
    made = gfl_tf.Distillation(teacher)
    of_config = fields.default_train().distillation.to_dict()
    assert {name: getattr(made, name) for name in of_config} == of_config


def test_a_student_comes_close_to_its_teacher(build, teacher, tmp_path, caplog):
    """On its positives and in the valuable region, beside its own losses. What is saved of it has no teacher."""
    keras.utils.set_random_seed(2)
    student = build(gfl_tf.GFLV2)
    images, labels = bright_boxes()
    distillation = gfl_tf.Distillation(teacher, weight=2.0, class_weight=0.1)
    of_teacher = teacher.get_weights()
    losses = [distillation.side_losses(distillation.with_teacher(student(images), images)).numpy()]
    # Eager: its few steps take less time than a graph takes to build.
    student.compile(optimizer=keras.optimizers.Adam(0.006), distillation=distillation, run_eagerly=True)
    history = student.fit(images, labels, epochs=6, verbose=0).history
    losses.append(distillation.side_losses(distillation.with_teacher(student(images), images)).numpy())

    assert [name for name in student.metric_names if "distillation" in name] == list(NAMES)
    parts = sum(np.array(history[name]) for name in history if name.endswith("_loss"))
    np.testing.assert_allclose(history["loss"], parts, rtol=1e-5)
    assert history["region_distillation_loss"][-1] < 0.5 * history["region_distillation_loss"][0]
    assignment = student.assigner(BOXES, CLASSES.astype(np.int32), student.grid.on(CANVAS))
    positives = np.where(assignment.is_positive, 1.0, 0.0)
    before, after = (np.sum(np.take_along_axis(each, assignment.place.numpy(), 1) * positives) for each in losses)
    assert after < 0.5 * before
    assert all(np.array_equal(one, other) for one, other in zip(of_teacher, teacher.get_weights()))

    assert not {id(weight) for weight in student.weights} & {id(weight) for weight in teacher.weights}
    student.save(tmp_path / "student.keras")
    loaded = keras.models.load_model(tmp_path / "student.keras")
    assert "distillation: not saved with a model" in caplog.text and loaded.distillation is None
    student.compile()
    assert student.metric_names == loaded.metric_names and not set(NAMES) & set(loaded.metric_names)
    np.testing.assert_array_equal(student(images)["box"], loaded(images)["box"])


def test_terms_by_hand(build, teacher):
    """All bins are alike to the student; at half of the places its teacher adds 5 to one of 17, on each of the sides.

    The weights are the student's best class scores; in the valuable region all places count alike.
    """
    model = build(gfl_tf.GFL)
    model.compile(distillation=gfl_tf.Distillation(teacher, weight=1.0, vlr_weight=0.5, class_weight=2.0))
    outputs = random_outputs(model)
    sides = np.zeros((2, NUM_POINTS, 4, 17), np.float32)
    sides[..., 3] = 5.0 * np.random.default_rng(1).integers(0, 2, (2, NUM_POINTS, 1))
    outputs["box"] = tf.zeros_like(outputs["box"])
    outputs["teacher_box"] = tf.reshape(sides, outputs["box"].shape)
    outputs["teacher_classification"] = 2 * outputs["classification"]
    parts = parts_of(model, outputs)

    p = np.exp(sides[0, :, 0] / 10) / np.exp(sides[0, :, 0] / 10).sum(-1, keepdims=True)
    shape = tf.constant([CANVAS, CANVAS])
    boxes, classes = tf.constant(BOXES), tf.constant(CLASSES, tf.int32)
    grid = model.grid.on(tf.constant(CANVAS), shape)
    assigned = assign(model, outputs, boxes, classes, grid)
    weights = model.score.box_weights(assigned.positives).numpy()
    places = assigned.assignment.place.numpy()
    one = 100 * np.max(np.sum(p * np.log(p * 17), axis=-1))  # of a place that is not as its teacher's
    losses = one * (sides[:, :, 0, 3] > 0)
    expected = np.sum(weights * np.take_along_axis(losses, places, 1)) / weights.sum()
    np.testing.assert_allclose(parts["localization_distillation_loss"], expected, rtol=1e-4)
    # All places, of any object or none, of a DIoU that is in the range.
    thresholds = model.assigner.positive_thresholds(boxes, grid)
    low, high = 0.25 * thresholds[:, :, tf.newaxis], thresholds[:, :, tf.newaxis]
    diou = gfl_tf.ops.boxes.diou(grid.places.anchors, boxes[:, :, tf.newaxis])
    region = np.any((diou >= low) & (diou <= high) & (classes >= 0)[..., tf.newaxis], axis=1)
    assert 20 < region.sum() < 2 * NUM_POINTS
    np.testing.assert_allclose(parts["region_distillation_loss"], 0.5 * losses[region].mean(), rtol=1e-4)
    logits = np.take_along_axis(outputs["classification"].numpy(), places[..., np.newaxis], 1)[weights > 0]
    p, q = (tf.nn.softmax(logits / t).numpy() for t in (1, 2))
    expected = 2.0 * 4 * np.mean(np.sum(p * np.log(p / q), axis=-1))
    np.testing.assert_allclose(parts["class_distillation_loss"], expected, rtol=1e-4)


def detector(boxes=None, grid=None, assigner=None, num_classes=3):
    """What `Distillation.check` reads of one."""
    parts = boxes or GeneralDistribution(), grid or GridSpec(), assigner or ATSSAssigner()
    return types.SimpleNamespace(num_classes=num_classes, **dict(zip(("boxes", "grid", "assigner"), parts)))


@pytest.mark.parametrize(
    "of_student, of_teacher, options, message",
    [
        ({}, {"num_classes": 2}, {}, "num_classes is 2 of the teacher and 3 of the student"),
        (
            {"boxes": GeneralDistribution(num_bins=8)},
            {},
            {},
            "boxes.num_bins is 16 of the teacher and 8 of the student",
        ),
        ({}, {"boxes": GeneralDistribution(bin_width=0.5)}, {}, "boxes.bin_width is 0.5 of the teacher and 1.0 of the"),
        ({"grid": GridSpec(offset=0.5)}, {}, {}, "grid.offset is 0.0 of the teacher and 0.5 of the student"),
        ({}, {"grid": GridSpec(levels=(3, 4))}, {}, r"grid.levels is \(3, 4\) of the teacher and \(3, 4, 5, 6, 7\)"),
        ({"grid": GridSpec(anchor_ratios=(1, 2))}, {}, {}, "the teacher has 1 anchors a point and the student 2"),
        ({}, {"boxes": GaussianDistribution()}, {}, "the teacher has GaussianDistribution, which is no"),
        ({"boxes": DiracDistances()}, {}, {}, "the student has DiracDistances, which is no"),
        ({"assigner": FCOSAssigner()}, {}, {}, "vlr_weight is 0.25, but FCOSAssigner has no threshold"),
        ({"num_classes": 1}, {"num_classes": 1}, {"class_weight": 1.0}, "a softmax over one class is 1"),
    ],
)
def test_what_does_not_fit_is_refused(of_student, of_teacher, options, message):
    distillation = gfl_tf.Distillation(detector(**of_teacher), **options)
    with pytest.raises(ValueError, match=message) as error:
        distillation.check(detector(**of_student))
    assert "\n" not in str(error.value)


def test_wrong_values_are_refused(build, teacher):
    with pytest.raises(ValueError, match="temperature is 0; it must be a number above 0"):
        gfl_tf.Distillation(teacher, temperature=0)
    with pytest.raises(ValueError, match="weight, vlr_weight and class_weight are all 0"):
        gfl_tf.Distillation(teacher, weight=0, vlr_weight=0)
    student = build(gfl_tf.GFL, num_bins=8)
    with pytest.raises(TypeError, match=r"distillation is a gfl_tf.Distillation\(teacher\), not Detector"):
        student.compile(distillation=teacher)
    with pytest.raises(ValueError, match="the teacher has Dense, which is no distribution over bins"):
        student.compile(distillation=gfl_tf.Distillation(keras.layers.Dense(3)))
    with pytest.raises(ValueError, match="boxes.num_bins is 16 of the teacher and 8 of the student"):
        student.compile(distillation=gfl_tf.Distillation(teacher))
    assert student.distillation is None
