"""What users hand to a detector through Keras: used, refused with a remedy, or warned of once."""

import copy
import pickle

import keras
import numpy as np
import pytest
import tensorflow as tf

import gfl_tf
from gfl_tf.compat import keras_cv
from tests.detectors.scenes import BOXES, CANVAS, CLASSES, HEIGHT, WIDTH, bright_boxes, parts_of, random_outputs

IMAGES = np.zeros((2, *CANVAS, 3), np.float32)
FORMATS = {
    "xyxy": lambda x1, y1, x2, y2: (x1, y1, x2, y2),
    "yxyx": lambda x1, y1, x2, y2: (y1, x1, y2, x2),
    "xywh": lambda x1, y1, x2, y2: (x1, y1, x2 - x1, y2 - y1),
    "center_xywh": lambda x1, y1, x2, y2: ((x1 + x2) / 2, (y1 + y2) / 2, x2 - x1, y2 - y1),
    "rel_xyxy": lambda x1, y1, x2, y2: (x1 / WIDTH, y1 / HEIGHT, x2 / WIDTH, y2 / HEIGHT),
    "rel_yxyx": lambda x1, y1, x2, y2: (y1 / HEIGHT, x1 / WIDTH, y2 / HEIGHT, x2 / WIDTH),
}


@pytest.fixture(scope="module")
def gfl(build):
    return build(gfl_tf.GFL)


@pytest.fixture
def compiled(build):
    model = build(gfl_tf.GFL)
    model.compile(optimizer=keras.optimizers.SGD(0.001), run_eagerly=True)
    return model


# Labels and formats.


def converted(boxes, name):
    """Boxes of the format `name` from xyxy; padding stays -1."""
    result = np.stack(FORMATS[name](*np.moveaxis(boxes, -1, 0)), axis=-1)
    return np.where((boxes == -1).all(axis=-1, keepdims=True), -1, result).astype(np.float32)


@pytest.fixture
def with_format(gfl):
    def set_format(name):
        gfl.bounding_box_format = name
        return gfl

    yield set_format
    gfl.bounding_box_format = "xyxy"


@pytest.mark.parametrize("name", list(FORMATS))
def test_labels_and_predictions_in_every_format(gfl, with_format, name):
    outputs = random_outputs(gfl)
    expected_loss = gfl.compute_loss(IMAGES, {"boxes": BOXES, "classes": CLASSES}, outputs)
    expected = gfl.decode_predictions(outputs, IMAGES)
    assert (expected["num_detections"].numpy() > 5).all()
    model = with_format(name)
    labels = {"boxes": converted(BOXES, name), "classes": CLASSES}
    np.testing.assert_allclose(model.compute_loss(IMAGES, labels, outputs), expected_loss, rtol=1e-5)
    detections = model.decode_predictions(outputs, IMAGES)
    np.testing.assert_allclose(detections["boxes"], converted(expected["boxes"].numpy(), name), rtol=1e-5, atol=1e-4)
    np.testing.assert_array_equal(detections["confidence"], expected["confidence"])


def test_ragged_labels(gfl):
    """Dense labels with -1 padding and ragged ones, also with an image without boxes."""
    outputs = random_outputs(gfl)
    for rows in ([BOXES[0], BOXES[1, :1]], [BOXES[0], BOXES[1, :0]]):
        counts = [len(row) for row in rows]
        dense_classes = np.where(np.arange(2) < np.array(counts)[:, None], CLASSES, -1)
        ragged = {
            "boxes": tf.RaggedTensor.from_row_lengths(np.concatenate(rows), counts),
            "classes": tf.RaggedTensor.from_row_lengths(dense_classes[dense_classes >= 0], counts),
        }
        dense = {"boxes": BOXES, "classes": dense_classes}
        expected = gfl.compute_loss(IMAGES, dense, outputs)
        np.testing.assert_allclose(gfl.compute_loss(IMAGES, ragged, outputs), expected, rtol=1e-6)


def test_dense_ragged_and_keras_cv_batches_compiled(build):
    model = build(gfl_tf.GFL)
    model.compile()
    images, labels = bright_boxes()
    ragged = {
        "boxes": tf.RaggedTensor.from_row_lengths(np.concatenate([BOXES[0], BOXES[1, :1]]), [2, 1]),
        "classes": tf.RaggedTensor.from_row_lengths(CLASSES[CLASSES >= 0], [2, 1]),
    }
    losses = [
        model.evaluate(tf.data.Dataset.from_tensors(batch), verbose=0, return_dict=True)["loss"]
        for batch in ((images, labels), (images, ragged), {"images": images, "bounding_boxes": labels})
    ]
    np.testing.assert_allclose(losses, losses[0], rtol=1e-6)


def test_labels_say_how_large_each_image_is(gfl):
    """`image_shape` in the labels masks points: only then are the second image's right half's scores free."""
    outputs = random_outputs(gfl)
    right = tf.cast(gfl.grid.on(CANVAS).places.points_px[:, 0] >= 64, tf.float32)
    free = 5 * tf.stack([0 * right, right])[..., tf.newaxis]
    moved = {**outputs, "classification": outputs["classification"] + free}
    labels = {"boxes": BOXES, "classes": CLASSES}
    sized = {**labels, "image_shape": np.int32([[64, 96], [64, 60]])}
    assert gfl.compute_loss(IMAGES, sized, moved) == gfl.compute_loss(IMAGES, sized, outputs)
    assert gfl.compute_loss(IMAGES, labels, moved) > gfl.compute_loss(IMAGES, labels, outputs) + 1


LABELS = {"boxes": BOXES, "classes": CLASSES}


@pytest.mark.parametrize(
    "data, message",
    [
        ((IMAGES, BOXES), r"labels are a dict .*not ndarray|labels are a dict .*not .*Tensor"),
        ((IMAGES, (BOXES, CLASSES)), "labels are a dict"),
        ((IMAGES, {"boxes": BOXES}), r"labels are a dict .*not \['boxes'\]"),
        ({"image": IMAGES, "bounding_boxes": LABELS}, "this dict has bounding_boxes, image and no 'images'"),
        ((IMAGES[0], LABELS), r"\[B, H, W, 3\].*add a batch axis: images\[None\]"),
        ((IMAGES[..., :1], LABELS), "give each three channels, RGB"),
        (IMAGES, r"a training batch is \(images, labels\)"),
    ],
    ids=["array", "tuple", "no classes", "image", "no batch axis", "grey", "images alone"],
)
def test_batches_of_another_form(compiled, data, message):
    with pytest.raises(ValueError, match=message):
        compiled.train_step(data)


@pytest.mark.parametrize(
    "data, message",
    [({"image": IMAGES}, "this dict has image"), (IMAGES[0], "add a batch axis"), (IMAGES[..., :1], "three channels")],
    ids=["image", "no batch axis", "grey"],
)
def test_images_of_another_form(compiled, data, message):
    with pytest.raises(ValueError, match=message):
        compiled.predict_step(data)


@pytest.mark.parametrize("run_eagerly, wrong", [(True, 3), (False, 3), (False, 1.5), (False, -2)])
def test_what_is_no_class_fails(build, run_eagerly, wrong):
    """3 is what classes counted from 1 have."""
    model = build(gfl_tf.GFL)
    model.compile(optimizer="sgd", run_eagerly=run_eagerly)
    labels = {"boxes": BOXES, "classes": np.where(CLASSES == CLASSES.max(), wrong, CLASSES)}
    message = rf"(?s){wrong}.*is no class: with num_classes = 3 they are 0 to 2, and -1 is padding"
    with pytest.raises(tf.errors.InvalidArgumentError, match=message):
        model.fit(IMAGES, labels, batch_size=2, verbose=0)


def test_images_that_are_not_finite_fail(compiled):
    images = IMAGES.copy()
    images[1, 3, 4, 0] = np.nan
    with pytest.raises(tf.errors.InvalidArgumentError, match="not finite"):
        compiled.fit(images, LABELS, batch_size=2, verbose=0)


def test_what_can_hardly_be_meant_is_warned_of_once(compiled, caplog):
    images, labels = bright_boxes()

    def warnings(images, labels):
        caplog.clear()
        compiled.fit(images, labels, batch_size=1, epochs=2, verbose=0)
        return [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]

    assert warnings(images, labels) == []
    (warning,) = warnings(images / 255, labels)
    assert "0..255: multiply them by 255" in warning
    relative = {"boxes": converted(BOXES, "rel_xyxy"), "classes": CLASSES}
    (warning,) = warnings(images, relative)
    assert "Are they in the model's bounding_box_format, 'xyxy'?" in warning


# Sample weights, losses and metrics.


def test_sample_weights_count(compiled):
    """As an array, as a data set's third element, per image: a weight of 0 leaves an image out, 2 counts it twice."""
    images, labels = bright_boxes()
    in_training = parts_of(compiled, compiled(images, training=True), image_weights=tf.constant([1.0, 0.0]))["loss"]
    outputs = compiled(images)
    expected = {
        weights: float(parts_of(compiled, outputs, image_weights=tf.constant(weights))["loss"])
        for weights in ((1.0, 0.0), (2.0, 0.5))
    }

    def loss(*data):
        return compiled.evaluate(*data, verbose=0, return_dict=True)["loss"]

    for weights, value in expected.items():
        array = np.float32(weights)
        in_dataset = tf.data.Dataset.from_tensor_slices((images, labels, array)).batch(2)
        np.testing.assert_allclose(loss(in_dataset), value, rtol=1e-5)
        found = compiled.evaluate(images, labels, sample_weight=array, batch_size=2, verbose=0, return_dict=True)
        np.testing.assert_allclose(found["loss"], value, rtol=1e-5)
    assert expected[1.0, 0.0] != expected[2.0, 0.5]
    history = compiled.fit(images, labels, sample_weight=np.float32([1, 0]), batch_size=2, verbose=0).history
    np.testing.assert_allclose(history["loss"][0], in_training, rtol=1e-5)


@pytest.mark.parametrize(
    "arguments, message",
    [
        (dict(loss="mse"), "has its own losses; choose them when it is made"),
        (dict(loss_weights=[1.0]), "has its own losses"),
        (dict(weighted_metrics=["mae"]), "give metrics="),
        (dict(metrics=["accuracy"]), "metrics are Keras metrics of labels and detections, not 'accuracy'"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else None,
)
def test_what_compile_refuses(compiled, arguments, message):
    with pytest.raises(ValueError, match=message):
        compiled.compile(optimizer="sgd", **arguments)


class Counter(keras.metrics.Metric):
    """Boxes that are labelled, and those that are found."""

    def __init__(self):
        super().__init__(name="found_per_box")
        self.boxes, self.found = (self.add_weight(name=name, initializer="zeros") for name in ("boxes", "found"))

    def update_state(self, y_true, y_pred, sample_weight=None):
        self.boxes.assign_add(tf.reduce_sum(tf.cast(y_true["classes"] >= 0, tf.float32)))
        self.found.assign_add(tf.reduce_sum(tf.cast(y_pred["num_detections"], tf.float32)))

    def result(self):
        return self.found / self.boxes


@pytest.mark.parametrize("jit_compile", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_metrics_of_detections(build, jit_compile):
    """A metric sees labels and `predict`'s detections, on validation data and in `evaluate`."""
    model = build(gfl_tf.GFL, head_options=dict(prior=0.5))
    model.compile(optimizer=keras.optimizers.SGD(0.0), metrics=[Counter()], jit_compile=jit_compile)
    images, labels = bright_boxes()
    expected = model.predict(images, verbose=0)["num_detections"].sum() / 3
    assert expected > 1
    history = model.fit(images, labels, batch_size=2, validation_data=(images, labels), verbose=0).history
    assert history["val_found_per_box"] == [pytest.approx(expected)] and "found_per_box" not in history
    result = model.evaluate(images, labels, batch_size=1, verbose=0, return_dict=True)
    assert result["found_per_box"] == pytest.approx(expected)


# Saving.


def trainable(model):
    return len(model.trainable_weights)


@pytest.mark.parametrize("how", ["file", "pickle", "config", "clone", "copy"])
def test_frozen_layers_stay_frozen(build, how, tmp_path):
    model = build(gfl_tf.GFLV2)
    free = trainable(model)
    model.backbone.trainable = False
    if how != "clone":  # Keras's clone is a network of its layers, each as its own configuration says
        model.head.class_tower[0].norm.trainable = False
    assert trainable(model) < free - 4
    if how == "file":
        model.save(tmp_path / "model.keras")
        restored = keras.models.load_model(tmp_path / "model.keras")
    elif how == "pickle":
        restored = pickle.loads(pickle.dumps(model))
    elif how == "config":
        restored = gfl_tf.Detector.from_config(model.get_config())
    elif how == "clone":
        restored = keras.models.clone_model(model)
    else:
        restored = copy.deepcopy(model)
    assert trainable(restored) == trainable(model)
    if how == "clone":
        return
    assert not restored.backbone.trainable and restored.neck.trainable
    assert not restored.head.class_tower[0].norm.trainable and restored.head.class_tower[0].conv.trainable


@pytest.mark.parametrize("name", ["model.h5", "model.hdf5"])
def test_the_old_hdf5_format_is_refused(gfl, tmp_path, name):
    with pytest.raises(ValueError, match="ends in .keras"):
        gfl.save(tmp_path / name)
    with pytest.raises(ValueError, match="ends in .weights.h5"):
        gfl.save_weights(tmp_path / name)


def test_weights_round_trip(build, tmp_path):
    """Into a second model of the same form, built apart from the first and with other weights."""
    for options in ({}, dict(composed_channels=8)):
        first, second = (build(gfl_tf.GFLV2, **options) for _ in range(2))
        first.save_weights(tmp_path / "model.weights.h5")
        second.load_weights(tmp_path / "model.weights.h5")
        for one, other in zip(first.get_weights(), second.get_weights()):
            np.testing.assert_array_equal(one, other)


# Options.


@pytest.mark.parametrize("name", ["quality_wait", "bins"])
def test_an_unknown_option_is_named_with_those_that_there_are(build, name):
    with pytest.raises(TypeError, match=f"no argument '{name}'; there are .*bin_width.*box_weight.*quality_targets"):
        build(gfl_tf.GFL, **{name: 1.0})


def test_an_option_reaches_its_part(build):
    model = build(gfl_tf.GFL, bin_width=0.5, num_bins=8, k=5, quality_targets=False, distribution_weight=0.0)
    assert (model.boxes.bin_width, model.boxes.num_bins, model.boxes.distribution_weight) == (0.5, 8, 0.0)
    assert model.assigner.k == 5 and not model.score.quality_targets
    assert gfl_tf.GFL.boxes.bin_width == 1.0  # the recipe itself stays


def test_a_head_that_does_not_fit_is_refused(build):
    from gfl_tf.heads.tower_head import TowerHead

    for head, message in (
        (TowerHead(4, box_outputs=68, channels=8, num_convs=0), "num_classes is 3, the head's is 4"),
        (
            TowerHead(3, box_outputs=4, channels=8, num_convs=0),
            "4 box outputs a place, but General.* needs 68",
        ),
        (TowerHead(3, box_outputs=68, quality="box", channels=8, num_convs=0), "JointScore needs no quality output"),
    ):
        with pytest.raises(ValueError, match=message):
            build(gfl_tf.GFL, head=head)
    with pytest.raises(ValueError, match="VarifocalNet's head puts out four distances in pixels"):
        build(gfl_tf.VFNet, boxes=gfl_tf.GFL.boxes)
    with pytest.raises(ValueError, match="DGQPScore reads distributions, which DiracDistances does not predict"):
        build(gfl_tf.FCOS, score=gfl_tf.GFLV2.score)
    with pytest.raises(ValueError, match="ATSS has one anchor a point; this grid has 9"):
        build(gfl_tf.RetinaNet, assigner=gfl_tf.ATSS.assigner)


# The decoder.


def test_the_decoder_is_checked_and_does_not_change(gfl):
    decoder = gfl.prediction_decoder
    with pytest.raises(AttributeError):
        decoder.score_threshold = 0.5
    for wrong in (None, keras_cv.layers.NonMaxSuppression("xyxy", from_logits=True)):
        with pytest.raises(TypeError, match="prediction_decoder is a gfl_tf.PredictionDecoder.*confidence_threshold"):
            gfl.prediction_decoder = wrong
    for name, value in (("score_threshold", 50), ("iou_threshold", -0.1), ("max_detections", 0)):
        with pytest.raises(ValueError, match=f"{name} is {value}"):
            decoder.changed(**{name: value})


def test_a_decoder_of_ones_own_stays_one():
    class Mine(gfl_tf.PredictionDecoder):
        pass

    assert type(Mine().changed(score_threshold=0.3)) is Mine
