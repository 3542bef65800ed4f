"""One pass of a detector over annotated images, and all that the analyses take from it."""

import collections.abc
import dataclasses
import typing

import numpy as np
import tensorflow as tf

from gfl_tf import detections
from gfl_tf.boxes.distributions import GeneralDistribution
from gfl_tf.data import pipeline
from gfl_tf.data.coco import CocoDataset
from gfl_tf.detectors import training
from gfl_tf.evaluation import coco, positives
from gfl_tf.evaluation.analyses import class_and_quality, suppression
from gfl_tf.evaluation.analyses import oracles as oracle_rows
from gfl_tf.evaluation.analyses.class_and_quality import Instances
from gfl_tf.evaluation.analyses.oracles import Oracle
from gfl_tf.evaluation.positives import Positives

if typing.TYPE_CHECKING:
    from gfl_tf.detectors.detector import Detector

# What can be looked at. The positives always are.
POSITIVES, NEGATIVES, ORACLES, SUPPRESSION = "positives", "negatives", "oracles", "suppression"
EXPORTS = "exports"  # this part takes no pass, and is put in from outside
_LABELS = {
    "boxes": tf.TensorSpec([None, None, 4], tf.float32),
    "classes": tf.TensorSpec([None, None], tf.float32),
    "image_shape": tf.TensorSpec([None, 2], tf.int32),
}


@dataclasses.dataclass
class Observation:
    """What was seen of a data set; what was not to be looked at is empty.

    Attributes:
        dataset: the images.
        reach: the largest distance of the detector's distributions, in strides; None: it has none.
        positives: `Positives` as arrays.
        negatives: some of the places that learn no object, of a detector with a quality output.
        oracles: the score of each `Oracle`.
        best_iou, kept_iou: [n], of each object, see `suppression.measure`.
        examples: of the objects that lost most.
        exports: {"name", "ms", "AP", ...} of exported models on the same images.
    """

    dataset: CocoDataset
    reach: float | None = None
    positives: Positives | None = None
    negatives: Instances | None = None
    oracles: list[tuple[Oracle, coco.CocoResult]] = dataclasses.field(default_factory=list)
    best_iou: np.ndarray = dataclasses.field(default_factory=lambda: np.zeros(0))
    kept_iou: np.ndarray = dataclasses.field(default_factory=lambda: np.zeros(0))
    examples: list[dict[str, typing.Any]] = dataclasses.field(default_factory=list)
    exports: list[dict[str, typing.Any]] = dataclasses.field(default_factory=list)


def observe(
    model: "Detector",
    dataset: CocoDataset,
    batch_size: int,
    scale: tuple[int, int],
    parts: collections.abc.Collection[str] = (POSITIVES, NEGATIVES, ORACLES, SUPPRESSION),
) -> Observation:
    """Runs a detector over a data set.

    Args:
        model: a detector.
        dataset: `CocoDataset`.
        batch_size, scale: as in `pipeline.evaluation_batches`.
        parts: what to look at; `NEGATIVES` takes a detector with a quality output.

    Raises:
        ValueError: the data set has other classes, no object, or none that the detector's assigner makes positive.
    """
    coco.check_classes(model, dataset)
    if not dataset.num_boxes:
        raise ValueError(f"{dataset.report.source} has no object, and so nothing to analyze")
    batches = pipeline.evaluation_batches(
        dataset, batch_size, scale=scale, pad_value=model.pad_value, bounding_box_format=model.bounding_box_format
    )
    rows = oracle_rows.of_model(model) if ORACLES in parts else ()
    look, detect = _look_function(model, parts), oracle_rows.detect_function(model)
    collector = _Collector(dataset, rows)
    for images, labels in batches:
        seen = look(images, {name: labels[name] for name in _LABELS})
        outputs, assigned = seen.pop("outputs"), seen.pop("assigned")
        seen[ORACLES] = [detect(oracle_rows.substituted(outputs, assigned, row), tf.shape(images)[1:3]) for row in rows]
        seen = tf.nest.map_structure(lambda value: None if value is None else value.numpy(), seen)
        collector.add(images, {name: value.numpy() for name, value in labels.items()}, seen)
    has_bins = isinstance(model.boxes, GeneralDistribution)
    return collector.result(model.boxes.num_bins * model.boxes.bin_width if has_bins else None)


def _look_function(model, parts):
    """A function of images and labels to what there is to see, as one graph for batches of all sizes."""

    @tf.function(input_signature=[tf.TensorSpec([None, None, None, 3], tf.float32), _LABELS], autograph=False)
    def look(images, labels):
        outputs, canvas_shape = model(images, training=False), tf.shape(images)[1:3]
        assigned = positives.assign(model, outputs, images, labels)
        seen = {"outputs": outputs, "assigned": assigned, POSITIVES: positives.of_outputs(model, outputs, assigned)}
        if NEGATIVES in parts:
            seen[NEGATIVES] = class_and_quality.at_negatives(outputs, assigned)
        if SUPPRESSION in parts:
            candidates = model.candidates(outputs, canvas_shape)
            boxes, classes, _ = training.dense_labels(model, images, labels)
            kept = model.prediction_decoder.suppress(candidates)
            seen[SUPPRESSION] = {
                "objects": {"boxes": boxes, "classes": classes},
                "candidates": {name: candidates[name] for name in ("boxes", "scores")},
                "kept": {name: kept[name] for name in ("boxes", "classes", "confidence")},
            }
        return seen

    return look


class _Collector:
    """What was seen in all batches."""

    def __init__(self, dataset, rows):
        self._dataset = dataset
        self._rng = np.random.default_rng(0)
        self._positives, self._negatives, self._ious, self._examples = [], [], [], []
        self._evaluators = [(row, coco.CocoEvaluator(dataset)) for row in rows]

    def add(self, images, labels, seen):
        indices = labels["image_index"]
        found = seen[POSITIVES]
        self._positives.append(found._replace(image=indices[found.image]))
        for (_, evaluator), of_batch in zip(self._evaluators, seen[ORACLES]):
            of_batch = detections.to_original(of_batch, labels["original_shape"], labels["image_shape"])
            for row, index in enumerate(indices):
                evaluator.add(self._dataset.images[index].id, detections.of_image(of_batch, row))
        for row, index in enumerate(indices):
            if NEGATIVES in seen:
                of_image = {name: value[row] for name, value in seen[NEGATIVES].items()}
                self._negatives.append(class_and_quality.sample(**of_image, rng=self._rng))
            if SUPPRESSION in seen:
                height, width = labels["image_shape"][row]
                self._add_objects(self._dataset.images[index], seen[SUPPRESSION], row, images[row, :height, :width])

    def _add_objects(self, record, seen, row, image):
        objects, kept = (detections.of_image(seen[name], row) for name in ("objects", "kept"))
        before = suppression.of_candidates(**{name: value[row] for name, value in seen["candidates"].items()})
        after = suppression.Boxes(kept["boxes"], kept["classes"].astype(int), kept["confidence"])
        found = suppression.of_image(objects["boxes"], objects["classes"], before, after)
        for box, label, of_object in zip(objects["boxes"], objects["classes"], found):
            self._ious.append((of_object.best_iou, of_object.kept_iou))
            least = self._examples[-1][0] if len(self._examples) == suppression.EXAMPLES else 0.0
            if of_object.kept_iou and of_object.lost > least:
                pixels = image.numpy().round().astype(np.uint8)
                made = suppression.example(record.id, self._dataset.class_names[label], box, of_object, pixels)
                self._examples.append((of_object.lost, made))
                self._examples = sorted(self._examples, key=lambda item: -item[0])[: suppression.EXAMPLES]

    def result(self, reach):
        found = positives.joined(self._positives)
        if not len(found.iou):
            raise ValueError(
                f"none of the {self._dataset.num_boxes} objects of {self._dataset.report.source} has a positive: they "
                "are too small for the detector's levels"
            )
        ious = np.reshape(self._ious, [-1, 2])
        negatives = self._negatives and Instances(*map(np.concatenate, zip(*self._negatives)))
        return Observation(
            dataset=self._dataset,
            reach=reach,
            positives=found,
            negatives=negatives or None,
            oracles=[(row, evaluator.result()) for row, evaluator in self._evaluators],
            best_iou=ious[:, 0],
            kept_iou=ious[:, 1],
            examples=[made for _, made in self._examples],
        )
