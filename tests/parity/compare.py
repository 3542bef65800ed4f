"""Runs a detector of ours on a batch and measures how far it is from reference values (see generate.py for these)."""

import numpy as np
import tensorflow as tf

from gfl_tf.boxes.points import ACTIVATIONS, DiracDistances
from gfl_tf.scores.dgqp import DGQPScore
from tests.parity.weights import weight

LEVELS = ("P3", "P4", "P5", "P6", "P7")
# The reference's names of the parts of the loss, and ours.
LOSS_NAMES = {
    "loss_cls": "classification_loss",
    "loss_bbox": "box_loss",  # RetinaNet's: "delta_loss"
    "loss_bbox_rf": "refined_box_loss",
    "loss_dfl": "distribution_loss",
    "loss_centerness": "quality_loss",
    "total": "loss",
}
# Changes to a config's own decoder.
SETTINGS = {"det": {}, "det_stress": dict(candidates_per_level=100, iou_threshold=0.3, max_detections=300)}
RULES = {"v2x": "points", "v3x": "pairs"}


def weights_by_name(reference):
    """{entry: value} for all entries of the reference's state_dict."""
    return {
        name: weight(name, [int(size) for size in shape.split(",") if size])
        for name, shape in zip(reference["state/names"], reference["state/shapes"])
    }


class Batch:
    """Images and ground truth of a reference file.

    Args:
        images: list of uint8 [H, W, 3].
        canvas: height and width to which they are padded.
        image_shapes: [B, 2].
        truth: {case: [(boxes [n, 4], classes [n]) of each image]}.
    """

    def __init__(self, images, canvas, image_shapes, truth):
        self.images = images
        self.canvas = tuple(int(size) for size in canvas)
        self.image_shapes = tf.constant(np.array(image_shapes), tf.int32)
        self.truth = truth

    def padded_images(self, pad_value):
        padded = np.empty((len(self.images), *self.canvas, 3), np.float32)
        padded[:] = pad_value
        for canvas, image in zip(padded, self.images):
            canvas[: image.shape[0], : image.shape[1]] = image
        return tf.constant(padded)

    def labels(self, case):
        """Boxes [B, M, 4] and classes [B, M], padded with -1."""
        most = max(len(classes) for _, classes in self.truth["main"])
        boxes = np.full((len(self.images), most, 4), -1, np.float32)
        classes = np.full((len(self.images), most), -1, np.int32)
        for image, (image_boxes, image_classes) in enumerate(self.truth[case]):
            boxes[image, : len(image_boxes)], classes[image, : len(image_classes)] = image_boxes, image_classes
        return tf.constant(boxes), tf.constant(classes)


class Run:
    """One training pass of `model` on `batch`: raw outputs, losses by case, gradients of the first case's total."""

    def __init__(self, model, batch):
        self.model, self.batch = model, batch
        self.decoder = model.prediction_decoder
        images = batch.padded_images(model.pad_value)
        with tf.GradientTape() as tape:
            self.outputs = model(images, training=True)
            self.losses = {"main": self._losses("main")}
        gradients = tape.gradient(self.losses["main"]["loss"], model.trainable_variables)
        # Norms alone are kept. By the variable: names repeat.
        self.gradient_norms = {
            id(variable): float(tf.norm(gradient)) for variable, gradient in zip(model.trainable_variables, gradients)
        }
        for case in batch.truth:
            if case != "main":
                self.losses[case] = self._losses(case)

    def _losses(self, case):
        boxes, classes = self.batch.labels(case)
        canvas = tf.constant(self.batch.canvas)
        return self.model.detection_losses(self.outputs, boxes, classes, self.batch.image_shapes, canvas)

    def raw_outputs(self):
        """{the reference's kind: [B, P, C]}."""
        classification = self.outputs["classification"]
        kinds = {"cls": classification, "reg": self.outputs["box"]}
        if isinstance(self.model.boxes, DiracDistances):  # the reference's head puts out distances
            kinds["reg"] = ACTIVATIONS[self.model.boxes.activation](self.outputs["box"])
        if isinstance(self.model.score, DGQPScore):  # the reference puts out the joint score of GFLv2
            kinds["cls"] = self.model.score.scores(self.outputs)
        elif "quality" in self.outputs:
            kinds["ctr"] = self.outputs["quality"]
        if "refined_box" in self.outputs:
            kinds["reg_refine"] = self.outputs["refined_box"]
        return {kind: value.numpy() for kind, value in kinds.items()}

    def detections(self, settings, rule):
        """[(boxes, scores, classes) of each image]."""
        self.model.prediction_decoder = self.decoder.changed(**SETTINGS[settings], candidates=RULES[rule])
        candidates = self.model.candidates(self.outputs, tf.constant(self.batch.canvas), self.batch.image_shapes)
        found = self.model.prediction_decoder.suppress(candidates)
        self.model.prediction_decoder = self.decoder
        found = {name: value.numpy() for name, value in found.items()}
        counts = found["num_detections"]
        return [
            tuple(found[name][image, :count] for name in ("boxes", "confidence", "classes"))
            for image, count in enumerate(counts)
        ]


def output_differences(run, reference):
    """{"cls/P3": see `map_difference`}."""
    result = {}
    for kind, value in run.raw_outputs().items():
        first = 0
        for level, step in zip(LEVELS, reference["out_step"]):
            points = np.prod([-(-side // 2 ** int(level[1])) for side in run.batch.canvas])
            size = points * run.model.grid.anchors_per_point
            actual = value[:, first : first + size].reshape(len(value), points, -1)  # a point's anchors together
            first += size
            at_points = reference[f"out/{kind}/{level}"]
            stats = reference[f"out_stats/{kind}/{level}"]
            channel_step = -(-actual.shape[-1] // at_points.shape[-1])
            result[f"{kind}/{level}"] = map_difference(actual, actual[:, ::step, ::channel_step], at_points, stats)
        assert first == value.shape[1]
    return result


def map_difference(value, extract, expected_extract, expected_stats):
    """Largest difference of a map, relative to its range: of the extract, and of the whole map's statistics.

    `expected_stats`: mean, standard deviation, sum of magnitudes, smallest, largest.
    """
    mean, deviation, magnitudes, low, high = expected_stats
    value = value.astype(np.float64)
    stats = np.array([value.mean(), value.std(), np.abs(value).mean(), value.min(), value.max()])
    of_stats = np.abs(stats - (mean, deviation, magnitudes / value.size, low, high)).max()
    return max(np.abs(extract - expected_extract).max(), of_stats) / (high - low)


def loss_differences(run, reference):
    """{"main/loss_cls": relative difference}; a loss of 0 must be one."""
    result = {}
    for key in (key for key in reference if key.startswith("loss/")):
        _, case, name = key.split("/")
        if name in LOSS_NAMES:
            own = run.losses[case]
            own_name = "delta_loss" if name == "loss_bbox" and "delta_loss" in own else LOSS_NAMES[name]
            result[f"{case}/{name}"] = _relative(float(own[own_name]), reference[key].sum())
    return result


def gradient_differences(run, reference, variables):
    """{parameter: (relative difference of its gradient's norm, the reference's float32 noise)}.

    `variables`: {the reference's name: our variable}.
    """
    names, norms = reference["grad/main/names"], reference["grad/main/l2"]
    return {
        name: (_relative(run.gradient_norms[id(variables[name])], norm), noise)
        for name, norm, noise in zip(names, norms, reference["grad/main/noise_rel_l2"])
    }


def _relative(value, expected):
    return abs(value - expected) / abs(expected) if expected else abs(value)


def detection_faults(run, reference, settings, rule):
    """What is wrong with the detections of a set: a list of sentences, empty if they are the reference's.

    Detections that the reference itself does not find in float64, or finds there alone, may differ.
    """
    faults = []
    for image, found in enumerate(run.detections(settings, rule)):
        prefix = f"{settings}/{rule}/img{image}"
        expected = {name: reference[f"{prefix}/{name}"] for name in ("bboxes", "scores", "labels", "stable")}
        missing = unmatched_detections(*found, expected)
        allowed = int((~expected["stable"]).sum()) + int(reference.get(f"{prefix}/extra", 0))
        faults += [f"{prefix}: detection {index} is missing" for index in missing if expected["stable"][index]]
        if abs(len(found[0]) - len(expected["scores"])) > allowed:
            faults.append(f"{prefix}: {len(found[0])} detections in place of {len(expected['scores'])}")
    return faults


def unmatched_detections(boxes, scores, classes, expected):
    """Indices of the expected detections for which there is no own one: one to one, in any order."""
    free = np.ones(len(scores), bool)
    unmatched = []
    for index in range(len(expected["scores"])):
        is_match = (
            free
            & (classes == expected["labels"][index])
            & (np.abs(boxes - expected["bboxes"][index]).max(axis=-1) < 0.05)
            & (np.abs(scores - expected["scores"][index]) < 1e-4)
        )
        if is_match.any():
            free[np.argmax(is_match)] = False
        else:
            unmatched.append(index)
    return unmatched
