"""COCO detection annotations, checked and brought into arrays."""

import collections
import collections.abc
import dataclasses
import os
import typing

import numpy as np
from absl import logging

from gfl_tf.data import coco_boxes, coco_classes, coco_entries, coco_files, faults, image_checks

# The 80 classes of COCO's detection task, in the order of their ids, as all published models have them.
COCO_CLASS_NAMES = (
    "person", "bicycle", "car", "motorcycle", "airplane", "bus", "train", "truck", "boat", "traffic light",
    "fire hydrant", "stop sign", "parking meter", "bench", "bird", "cat", "dog", "horse", "sheep", "cow", "elephant",
    "bear", "zebra", "giraffe", "backpack", "umbrella", "handbag", "tie", "suitcase", "frisbee", "skis", "snowboard",
    "sports ball", "kite", "baseball bat", "baseball glove", "skateboard", "surfboard", "tennis racket", "bottle",
    "wine glass", "cup", "fork", "knife", "spoon", "bowl", "banana", "apple", "sandwich", "orange", "broccoli",
    "carrot", "hot dog", "pizza", "donut", "cake", "chair", "couch", "potted plant", "bed", "dining table", "toilet",
    "tv", "laptop", "mouse", "remote", "keyboard", "cell phone", "microwave", "oven", "toaster", "sink",
    "refrigerator", "book", "clock", "vase", "scissors", "teddy bear", "hair drier", "toothbrush",
)  # fmt: skip

ON_BAD_IMAGE = ("error", "skip")


class Place(typing.NamedTuple):
    """Of an image in TFRecords: the shard's path, where its record starts, and how long that is, in bytes."""

    shard: str
    offset: int
    length: int


@dataclasses.dataclass(frozen=True, eq=False, slots=True)
class ImageRecord:
    """One image and its ground truth, in pixels of the image file.

    Attributes:
        id: the image's id as the annotation file has it: an integer, another number or a text.
        path: where the image file lies; where it lay when TFRecords were made of it.
        height, width: pixels, as the annotation file has them.
        boxes: float32 [n, 4], xyxy, clipped to the image.
        classes: int32 [n], contiguous from 0.
        areas: float32 [n], the annotations' `area` (that of the mask, where there is one), which
            decides in evaluation what is small, medium and large.
        crowd_boxes, crowd_classes: the same for groups ("iscrowd": 1): no part in training,
            neither right nor wrong in evaluation.
        orientation: of EXIF, 1 to 8, to apply where the file is read: the annotations were made after it.
        place: in TFRecords; None: the image is read from its file.
    """

    id: int | float | str
    path: str
    height: int
    width: int
    boxes: np.ndarray
    classes: np.ndarray
    areas: np.ndarray
    crowd_boxes: np.ndarray
    crowd_classes: np.ndarray
    orientation: int = 1
    place: Place | None = None


@dataclasses.dataclass
class LoadReport:
    """What `load_coco` met: counts, and what it left out or changed."""

    source: str = "the data set"  # how messages name the annotation file
    boxes: int = 0
    crowd_boxes: int = 0
    clipped_boxes: int = 0
    degenerate_annotations: list = dataclasses.field(default_factory=list)  # annotation ids
    outside_annotations: list = dataclasses.field(default_factory=list)  # ids of boxes of which nothing is inside
    relative_annotations: list = dataclasses.field(default_factory=list)  # ids of those with boxes in 0..1
    replaced_areas: list = dataclasses.field(default_factory=list)  # ids of those whose `area` is no number above 0
    repeated_images: list = dataclasses.field(default_factory=list)  # paths that several images have
    mended_file_names: list = dataclasses.field(default_factory=list)
    bad_images: list = dataclasses.field(default_factory=list)  # the `ImageRecord`s of files that cannot be used
    unsized_images: list = dataclasses.field(default_factory=list)  # what `formats.read` left out, see `to_coco`
    image_checks: dict = dataclasses.field(default_factory=dict)  # image id: `image_checks.Check` of its file


# What is said of a list of a `LoadReport` that is not empty, after its length and before its first element.
WARNINGS = {
    "relative_annotations": "boxes lie in 0..1, as if relative to their image, but must be in pixels; the first is of"
    " annotation",
    "replaced_areas": "annotations have an area that is no number above 0; that of the box counts. The first is",
    "repeated_images": "files are listed as several images, which count as many times; the first is",
    "mended_file_names": "file names were found only with / for \\, or with a blank or the like for %20; the first is",
}


@dataclasses.dataclass
class CocoDataset:
    """Images with boxes.

    Attributes:
        images: list of `ImageRecord`, in the order of the annotation file. Batches name an image by its index here.
        class_names: tuple of str; a class is its index here.
        category_ids: tuple, the category id of each class as the file has it (an integer, another number or a text);
            None: the file has no such category.
        report: `LoadReport`.
    """

    images: list
    class_names: tuple
    category_ids: tuple
    report: LoadReport

    @property
    def num_classes(self) -> int:
        return len(self.class_names)

    @property
    def num_boxes(self) -> int:
        """Boxes of all images (crowds not counted)."""
        return sum(len(record.boxes) for record in self.images)

    @property
    def max_boxes(self) -> int:
        """The largest number of boxes of any image (crowds not counted)."""
        return max((len(record.boxes) for record in self.images), default=0)


def load_coco(
    annotations: dict[str, typing.Any] | str | os.PathLike,
    images_dir: str | os.PathLike | None,
    class_names: collections.abc.Sequence[str] | None = None,
    on_bad_image: str = "error",
    source: str = "the annotations",
    progress: collections.abc.Callable[[int, int], None] | None = None,
) -> CocoDataset:
    """Reads a COCO detection file.

    Boxes are clipped to their image. Degenerate boxes (width or height not above 0, not finite,
    or nothing left inside the image) are logged with their annotation id and left out. What else is
    not used as the file has it is warned of once, with its number.

    Args:
        annotations: path of the JSON file, or its content as a dict. Without "annotations" it is a
            list of images, on which a detector can run without a score.
        images_dir: folder that the file's `file_name`s are relative to, and never lead out of.
            None: the images are not looked for (evaluation of stored detections needs none).
        class_names: the classes in the wanted order; by default the file's categories in the
            order of their ids, but for an unused root category (see `coco_classes.choose`). Must
            name every category that annotations use. The file may lack some, but not all.
        on_bad_image: of files that are missing, empty, cut short, no image or not of the annotations' size, see
            `image_checks.check_files`: "error" names them, "skip" leaves them out with a warning each.
        source: what messages call annotations that are given as a dict.
        progress: called with (files done, files in all) while the image files are checked.

    Returns:
        `CocoDataset`.

    Raises:
        FileNotFoundError: no annotation file, or an image is missing (names the first ones).
        ValueError: the file is not COCO detection JSON; names the entry and what is wrong. Images that cannot be used
            (names the first ones), or have 16 bits and use the lower ones alone.
    """
    if on_bad_image not in ON_BAD_IMAGE:
        raise ValueError(f"on_bad_image is {on_bad_image!r}; choose one of {ON_BAD_IMAGE}.")
    content, source = coco_entries.read(annotations, source)
    if content["annotations"] is None:
        logging.warning("%s has no annotations: detections on its images get no score.", source)
    images = coco_entries.checked(content["images"], coco_entries.IMAGE, "image", source)
    categories = coco_entries.checked(content["categories"], coco_entries.CATEGORY, "category", source)
    entries = coco_entries.checked(content["annotations"] or [], coco_entries.ANNOTATION, "annotation", source)
    used = {entry["category_id"] for entry in entries.values()}
    names, ids = coco_classes.choose(categories, used, class_names, source)
    report = LoadReport(source, unsized_images=content.get("skipped", []) if isinstance(annotations, dict) else [])
    boxes_of = coco_boxes.by_image(entries, images, categories, names, ids, report)
    paths = _paths(images, images_dir, report)
    records = [_record(entry, path, boxes_of[entry["id"]]) for entry, path in zip(images.values(), paths)]
    if images_dir is not None:
        records = _without_bad_images(records, on_bad_image, report, source, progress)
    if not records:
        raise ValueError(f"{source} leaves no image to use of {len(images)}. {_where_boxes_are(report)}")
    dataset = CocoDataset(records, names, ids, report)
    _log(dataset)
    return dataset


def without_empty_images(dataset: CocoDataset) -> CocoDataset:
    """The same without images that have no box (crowds not counted), be they bad ones; how many are good is logged."""
    report = dataset.report
    kept, bad = ([record for record in each if len(record.boxes)] for each in (dataset.images, report.bad_images))
    unsized = [entry for entry in report.unsized_images if entry["num_boxes"]]
    empty = len(dataset.images) - len(kept)
    logging.info("%s: %d images without boxes are left out.", report.source, empty)
    report = dataclasses.replace(report, bad_images=bad, unsized_images=unsized)
    return dataclasses.replace(dataset, images=kept, report=report)


def check_trainable(dataset: CocoDataset) -> None:
    """Raises ValueError where nothing can be learnt from a `CocoDataset`, or nothing of one of its classes.

    That is: it has no boxes, or most look relative to their image; or its file has no category of a class.
    """
    report = dataset.report
    if not dataset.num_boxes or 2 * len(report.relative_annotations) > report.boxes + report.crowd_boxes:
        raise ValueError(f"{report.source} cannot be trained on. {_where_boxes_are(report)}")
    unknown = _classes_without_category(dataset)
    if unknown:
        raise ValueError(
            f"class_names has {', '.join(unknown)}, which is no category of {report.source}: leave it out."
        )


def _classes_without_category(dataset):
    return [name for name, category_id in zip(dataset.class_names, dataset.category_ids) if category_id is None]


def _where_boxes_are(report):
    """What became of the annotations, as a sentence."""
    degenerate, relative = len(report.degenerate_annotations), len(report.relative_annotations)
    outside = len(report.outside_annotations)
    total = report.boxes + report.crowd_boxes + degenerate
    counts = {
        'are groups ("iscrowd": 1)': report.crowd_boxes,
        "lie outside their image": outside,
        "have no width or height, or are not finite": degenerate - outside,
        "lie in 0..1, as if relative to their image, but must be in pixels": relative,
        "belong to images that were left out": report.boxes - relative,
    }
    listed = [f"{count} {what}" for what, count in counts.items() if count > 0]
    return f"Of its {total} annotations {', '.join(listed)}." if listed else "It has no annotations."


def _paths(images, images_dir, report):
    """Path of each image file; `file_name` as it is where there is no folder."""
    paths = [entry["file_name"] for entry in images.values()]
    if images_dir is not None:
        where = [f"{report.source}: image {image_id}" for image_id in images]
        found = faults.each(lambda named: coco_files.find(named[0], str(images_dir), named[1]), zip(paths, where))
        report.mended_file_names = [name for name, (_, is_mended) in zip(paths, found) if is_mended]
        paths = [path for path, _ in found]
    report.repeated_images = [path for path, count in collections.Counter(paths).items() if count > 1]
    return paths


def _record(entry, path, boxes):
    ordinary = [box for box in boxes if not box.is_crowd]
    crowds = [box for box in boxes if box.is_crowd]
    return ImageRecord(
        id=entry["id"],
        path=path,
        height=int(entry["height"]),
        width=int(entry["width"]),
        boxes=np.asarray([box.xyxy for box in ordinary], np.float32).reshape(-1, 4),
        classes=np.asarray([box.label for box in ordinary], np.int32),
        areas=np.asarray([box.area for box in ordinary], np.float32),
        crowd_boxes=np.asarray([box.xyxy for box in crowds], np.float32).reshape(-1, 4),
        crowd_classes=np.asarray([box.label for box in crowds], np.int32),
    )


def _without_bad_images(records, on_bad_image, report, source, progress):
    """The records whose image files can be used, with the orientation to read each in."""
    sizes = [(record.height, record.width) for record in records]
    checks = image_checks.check_files([record.path for record in records], sizes, progress)
    report.image_checks = {record.id: check for record, check in zip(records, checks)}
    bad = [(record, check.problem) for record, check in zip(records, checks) if check.problem]
    if bad and on_bad_image == "error":
        missing = any(not os.path.exists(record.path) for record, _ in bad)
        text = image_checks.refusal([problem for _, problem in bad], len(records), source)
        raise (FileNotFoundError if missing else ValueError)(text)
    for _, problem in bad:
        logging.warning("Image skipped: %s.", problem)
    report.bad_images = [record for record, _ in bad]
    kept = [(record, check) for record, check in zip(records, checks) if not check.problem]
    image_checks.check_depth([record.path for record, check in kept if check.bits > 8], source)
    image_checks.warn_of_orientations([check for _, check in kept], [record.path for record, _ in kept])
    return [dataclasses.replace(record, orientation=check.orientation) for record, check in kept]


def _log(dataset):
    report = dataset.report
    for field, text in WARNINGS.items():
        met = getattr(report, field)
        if met:
            logging.warning("%s: %d %s %s.", report.source, len(met), text, met[0])
    unknown = _classes_without_category(dataset)
    if unknown:
        logging.warning(
            "%s has no category %s: no score, and no detections in results.", report.source, ", ".join(unknown)
        )
    logging.info(
        "%s: %d images (%d without boxes), %d classes, %d boxes, %d crowd boxes, %d boxes clipped"
        " to the image, %d degenerate boxes skipped, %d bad images skipped.",
        report.source,
        len(dataset.images),
        sum(not len(record.boxes) for record in dataset.images),
        dataset.num_classes,
        report.boxes,
        report.crowd_boxes,
        report.clipped_boxes,
        len(report.degenerate_annotations),
        len(report.bad_images),
    )
