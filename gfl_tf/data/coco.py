"""COCO detection annotations, checked and brought into arrays."""

import collections.abc
import dataclasses
import json
import math
import os
import typing

import numpy as np
from absl import logging

from gfl_tf.data import image_checks

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


@dataclasses.dataclass(frozen=True, eq=False)
class ImageRecord:
    """One image and its ground truth, in pixels of the image file.

    Attributes:
        id: the image's id in the annotation file.
        path: where the image file lies.
        height, width: pixels, as the annotation file has them.
        boxes: float32 [n, 4], xyxy, clipped to the image.
        classes: int32 [n], contiguous from 0.
        areas: float32 [n], the annotations' `area` (that of the mask, where there is one), which
            decides in evaluation what is small, medium and large.
        crowd_boxes, crowd_classes: the same for groups ("iscrowd": 1): no part in training,
            neither right nor wrong in evaluation.
        orientation: of EXIF, 1 to 8, to apply where the file is read: the annotations were made after it.
    """

    id: int
    path: str
    height: int
    width: int
    boxes: np.ndarray
    classes: np.ndarray
    areas: np.ndarray
    crowd_boxes: np.ndarray
    crowd_classes: np.ndarray
    orientation: int = 1


@dataclasses.dataclass
class LoadReport:
    """What `load_coco` met: counts, and what it left out."""

    boxes: int = 0
    crowd_boxes: int = 0
    clipped_boxes: int = 0
    degenerate_annotations: list = dataclasses.field(default_factory=list)  # annotation ids
    bad_images: list = dataclasses.field(default_factory=list)  # paths
    dropped_empty_images: int = 0


@dataclasses.dataclass
class CocoDataset:
    """Images with boxes.

    Attributes:
        images: list of `ImageRecord`, in the order of the annotation file.
        class_names: tuple of str; a class is its index here.
        category_ids: tuple of int, the file's category id of each class.
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
    def max_boxes(self) -> int:
        """The largest number of boxes of any image (crowds not counted)."""
        return max((len(record.boxes) for record in self.images), default=0)


def load_coco(
    annotations: dict[str, typing.Any] | str | os.PathLike,
    images_dir: str | os.PathLike | None,
    class_names: collections.abc.Sequence[str] | None = None,
    keep_empty: bool = True,
    on_bad_image: str = "error",
    source: str = "the annotations",
    progress: collections.abc.Callable[[int, int], None] | None = None,
) -> CocoDataset:
    """Reads a COCO detection file.

    Boxes are clipped to their image. Degenerate boxes (width or height not above 0, not finite,
    or nothing left inside the image) are logged with their annotation id and left out.

    Args:
        annotations: path of the JSON file, or its content as a dict.
        images_dir: folder that the file's `file_name`s are relative to. None: the images are not
            looked for (evaluation of stored detections needs none).
        class_names: the classes in the wanted order; by default the file's categories in the
            order of their ids. Must name every category that annotations use.
        keep_empty: whether images without boxes are kept (they are background for training).
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
    content, source = _read_json(annotations, source)
    names, ids = _classes(content["categories"], class_names, source)
    entries = _index(content["images"], ("id", "file_name", "height", "width"), "image", source)
    for image_id, entry in entries.items():
        _check_size(image_id, entry, source)
    report = LoadReport()
    boxes_of = _boxes_by_image(content, entries, names, ids, report, source)
    records = [_record(entry, images_dir, boxes_of[i]) for i, entry in entries.items()]
    if images_dir is not None:
        records = _without_bad_images(records, on_bad_image, report, source, progress)
    if not keep_empty:
        kept = [record for record in records if len(record.boxes)]
        report.dropped_empty_images = len(records) - len(kept)
        records = kept
    if not records:
        raise ValueError(f"{source} leaves no image to use: {report}")
    _log(report, records, names, source)
    return CocoDataset(records, names, ids, report)


def _read_json(annotations, source):
    if isinstance(annotations, dict):
        content = annotations
    else:
        source = str(annotations)
        if not os.path.isfile(source):
            raise FileNotFoundError(f"There is no annotation file {source}.")
        with open(source, encoding="utf-8") as file:
            try:
                content = json.load(file)
            except ValueError as error:
                raise ValueError(f"{source} is not valid JSON: {error}") from error
    if not isinstance(content, dict):
        raise ValueError(
            f"{source} holds a {type(content).__name__} at its top; COCO annotations are an object"
            " with images, annotations and categories."
        )
    for key in ("images", "annotations", "categories"):
        if not isinstance(content.get(key), list):
            raise ValueError(f"{source} has no list '{key}'; a COCO detection file needs one.")
    return content, source


def _index(entries, keys, kind, source):
    """The entries by their id; an error for a missing key or an id met twice."""
    by_id = {}
    for position, entry in enumerate(entries):
        for key in keys:
            if not isinstance(entry, dict) or key not in entry:
                raise ValueError(f"{source}: {_name(kind, entry, position)} has no '{key}'.")
        entry_id = entry["id"]
        if not isinstance(entry_id, int) or isinstance(entry_id, bool):
            raise ValueError(f"{source}: {kind} id {entry_id!r} is not an integer.")
        if entry_id in by_id:
            raise ValueError(f"{source}: {kind} id {entry_id} occurs twice; ids must be unique.")
        by_id[entry_id] = entry
    return by_id


def _name(kind, entry, position):
    if isinstance(entry, dict) and "id" in entry:
        return f"{kind} {entry['id']}"
    return f"{kind} number {position} of the list"


def _check_size(image_id, entry, source):
    for key in ("height", "width"):
        value = entry[key]
        if not isinstance(value, (int, float)) or value != int(value) or value < 1:
            raise ValueError(
                f"{source}: image {image_id} ({entry['file_name']}) has {key} {value!r}; a whole"
                " number of pixels above 0 is needed."
            )


def _classes(categories, class_names, source):
    """(class names, category ids) in the order of the classes."""
    by_id = _index(categories, ("id", "name"), "category", source)
    if not by_id:
        raise ValueError(f"{source} has no categories.")
    id_of = {}
    for category_id in sorted(by_id):
        name = str(by_id[category_id]["name"])
        if name in id_of:
            raise ValueError(f"{source}: categories {id_of[name]} and {category_id} are both named '{name}'.")
        id_of[name] = category_id
    names = tuple(class_names) if class_names else tuple(id_of)
    if len(set(names)) != len(names):
        raise ValueError(f"class_names {names} names a class twice.")
    for name in names:
        if name not in id_of:
            raise ValueError(f"class_names has '{name}', which is no category of {source}; it has {', '.join(id_of)}.")
    return names, tuple(id_of[name] for name in names)


def _boxes_by_image(content, entries, names, ids, report, source):
    """{image id: list of (box xyxy, class, area, is_crowd)}."""
    class_of = {category_id: index for index, category_id in enumerate(ids)}
    category_names = {category["id"]: category["name"] for category in content["categories"]}
    keys = ("id", "image_id", "category_id", "bbox")
    boxes_of = {image_id: [] for image_id in entries}
    for annotation in _index(content["annotations"], keys, "annotation", source).values():
        where = f"{source}: annotation {annotation['id']}"
        if annotation["image_id"] not in boxes_of:
            raise ValueError(f"{where} belongs to image {annotation['image_id']!r}, which is not in the file.")
        category_id = annotation["category_id"]
        if category_id not in category_names:
            raise ValueError(f"{where} has category id {category_id!r}, which is not in the file.")
        if category_id not in class_of:
            raise ValueError(
                f"{where} is of category '{category_names[category_id]}' (id {category_id}), which"
                f" is not among the class names {', '.join(names)}. Add it there, or remove its"
                " annotations."
            )
        entry = entries[annotation["image_id"]]
        box = _clipped_box(annotation["bbox"], entry, where, report)
        if box is None:
            report.degenerate_annotations.append(annotation["id"])
            logging.warning(
                "%s of %s has the degenerate box %s (x, y, width, height); it is skipped.",
                where,
                entry["file_name"],
                annotation["bbox"],
            )
            continue
        crowd = bool(annotation.get("iscrowd", 0))
        area = annotation.get("area")
        if area is None:
            area = (box[2] - box[0]) * (box[3] - box[1])
        boxes_of[annotation["image_id"]].append((box, class_of[category_id], area, crowd))
        report.crowd_boxes += crowd
        report.boxes += not crowd
    return boxes_of


def _clipped_box(bbox, entry, where, report):
    """xyxy inside the image, or None where that is degenerate. `bbox` is COCO's xywh."""
    is_numbers = isinstance(bbox, (list, tuple)) and len(bbox) == 4
    if not is_numbers or not all(isinstance(value, (int, float)) for value in bbox):
        raise ValueError(f"{where} has bbox {bbox!r}; four numbers x, y, width, height are needed.")
    x, y, width, height = bbox
    if not all(math.isfinite(value) for value in bbox) or width <= 0 or height <= 0:
        return None
    box = (x, y, x + width, y + height)
    clipped = (max(box[0], 0), max(box[1], 0), min(box[2], entry["width"]), min(box[3], entry["height"]))
    # Compared in float32, as it is stored: a sliver can vanish there.
    rounded = np.asarray(clipped, np.float32)
    if rounded[2] <= rounded[0] or rounded[3] <= rounded[1]:
        return None
    report.clipped_boxes += clipped != box
    return clipped


def _record(entry, images_dir, annotations):
    ordinary = [item for item in annotations if not item[3]]
    crowds = [item for item in annotations if item[3]]
    return ImageRecord(
        id=entry["id"],
        path=os.path.join(str(images_dir or ""), entry["file_name"]),
        height=int(entry["height"]),
        width=int(entry["width"]),
        boxes=np.asarray([item[0] for item in ordinary], np.float32).reshape(-1, 4),
        classes=np.asarray([item[1] for item in ordinary], np.int32),
        areas=np.asarray([item[2] for item in ordinary], np.float32),
        crowd_boxes=np.asarray([item[0] for item in crowds], np.float32).reshape(-1, 4),
        crowd_classes=np.asarray([item[1] for item in crowds], np.int32),
    )


def _without_bad_images(records, on_bad_image, report, source, progress):
    """The records whose image files can be used, with the orientation to read each in."""
    sizes = [(record.height, record.width) for record in records]
    checks = image_checks.check_files([record.path for record in records], sizes, progress)
    problems = {record.path: check.problem for record, check in zip(records, checks) if check.problem}
    if problems and on_bad_image == "error":
        missing = any(not os.path.exists(path) for path in problems)
        text = image_checks.refusal(list(problems.values()), len(records), source)
        raise (FileNotFoundError if missing else ValueError)(text)
    for problem in problems.values():
        logging.warning("Image skipped: %s.", problem)
    report.bad_images = list(problems)
    kept = [(record, check) for record, check in zip(records, checks) if not check.problem]
    image_checks.check_depth([record.path for record, check in kept if check.bits > 8], source)
    image_checks.warn_of_orientations([check for _, check in kept], [record.path for record, _ in kept])
    return [dataclasses.replace(record, orientation=check.orientation) for record, check in kept]


def _log(report, records, names, source):
    logging.info(
        "%s: %d images (%d without boxes), %d classes, %d boxes, %d crowd boxes, %d boxes clipped"
        " to the image, %d degenerate boxes skipped, %d bad images skipped, %d images without"
        " boxes dropped.",
        source,
        len(records),
        sum(not len(record.boxes) for record in records),
        len(names),
        report.boxes,
        report.crowd_boxes,
        report.clipped_boxes,
        len(report.degenerate_annotations),
        len(report.bad_images),
        report.dropped_empty_images,
    )
