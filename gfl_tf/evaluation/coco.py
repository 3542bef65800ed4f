"""The COCO numbers of a detector, by pycocotools."""

import collections.abc
import dataclasses
import json
import os
import tempfile
import typing

import numpy as np
import tensorflow as tf
from absl import logging

from gfl_tf import detections
from gfl_tf.data import pipeline
from gfl_tf.data.coco import CocoDataset
from gfl_tf.evaluation import coco_numbers, coco_rows

if typing.TYPE_CHECKING:
    from gfl_tf.detectors.detector import Detector


# In the order of COCOeval.stats.
METRICS = ("AP", "AP50", "AP75", "APs", "APm", "APl", "AR1", "AR10", "AR100", "ARs", "ARm", "ARl")


class Detections:
    """Detections in COCO's result format, each made as it is read: dicts would take ten times the memory of arrays.

    An item has image_id, category_id, bbox (x, y, width, height in pixels of the image file) and score.

    Args:
        rows: array of `coco_numbers.FOUND`.
        image_ids, category_ids: of each image and class, as the annotation file has them.
    """

    BLOCK = 10000

    def __init__(self, rows: np.ndarray, image_ids: collections.abc.Sequence, category_ids: collections.abc.Sequence):
        self._rows = rows
        self._image_ids = image_ids
        self._category_ids = category_ids

    def __len__(self) -> int:
        return len(self._rows)

    def __iter__(self) -> collections.abc.Iterator[dict[str, typing.Any]]:
        for block in self._blocks():
            yield from block

    def write(self, file: typing.TextIO) -> None:
        """Writes all of them as one JSON list."""
        file.write("[")
        for number, block in enumerate(self._blocks()):
            file.write((", " if number else "") + json.dumps(block)[1:-1])
        file.write("]")

    def _blocks(self):
        for start in range(0, len(self), self.BLOCK):
            rows = self._rows[start : start + self.BLOCK]
            columns = (rows[name].tolist() for name in ("image_id", "category_id", "bbox", "score"))
            yield [
                {
                    "image_id": self._image_ids[image],
                    "category_id": self._category_ids[label],
                    "bbox": box,
                    "score": score,
                }
                for image, label, box, score in zip(*columns)
            ]


@dataclasses.dataclass(frozen=True)
class CocoResult:
    """The numbers of one evaluation.

    Attributes:
        metrics: {name: value} of the 12 COCO numbers, in 0..1: AP (IoU 0.50:0.95), AP50, AP75, AP
            of small, medium and large objects, AR with 1, 10 and 100 detections per image, AR of
            small, medium and large objects. -1: there is no such object.
        per_class: {class name: AP}; -1 for a class without objects.
        detections: `Detections`, as they were scored; those of a class that is no category of the
            annotation file are left out.
        num_images: how many images were scored.
        precision: float64 [10, 101, C], at the IoU thresholds 0.5 to 0.95 and the recalls 0 to 1; -1 for a class
            without objects. None: of an evaluation that was read from its file.
    """

    metrics: dict
    per_class: dict
    detections: Detections = dataclasses.field(compare=False)
    num_images: int
    precision: np.ndarray | None = dataclasses.field(default=None, compare=False)

    def to_dict(self) -> dict[str, typing.Any]:
        """Everything but the detections and the curves, for JSON."""
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
        dataset: `CocoDataset`.
    """

    def __init__(self, dataset: CocoDataset):
        self.dataset = dataset
        self._index_of = {record.id: index for index, record in enumerate(dataset.images)}
        self._added = set()  # indices of images
        # All detections, one after the other: they do not fill the memory, however many there are.
        self._file = tempfile.TemporaryFile()

    def add(self, image_id: int | float | str, found: dict[str, np.ndarray]) -> None:
        """Adds the detections of one image; also an image without any has to be added.

        Args:
            image_id: the image's id in the annotation file.
            found: the record (see `gfl_tf.detections`) of its detections, in pixels of the image file: "boxes" [n, 4],
                clipped to it, and left out where nothing remains; "classes" [n], -1: not a detection (padding);
                "confidence" [n].

        Raises:
            ValueError: unknown or repeated image, unknown class, or numbers that are not finite.
            OSError: the folder of temporary files is full.
        """
        if image_id not in self._index_of:
            raise ValueError(f"Image id {image_id!r} is not in the data set.")
        image_index = self._index_of[image_id]
        if image_index in self._added:
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
        columns = detections.to_coco_columns(
            {"boxes": boxes, "classes": classes, "confidence": scores}, self.dataset.category_ids
        )
        rows = coco_numbers.rows(
            coco_numbers.FOUND,
            image_id=image_index,
            category_id=columns["class"],
            bbox=columns["bbox"],
            area=columns["bbox"][:, 2:].prod(axis=1),
            score=columns["score"],
        )
        self._keep(rows)
        self._added.add(image_index)

    def _keep(self, rows):
        try:
            self._file.write(rows.tobytes())
            self._file.flush()
        except OSError as error:
            folder = tempfile.gettempdir()
            raise OSError(
                error.errno, f"{folder} cannot hold the detections: {error.strerror}. TMPDIR sets another folder"
            ) from error

    @property
    def num_images(self) -> int:
        """How many images were added."""
        return len(self._added)

    @property
    def found(self) -> tuple[set[int], np.ndarray]:
        """(indices of the images that were added, rows of their detections), as `merge` takes them."""
        self._file.seek(0)
        rows = np.fromfile(self._file, coco_numbers.FOUND)
        self._file.seek(0, os.SEEK_END)
        return self._added, rows

    def merge(self, found: tuple[set[int], np.ndarray]) -> None:
        """Adds the `found` of another evaluator of the same data set.

        Raises:
            ValueError: both have the same image.
        """
        added, rows = found
        twice = self._added & added
        if twice:
            image = self.dataset.images[min(twice)].id
            raise ValueError(f"The detections of image {image} were added before.")
        self._keep(rows)
        self._added |= added

    def result(self, only_added: bool = False) -> CocoResult:
        """Scores what was added.

        Args:
            only_added: over the added images alone; by default over the whole data set, where an
                image that was not added counts as one without detections.

        Returns:
            `CocoResult`.
        """
        indices = [index for index in range(len(self.dataset.images)) if not only_added or index in self._added]
        if not indices:
            raise ValueError("There is no image to score: add detections first.")
        _, found = self.found
        found = found[np.argsort(found["image_id"], kind="stable")]
        truth = coco_rows.truth(self.dataset, indices)
        stats, per_class, precision = coco_numbers.score(truth, found, self.dataset.num_classes)
        return CocoResult(
            dict(zip(METRICS, stats.tolist())),
            dict(zip(self.dataset.class_names, per_class.tolist())),
            Detections(found, [record.id for record in self.dataset.images], self.dataset.category_ids),
            len(indices),
            precision,
        )


def check_classes(model: "Detector", dataset: CocoDataset) -> None:
    """Raises ValueError where a detector has another number of classes than the `CocoDataset`."""
    if model.num_classes != dataset.num_classes:
        raise ValueError(
            f"The model has {model.num_classes} classes, the data set {dataset.num_classes}"
            f" ({', '.join(dataset.class_names)})."
        )


def detect_function(
    model: "Detector", with_strides: bool = False
) -> collections.abc.Callable[[tf.Tensor], dict[str, tf.Tensor]]:
    """`model.detect` as one graph for batches of all sizes; `with_strides`: and "point_strides" [B, D]."""

    @tf.function(input_signature=[tf.TensorSpec([None, None, None, 3], tf.float32)], autograph=False)
    def detect(images):
        if not with_strides:
            return model.detect(images)
        found = model.detect(images, with_outputs=True)
        return {name: value for name, value in found.items() if name not in ("outputs", "points_px")}

    return detect


def evaluate(
    model: "Detector",
    dataset: CocoDataset,
    batch_size: int = 8,
    scale: tuple[int, int] = (1333, 800),
    *,
    batches: collections.abc.Iterable | None = None,
    detect: collections.abc.Callable[[tf.Tensor], dict[str, tf.Tensor]] | None = None,
    progress: collections.abc.Callable[[int, int], None] | None = None,
    observe: collections.abc.Callable | None = None,
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
        observe: called for every image with (its index, its record, its detections in pixels of the image file,
            (height, width) of the resized image), such as `matches.Matches.add`.

    Returns:
        `CocoResult`.
    """
    if batches is None:
        batches = pipeline.evaluation_batches(dataset, batch_size, scale=scale, pad_value=model.pad_value)
    evaluator = collect(model, dataset, batches, detect or detect_function(model), progress, observe)
    result = evaluator.result()
    logging.info("AP %s on %d images.", percent(result.metrics["AP"]), result.num_images)
    return result


def collect(
    model: "Detector",
    dataset: CocoDataset,
    batches: collections.abc.Iterable,
    detect: collections.abc.Callable[[tf.Tensor], dict[str, tf.Tensor]],
    progress: collections.abc.Callable[[int, int], None] | None = None,
    observe: collections.abc.Callable | None = None,
) -> CocoEvaluator:
    """The detections of evaluation batches, not yet scored; arguments as `evaluate`."""
    check_classes(model, dataset)
    evaluator = CocoEvaluator(dataset)
    for images, labels in batches:
        found = detections.to_original(detect(images), labels["original_shape"], labels["image_shape"])
        for row, index in enumerate(labels["image_index"].numpy()):
            record, of_image = dataset.images[index], detections.of_image(found, row)
            evaluator.add(record.id, of_image)
            if observe:
                observe(index, record, of_image, labels["image_shape"][row].numpy())
        if progress:
            progress(evaluator.num_images, len(dataset.images))
    return evaluator
