"""The COCO numbers of a detector, by pycocotools."""

import collections.abc
import contextlib
import dataclasses
import io
import os
import typing

import numpy as np
import tensorflow as tf
from absl import logging
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from gfl_tf import detections
from gfl_tf.data import coco as coco_data
from gfl_tf.data import pipeline

if typing.TYPE_CHECKING:
    from gfl_tf.detectors.detector import Detector


NOTHING = {"boxes": np.zeros([0, 4]), "classes": np.zeros([0], int), "confidence": np.zeros([0])}
# In the order of COCOeval.stats.
METRICS = ("AP", "AP50", "AP75", "APs", "APm", "APl", "AR1", "AR10", "AR100", "ARs", "ARm", "ARl")


@dataclasses.dataclass(frozen=True)
class CocoResult:
    """The numbers of one evaluation.

    Attributes:
        metrics: {name: value} of the 12 COCO numbers, in 0..1: AP (IoU 0.50:0.95), AP50, AP75, AP
            of small, medium and large objects, AR with 1, 10 and 100 detections per image, AR of
            small, medium and large objects. -1: there is no such object.
        per_class: {class name: AP}; -1 for a class without objects.
        detections: list of dicts in COCO's result format (image_id, category_id, bbox as x, y,
            width, height in pixels of the image file, score), as they were scored. The ids are those
            of the annotation file; detections of a class that is no category there are left out.
        num_images: how many images were scored.
    """

    metrics: dict
    per_class: dict
    detections: list
    num_images: int

    def to_dict(self) -> dict[str, typing.Any]:
        """Everything but the detections, for JSON."""
        return {
            "metrics": self.metrics,
            "per_class_AP": self.per_class,
            "num_images": self.num_images,
            "num_detections": len(self.detections),
        }

    def table(self) -> str:
        """The numbers in percent as text: two Markdown tables."""
        parts = [METRICS[:6], METRICS[6:]]
        lines = []
        for names in parts:
            lines += _markdown_rows(names, [percent(self.metrics[name]) for name in names])
            lines.append("")
        width = max(len("class"), *map(len, self.per_class))
        lines += [f"| {'class':{width}} |   AP |", f"| {'-' * width} | ---: |"]
        lines += [f"| {name:{width}} | {percent(value):>4} |" for name, value in self.per_class.items()]
        return "\n".join(lines)


def _markdown_rows(names, values):
    widths = [max(len(name), len(value), 4) for name, value in zip(names, values)]
    rows = (names, ["-" * (width - 1) + ":" for width in widths], values)
    return ["| " + " | ".join(f"{cell:>{width}}" for cell, width in zip(row, widths)) + " |" for row in rows]


def percent(value: float) -> str:
    """A number of `CocoResult` in percent as text; "-" where there is no such object."""
    return "-" if value < 0 else f"{100 * value:.1f}"


class CocoEvaluator:
    """Collects detections and scores them against a data set.

    The ground truth is that of the `CocoDataset`: boxes clipped to their image, degenerate ones
    left out, crowds kept as crowds (a detection inside one is neither right nor wrong).

    Args:
        dataset: `CocoDataset`, or the path of an annotation file.
        class_names: with a path: as in `load_coco`.
    """

    def __init__(
        self,
        dataset: coco_data.CocoDataset | str | os.PathLike,
        class_names: collections.abc.Sequence[str] | None = None,
    ):
        if not isinstance(dataset, coco_data.CocoDataset):
            dataset = coco_data.load_coco(dataset, images_dir=None, class_names=class_names)
        self.dataset = dataset
        self._index_of = {record.id: index for index, record in enumerate(dataset.images)}
        self._found = {}  # {index of the image: record of its detections}

    def add(self, image_id: int | float | str, found: dict[str, np.ndarray]) -> None:
        """Adds the detections of one image; also an image without any has to be added.

        Args:
            image_id: the image's id in the annotation file.
            found: the record (see `gfl_tf.detections`) of its detections, in pixels of the image file: "boxes" [n, 4],
                clipped to it, and left out where nothing remains; "classes" [n], -1: not a detection (padding);
                "confidence" [n].

        Raises:
            ValueError: unknown or repeated image, unknown class, or numbers that are not finite.
        """
        if image_id not in self._index_of:
            raise ValueError(f"Image id {image_id!r} is not in the data set.")
        image_index = self._index_of[image_id]
        if image_index in self._found:
            raise ValueError(f"The detections of image {image_id} were added before.")
        boxes = np.asarray(found["boxes"], np.float64).reshape(-1, 4)
        classes = np.asarray(found["classes"]).reshape(-1).astype(np.int64)
        scores = np.asarray(found["confidence"], np.float64).reshape(-1)
        if not len(boxes) == len(classes) == len(scores):
            raise ValueError(
                f"Image {image_id} has {len(boxes)} boxes, {len(classes)} classes and {len(scores)} scores."
            )
        real = classes != detections.PADDING
        boxes, classes, scores = boxes[real], classes[real], scores[real]
        num_classes = self.dataset.num_classes
        if len(classes) and not 0 <= classes.min() <= classes.max() < num_classes:
            raise ValueError(f"A detection of image {image_id} has a class outside 0..{num_classes - 1}.")
        if not (np.isfinite(boxes).all() and np.isfinite(scores).all()):
            raise ValueError(
                f"A detection of image {image_id} is not finite: the model's weights or outputs have diverged."
            )
        record = self.dataset.images[image_index]
        boxes = np.clip(boxes, 0, [record.width, record.height] * 2)
        self._found[image_index] = {"boxes": boxes, "classes": classes, "confidence": scores}

    @property
    def num_images(self) -> int:
        """How many images were added."""
        return len(self._found)

    @property
    def found(self) -> dict[int, dict[str, np.ndarray]]:
        """{index of the image in the data set: its detections} of what was added, as `merge` takes it."""
        return self._found

    def merge(self, found: dict[int, dict[str, np.ndarray]]) -> None:
        """Adds the `found` of another evaluator of the same data set.

        Raises:
            ValueError: both have the same image.
        """
        twice = self._found.keys() & found.keys()
        if twice:
            image = self.dataset.images[min(twice)].id
            raise ValueError(f"The detections of image {image} were added before.")
        self._found.update(found)

    def result(self, only_added: bool = False) -> CocoResult:
        """Scores what was added.

        Args:
            only_added: over the added images alone; by default over the whole data set, where an
                image that was not added counts as one without detections.

        Returns:
            `CocoResult`.
        """
        indices = [index for index in range(len(self.dataset.images)) if not only_added or index in self._found]
        if not indices:
            raise ValueError("There is no image to score: add detections first.")
        results = []
        for index in indices:
            image_id = self.dataset.images[index].id
            results += detections.to_coco(self._found.get(index, NOTHING), image_id, self.dataset.category_ids)
        # pycocotools takes integers alone for ids: it gets the indices of images and classes, in copies of its own.
        label_of = {category_id: label for label, category_id in enumerate(self.dataset.category_ids)}
        indexed = [
            {**item, "image_id": self._index_of[item["image_id"]], "category_id": label_of[item["category_id"]]}
            for item in results
        ]
        # It prints its progress.
        with contextlib.redirect_stdout(io.StringIO()):
            truth = _index(self._ground_truth(indices))
            # Its loadRes cannot take an empty list.
            found = truth.loadRes(indexed) if indexed else _index({"images": [], "annotations": [], "categories": []})
            scorer = COCOeval(truth, found, "bbox")
            scorer.params.imgIds = indices
            scorer.params.catIds = list(range(self.dataset.num_classes))
            scorer.evaluate()
            scorer.accumulate()
            scorer.summarize()
        metrics = {name: float(value) for name, value in zip(METRICS, scorer.stats)}
        return CocoResult(metrics, self._per_class(scorer), results, len(indices))

    def _ground_truth(self, indices):
        records = [(index, self.dataset.images[index]) for index in indices]
        annotations = []

        def add(index, boxes, classes, areas, crowd):
            for box, label, area in zip(boxes.astype(np.float64), classes, areas):
                annotations.append(
                    {
                        # From 1: pycocotools takes a match with id 0 for no match.
                        "id": len(annotations) + 1,
                        "image_id": index,
                        "category_id": int(label),
                        "bbox": [*box[:2], *(box[2:] - box[:2])],
                        "area": float(area),
                        "iscrowd": crowd,
                    }
                )

        for index, record in records:
            add(index, record.boxes, record.classes, record.areas, 0)
            sides = record.crowd_boxes[:, 2:] - record.crowd_boxes[:, :2]
            add(index, record.crowd_boxes, record.crowd_classes, sides.prod(axis=1), 1)
        return {
            "images": [{"id": index, "height": r.height, "width": r.width} for index, r in records],
            "annotations": annotations,
            "categories": [{"id": label, "name": name} for label, name in enumerate(self.dataset.class_names)],
        }

    def _per_class(self, scorer):
        # [IoU threshold, recall, class, area, max detections]; the first area is "all".
        precision = scorer.eval["precision"][:, :, :, 0, -1]
        values = {}
        for label, name in enumerate(self.dataset.class_names):
            known = precision[:, :, label][precision[:, :, label] > -1]
            values[name] = float(known.mean()) if known.size else -1.0
        return values


def _index(content):
    indexed = COCO()
    indexed.dataset = content
    indexed.createIndex()
    return indexed


def check_classes(model: "Detector", dataset: coco_data.CocoDataset) -> None:
    """Raises ValueError where a detector has another number of classes than the `CocoDataset`."""
    if model.num_classes != dataset.num_classes:
        raise ValueError(
            f"The model has {model.num_classes} classes, the data set {dataset.num_classes}"
            f" ({', '.join(dataset.class_names)})."
        )


def detect_function(model: "Detector") -> collections.abc.Callable[[tf.Tensor], dict[str, tf.Tensor]]:
    """`model.detect` as one graph for batches of all sizes."""
    signature = [tf.TensorSpec([None, None, None, 3], tf.float32)]
    return tf.function(lambda images: model.detect(images), input_signature=signature, autograph=False)


def evaluate(
    model: "Detector",
    dataset: coco_data.CocoDataset,
    batch_size: int = 8,
    scale: tuple[int, int] = (1333, 800),
    *,
    batches: collections.abc.Iterable | None = None,
    detect: collections.abc.Callable[[tf.Tensor], dict[str, tf.Tensor]] | None = None,
    progress: collections.abc.Callable[[int, int], None] | None = None,
) -> CocoResult:
    """Runs a detector over a data set and scores it.

    Args:
        model: has `detect` (images [B, H, W, 3] -> the record of `gfl_tf.detections`, in canvas pixels) and
            `pad_value`.
        dataset: `CocoDataset`.
        batch_size, scale: as in `pipeline.evaluation_batches`.
        batches: the evaluation batches of `dataset`, where they exist already (several evaluations on cached
            images); then the two arguments before do not count.
        detect: `detect_function(model)`, where several evaluations are to share it.
        progress: called after every batch with (images done, images in all).

    Returns:
        `CocoResult`.
    """
    if batches is None:
        batches = pipeline.evaluation_batches(dataset, batch_size, scale=scale, pad_value=model.pad_value)
    evaluator = collect(model, dataset, batches, detect or detect_function(model), progress)
    result = evaluator.result()
    logging.info("AP %s on %d images.", percent(result.metrics["AP"]), result.num_images)
    return result


def collect(
    model: "Detector",
    dataset: coco_data.CocoDataset,
    batches: collections.abc.Iterable,
    detect: collections.abc.Callable[[tf.Tensor], dict[str, tf.Tensor]],
    progress: collections.abc.Callable[[int, int], None] | None = None,
) -> CocoEvaluator:
    """The detections of evaluation batches, not yet scored; arguments as `evaluate`."""
    check_classes(model, dataset)
    evaluator = CocoEvaluator(dataset)
    for images, labels in batches:
        found = detections.to_original(detect(images), labels["original_shape"], labels["image_shape"])
        for row, index in enumerate(labels["image_index"].numpy()):
            evaluator.add(dataset.images[index].id, detections.of_image(found, row))
        if progress:
            progress(evaluator.num_images, len(dataset.images))
    return evaluator
