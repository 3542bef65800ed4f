"""What holds for every detector and every row of the papers' tables, whatever its parts."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import gfl_tf
from gfl_tf import losses
from gfl_tf.ablation import tables
from gfl_tf.assigners.fcos import FCOSAssigner
from gfl_tf.build import RECIPES, build_detector
from gfl_tf.checkpoints.weight_file import named_variables
from gfl_tf.config_files import load_config
from gfl_tf.heads.tower_head import TowerHead
from gfl_tf.serving import export
from gfl_tf.training.checkpoint import Checkpoints
from tests.detectors.scenes import BOXES, CANVAS, CLASSES, NUM_POINTS, bright_boxes, parts_of, random_outputs
from tests.tiny import build_tiny, with_defaults

YOLO = dict(
    name="yolo_v8",
    arguments=dict(stackwise_channels=(8, 8, 16, 32), stackwise_depth=(1, 1, 1, 1), include_rescaling=True),
)


# Beside the six detectors: each kind of part that they do not have.
ROWS = (
    "gfl_1a/fcos/no_quality", "gfl_1a/atss/iou_branch", "gfl_1a/atss/iou_guided", "gfl_1a/fcos/centerness_guided",
    "gfl_2a/atss/gaussian", "gfl_2a/fcos/general", "gflv2_5/retinanet_gflv2", "vfnet_3/focal", "vfnet_5/atss_vfl",
)  # fmt: skip


def build_row(row):
    """The detector of a row, as small as it gets."""
    config = load_config(f"papers:{row}")
    model = config.model
    model.num_classes, model.backbone, model.mean, model.std = 3, YOLO, (), ()
    model.neck.channels = 16
    model.head.update(channels=16, num_convs=1, groups=4)
    return build_detector(config)


DEPTHWISE = dict(neck_options=dict(depthwise=True), head_options=dict(depthwise=True))
CASES = [
    *RECIPES,
    *(pytest.param(row, marks=pytest.mark.one_stack) for row in ROWS),
    pytest.param("depthwise", marks=pytest.mark.slow),
]


@pytest.fixture(scope="module", params=CASES)
def case(request):
    """A function that builds the detector of a case."""

    def make(**options):
        keras.utils.set_random_seed(0)
        if request.param in RECIPES:
            return build_tiny(RECIPES[request.param], **options)
        if request.param == "depthwise":
            return build_tiny(gfl_tf.GFLV2, **DEPTHWISE, **options)
        return build_row(request.param)

    return make


@pytest.fixture(scope="module")
def model(case):
    return case()


def arguments_of(head):
    """A head's configuration; a DGQP's says, too, whether it is built."""
    config = {**head.get_config(), "dgqp": None}
    dgqp = getattr(head, "dgqp", None)
    return config, dgqp and dgqp.get_config()


@pytest.mark.parametrize("with_boxes", [(True, False), (False, False)])
def test_images_without_boxes(model, with_boxes):
    """Padding alone, in one or all images: a finite loss whose classification gradient does not vanish."""
    classes = np.where(np.array(with_boxes)[:, np.newaxis], CLASSES, -1)
    outputs = random_outputs(model)
    with tf.GradientTape() as tape:
        tape.watch(outputs)
        parts = parts_of(model, outputs, classes=classes)
    gradients = tape.gradient(parts["loss"], outputs)
    assert tuple(parts) == model.metric_names
    counted = [name for name in parts if name.endswith("_loss")]
    np.testing.assert_allclose(parts["loss"], sum(parts[name] for name in counted), rtol=1e-5)
    assert all(np.isfinite(value).all() for value in (*parts.values(), *gradients.values()))
    for image, has_boxes in enumerate(with_boxes):
        assert np.mean(np.abs(gradients["classification"][image]) > 0) > 0.9
        for name in model.box_weights:
            assert np.any(gradients[name][image] != 0) == has_boxes, name
    assert (parts["num_positives"] > 0) == any(with_boxes)
    if not any(with_boxes):
        assert parts["mean_iou"] == 0
        assert all(parts[name] == 0 for name in counted if name != "classification_loss")


def test_padding_slots_do_not_matter(model):
    """More slots, in another place, of any coordinates, or none at all where there are no boxes: the same losses."""
    outputs = random_outputs(model)
    boxes, classes = np.full((2, 9, 4), 13.0, np.float32), np.full((2, 9), -1.0)
    boxes[:, 3:5], classes[:, 3:5] = BOXES, CLASSES
    boxes[:, 0] = [0, 0, 90, 60]
    expected = parts_of(model, outputs)
    for name, value in parts_of(model, outputs, boxes=boxes, classes=classes).items():
        np.testing.assert_allclose(value, expected[name], rtol=1e-5, err_msg=name)
    without = parts_of(model, outputs, boxes=np.zeros((2, 0, 4), np.float32), classes=np.zeros((2, 0)))
    padded = parts_of(model, outputs, classes=np.full((2, 2), -1))
    np.testing.assert_allclose(without["loss"], padded["loss"], rtol=1e-6)


def test_image_weights(model):
    """Weights of 1 change nothing, of (2, 0) leave twice the first image's share."""
    outputs = random_outputs(model)
    parts = {
        weights: parts_of(model, outputs, image_weights=tf.constant(weights))
        for weights in ((1.0, 1.0), (2.0, 0.0), (0.0, 1.0))
    }
    plain = parts_of(model, outputs)
    for name in (name for name in plain if name.endswith("_loss")):
        np.testing.assert_allclose(parts[1.0, 1.0][name], plain[name], rtol=1e-6)
        np.testing.assert_allclose(parts[2.0, 0.0][name] / 2 + parts[0.0, 1.0][name], plain[name], rtol=1e-4, atol=1e-6)


def test_points_outside_an_image(model):
    """The second image is 40 pixels wide, rounded up to 64: right of that nothing is learnt, or only the absence."""
    inside = model.grid.on(CANVAS, [CANVAS, (64, 40)]).inside.numpy()
    outputs = random_outputs(model)
    boxes = np.float32([BOXES[0], [[2, 2, 28, 26], [-1] * 4]])
    with tf.GradientTape() as tape:
        tape.watch(outputs)
        loss = parts_of(model, outputs, boxes=boxes, image_shape=[CANVAS, (64, 40)])["loss"]
    gradients = tape.gradient(loss, outputs)
    takes_part = np.any(gradients["classification"].numpy() != 0, axis=-1)
    ignores = not isinstance(model.assigner, FCOSAssigner) and getattr(model.assigner, "ignore_outside", True)
    assert takes_part[~inside].any() != ignores
    for name in model.box_weights:
        assert not np.any(gradients[name].numpy()[~inside])


def test_one_step_save_and_load(case, tmp_path):
    """A step changes every part; the whole model in a .keras file comes back: parts, numbers, and trains on."""
    model = case()
    model.compile(optimizer=keras.optimizers.SGD(0.01, momentum=0.9), run_eagerly=True)
    before = {name: variable.numpy() for name, variable in named_variables(model).items()}
    images, labels = bright_boxes()
    history = model.fit(images, labels, batch_size=2, epochs=1, verbose=0).history
    assert set(history) == set(model.metric_names) and np.isfinite(list(history.values())).all()
    moved = {
        name.split("/")[0] for name, variable in named_variables(model).items() if np.any(variable != before[name])
    }
    assert moved == {"backbone", "neck", "head"}
    model.prediction_decoder = gfl_tf.PredictionDecoder(score_threshold=0.001, max_detections=7)
    model.save(tmp_path / "model.keras")
    restored = keras.models.load_model(tmp_path / "model.keras")
    assert type(restored) is gfl_tf.Detector
    for part in ("grid", "assigner", "boxes", "score", "prediction_decoder", "box_weights", "count_empty_images"):
        assert getattr(restored, part) == getattr(model, part), part
    assert restored.classification_loss.get_config() == model.classification_loss.get_config()
    assert arguments_of(restored.head) == arguments_of(model.head)
    expected, found = (each.decode_predictions(each(images), images) for each in (model, restored))
    assert (expected["num_detections"].numpy() > 0).all()
    for name, value in expected.items():
        np.testing.assert_allclose(found[name], value, rtol=1e-4, atol=1e-4, err_msg=name)
    # Compiled as it was, momentum included: the loss of the second step shows that of the first.
    steps = [each.train_on_batch(images, labels) and each.train_on_batch(images, labels) for each in (model, restored)]
    np.testing.assert_allclose(*steps, rtol=1e-4)


@pytest.mark.parametrize(
    "case",
    [case if case in ("gflv2", "vfnet") else pytest.param(case, marks=pytest.mark.slow) for case in (*RECIPES, *ROWS)],
    indirect=True,
)
def test_resume(case, tmp_path):
    """Weights and momentum from a run's checkpoint: the third step is that of a training that was not stopped."""
    images, labels = bright_boxes()
    results = []
    for resumed in (False, True):
        model = case()
        model.compile(optimizer=keras.optimizers.SGD(0.001, momentum=0.9), run_eagerly=True)
        model.optimizer.build(model.trainable_variables)
        checkpoints = Checkpoints(model, named_variables(model), tmp_path, keep=1)
        if resumed:
            checkpoints.restore_latest()
        else:
            for _ in range(2):
                model.train_on_batch(images, labels)
            checkpoints.save()
        model.reset_metrics()
        results.append(model.train_on_batch(images, labels, return_dict=True))
    for name, value in results[0].items():
        np.testing.assert_allclose(results[1][name], value, rtol=1e-5, err_msg=name)


def _kinds(value):
    """The names and switches of a config without its numbers."""
    if isinstance(value, dict):
        return tuple((name, _kinds(item)) for name, item in sorted(value.items()))
    return value if isinstance(value, (str, bool)) else None


def _other_rows():
    """Rows that differ from one before in numbers alone, such as beta, are slow tests."""
    of_papers = {f"{name}/{row}" for name, table in tables.TABLES.items() for row in table.rows}
    rows = [*ROWS, *sorted(of_papers - set(ROWS))]
    first = {_kinds(with_defaults(load_config(f"papers:{row}").model)): row for row in reversed(rows)}.values()
    return [row if row in first else pytest.param(row, marks=pytest.mark.slow) for row in rows[len(ROWS) :]]


@pytest.mark.one_stack
@pytest.mark.parametrize("row", _other_rows())
def test_every_other_row_is_built_and_trained_a_step(row):
    model = build_row(row)
    model.compile(optimizer="sgd", run_eagerly=True)
    result = model.train_on_batch(*bright_boxes(), return_dict=True)
    assert np.isfinite(list(result.values())).all() and result["num_positives"] > 0
    assert type(model).from_config(model.get_config()).metric_names == model.metric_names


@pytest.mark.slow
def test_export(case, tmp_path):
    """The SavedModel finds what the model finds."""
    model = case()
    model.prediction_decoder = gfl_tf.PredictionDecoder(score_threshold=0.001, max_detections=20)
    images = np.random.default_rng(0).integers(0, 256, (1, *CANVAS, 3)).astype(np.uint8)
    path = export.export(model, (96, 64), tmp_path, "detector")
    served = tf.saved_model.load(str(path)).signatures["image_tensor"](image_tensor=tf.constant(images))
    expected = model.detect(tf.constant(images))
    assert expected["num_detections"][0] > 0
    count = int(served["num_detections"][0])
    assert count == expected["num_detections"][0]
    np.testing.assert_allclose(
        served["detection_boxes"][0, :count].numpy()[:, [1, 0, 3, 2]], expected["boxes"][0, :count], atol=0.01
    )


@pytest.mark.slow
def test_xla_compiles_the_training_step_and_predicts(case):
    model = case()
    images, labels = bright_boxes()
    weights = model.get_weights()
    results = []
    for jit_compile in (False, True):
        model.set_weights(weights)
        model.compile(optimizer="sgd", jit_compile=jit_compile)
        results.append(model.fit(images, labels, batch_size=2, verbose=0).history)
        assert model.predict(images, verbose=0)["boxes"].shape[0] == 2
    for name in model.metric_names:
        np.testing.assert_allclose(results[1][name], results[0][name], rtol=1e-4, err_msg=name)


def test_fit_evaluate_predict(build):
    """Twenty steps on two images bring the loss down; all its parts show as metrics. The one test of compiled training.

    Not the classification loss: its targets, the IoUs, rise.
    """
    keras.utils.set_random_seed(0)
    model = build(gfl_tf.GFLV2)
    model.compile(optimizer=keras.optimizers.Adam(0.01))
    batches = tf.data.Dataset.from_tensors(bright_boxes()).repeat()
    history = model.fit(batches, epochs=4, steps_per_epoch=5, validation_data=batches, validation_steps=1, verbose=0)
    assert set(history.history) == {*model.metric_names, *(f"val_{name}" for name in model.metric_names)}
    first, last = ({name: values[i] for name, values in history.history.items()} for i in (0, -1))
    for name in ("loss", "box_loss", "distribution_loss"):
        assert np.isfinite(last[name]) and last[name] < first[name], name
    assert last["mean_iou"] > first["mean_iou"]
    assert first["num_positives"] == last["num_positives"] > 2

    results = model.evaluate(batches, steps=1, verbose=0, return_dict=True)
    np.testing.assert_allclose(results["loss"], last["val_loss"], rtol=1e-4)

    detections = model.predict(batches, steps=2, verbose=0)
    shapes = {name: value.shape for name, value in detections.items()}
    assert shapes == {
        "boxes": (4, 100, 4),
        "classes": (4, 100),
        "confidence": (4, 100),
        "num_detections": (4,),
        "edge_stddev": (4, 100, 4),
    }
    on_batch = model.predict_on_batch(bright_boxes()[0])
    for name, value in on_batch.items():
        np.testing.assert_allclose(value, detections[name][:2], rtol=1e-4, atol=1e-4, err_msg=name)


@pytest.fixture
def policy():
    yield keras.mixed_precision.set_global_policy
    keras.mixed_precision.set_global_policy("float32")


@pytest.mark.parametrize("name", ["mixed_bfloat16", pytest.param("mixed_float16", marks=pytest.mark.slow)])
def test_mixed_precision(build, policy, name):
    """Six steps in half precision move the float32 weights where six steps in float32 do, to a few percent."""

    def movement(name):
        policy(name)
        keras.utils.set_random_seed(0)
        model = build(gfl_tf.GFLV2)
        model.compile(optimizer=keras.optimizers.SGD(0.001), run_eagerly=True)
        images, labels = bright_boxes()
        outputs = model(images)
        assert {output.dtype for output in outputs.values()} == {tf.float32}
        assert model.head.box_tower[0].conv.compute_dtype == name.removeprefix("mixed_")
        before = [variable.numpy() for variable in model.trainable_variables]
        batches = tf.data.Dataset.from_tensors((images, labels)).repeat()
        history = model.fit(batches, steps_per_epoch=1, epochs=6, verbose=0).history
        assert np.isfinite([history[metric] for metric in model.metric_names]).all()
        detections = model.predict(images, verbose=0)
        assert all(np.isfinite(value).all() for value in detections.values())
        after = [variable.numpy() for variable in model.trainable_variables]
        return np.concatenate([(b - a).ravel() for a, b in zip(before, after)])

    half, full = movement(name), movement("float32")
    # Over six seeds: cosines from 0.991, lengths within 0.8 %. A skipped step would make it a sixth shorter.
    np.testing.assert_allclose(np.linalg.norm(half), np.linalg.norm(full), rtol=0.03)
    assert half @ full > 0.98 * np.linalg.norm(half) * np.linalg.norm(full)


def test_one_class(build):
    """C = 1: class 0 is an object, not background."""
    model = build(gfl_tf.GFLV2, num_classes=1)
    model.compile(optimizer="sgd", run_eagerly=True)
    images, labels = bright_boxes()
    history = model.fit(images, {"boxes": BOXES, "classes": np.minimum(CLASSES, 0)}, batch_size=2, verbose=0).history
    assert history["num_positives"][0] > 0 and np.isfinite(history["loss"][0])
    assert model(images)["classification"].shape[-1] == 1


@pytest.mark.parametrize("levels, scales", [((2, 3, 4, 5), (8.0,)), ((3, 4, 5), (8.0,)), ((2, 3, 4, 5, 6), (4.0, 8.0))])
def test_other_levels_and_anchors(build, levels, scales):
    """P2 and any number of anchors a point are values of the grid."""
    recipe = gfl_tf.ATSS if len(scales) == 1 else gfl_tf.RetinaNet
    model = build(recipe, levels=levels, anchor_scales=scales, anchor_ratios=(1.0,))
    places = sum(-(-64 // 2**level) * -(-96 // 2**level) for level in levels) * len(scales)
    images, labels = bright_boxes()
    assert model(images)["classification"].shape == (2, places, 3)
    model.compile(optimizer="sgd", run_eagerly=True)
    result = model.train_on_batch(images, labels, return_dict=True)
    assert np.isfinite(result["loss"]) and result["num_positives"] > 0
    assert model.predict(images, verbose=0)["boxes"].shape == (2, 100, 4)


def test_regularization_is_minimized_and_not_part_of_the_metrics(build):
    head = TowerHead(3, box_outputs=68, channels=16, num_convs=1, groups=4)
    head.box.kernel_regularizer = keras.regularizers.L2(100.0)
    model = build(gfl_tf.GFL, head=head)
    images, labels = bright_boxes()
    loss = model.compute_loss(images, labels, model(images))
    regularization = 100.0 * tf.reduce_sum(tf.square(model.head.box.kernel))
    assert regularization > 0.1 * loss
    np.testing.assert_allclose(model.metrics[0].result(), loss - regularization, rtol=1e-5)


def test_the_box_loss_is_chosen(build):
    """GIoU, DIoU and CIoU of the same outputs differ; all else stays."""
    parts = {}
    for loss in (losses.GIoULoss(), losses.DIoULoss(), losses.CIoULoss()):
        model = build(gfl_tf.ATSS, box_loss=loss)
        parts[loss.name] = parts_of(model, random_outputs(model))
    assert len({float(part["box_loss"]) for part in parts.values()}) == 3
    assert len({float(part["classification_loss"]) for part in parts.values()}) == 1


def test_nine_anchors_have_nine_places_a_point():
    model = build_row("gfl_1b/retinanet")
    images, _ = bright_boxes()
    assert model(images)["box"].shape == (2, 9 * NUM_POINTS, 4)
