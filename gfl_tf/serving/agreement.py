"""How far an exported model's detections are from another's, in AP and in single detections."""

import collections
import dataclasses
import json
import pathlib

import numpy as np
from absl import logging

from gfl_tf import detections
from gfl_tf.data import coco as coco_data
from gfl_tf.data import images as image_ops
from gfl_tf.evaluation import coco, matches
from gfl_tf.serving import assets, runners
from gfl_tf.texts import first_ones

MIN_IOU = 0.9  # of a detection and its counterpart


@dataclasses.dataclass(frozen=True)
class Agreement:
    """A candidate's detections against a reference's on the same images.

    Attributes:
        num_images: how many images.
        num_reference: the reference's detections above the score threshold: the ground truth of `ap`, and those whose
            counterparts are looked for.
        ap, ap50, ap75: COCO's, in 0..1, of all the candidate's detections against that ground truth. What the reference
            has just below the threshold and the candidate ranks above it counts as wrong, and what the candidate's
            `max_detections` cut off as missing: numbers mean little at a threshold that most images reach that often.
        found: the share of the `num_reference` detections that have a counterpart in the candidate, whatever its
            score: of the same class, with an IoU of at least `MIN_IOU`, and nobody else's.
        mean_score, max_score: difference of the scores of counterparts; nan: there is none.
        mean_box_px, max_box_px: of the coordinate of counterparts that differs most, in pixels of the image.
        reference_truth_ap, candidate_truth_ap: AP of each against the images' annotations; None without them.
    """

    num_images: int
    num_reference: int
    ap: float
    ap50: float
    ap75: float
    found: float
    mean_score: float
    max_score: float
    mean_box_px: float
    max_box_px: float
    reference_truth_ap: float = None
    candidate_truth_ap: float = None


def compare_exports(reference, candidates, image_paths, annotations=None, score_threshold=0.3):
    """Compares exported models of any format.

    Args:
        reference, candidates: version folders, see `runners.load`; one, and a list.
        image_paths: of images, and of folders of which all images are taken.
        annotations: COCO file that has all these images (and perhaps more), by their file names. Its categories have
            the names of the reference's classes; of a reference that names none, they are the classes in the order of
            their ids. None: no AP against annotations.
        score_threshold: reference detections above it are what the candidates have to find.

    Returns {candidate's path: `Agreement`}.

    Raises:
        ValueError, FileNotFoundError: no exported model, models of different classes, an image that cannot be read or
            is not in the annotations, or a reference that finds nothing above the threshold.
    """
    for path in (reference, *candidates):
        runners.model_file(path)  # a wrong path is told now, not after an hour
    files = image_ops.find_files(image_paths)
    class_names = _common_class_names(reference, candidates)
    dataset, records = (None, None) if annotations is None else _records(annotations, files, class_names)
    shapes = [image_ops.read_file(file).shape[:2] for file in files]
    for file, shape, record in zip(files, shapes, records or ()):
        if shape != (record.height, record.width):
            raise ValueError(f"{file} is {shape[0]} x {shape[1]} (height x width), of another size in {annotations}")

    def run(path):
        detect = runners.load(path)  # freed before the next model is loaded
        logging.info("%s on %d images", path, len(files))
        return [detect(image_ops.read_file(file)) for file in files]

    def truth_ap(found):
        return None if dataset is None else _metrics(found, dataset, records)["AP"]

    expected = run(reference)
    expected_ap = truth_ap(expected)
    results = {}
    for path in candidates:
        found = run(path)
        agreement = measure(expected, found, shapes, score_threshold)
        results[path] = dataclasses.replace(
            agreement, reference_truth_ap=expected_ap, candidate_truth_ap=truth_ap(found)
        )
    return results


def measure(reference, candidate, shapes, score_threshold=0.3):
    """`Agreement` of two lists of detections, one record per image as `runners.load`'s functions return it.

    Args:
        reference, candidate: the lists.
        shapes: (height, width) of each image.
        score_threshold: as in `compare_exports`.

    Raises:
        ValueError: the reference has nothing above the threshold.
    """
    wanted = [_wanted(found, score_threshold) for found in reference]
    count = sum(len(found["confidence"]) for found in wanted)
    if not count:
        raise ValueError(f"the reference finds nothing with a score above {score_threshold} in {len(shapes)} images")
    metrics = _ap(wanted, candidate, shapes)
    score_differences, box_differences = [], []
    for expected, found in zip(wanted, candidate):
        for i, j in counterparts(expected, found):
            score_differences.append(abs(float(expected["confidence"][i]) - float(found["confidence"][j])))
            box_differences.append(float(np.abs(expected["boxes"][i] - found["boxes"][j]).max()))
    scores = np.asarray(score_differences or [np.nan])
    boxes_px = np.asarray(box_differences or [np.nan])
    return Agreement(
        num_images=len(shapes),
        num_reference=count,
        ap=metrics["AP"],
        ap50=metrics["AP50"],
        ap75=metrics["AP75"],
        found=len(score_differences) / count,
        mean_score=float(scores.mean()),
        max_score=float(scores.max()),
        mean_box_px=float(boxes_px.mean()),
        max_box_px=float(boxes_px.max()),
    )


def counterparts(expected, found):
    """Pairs (i, j) of detections of one image that are the same thing, each in one pair at most.

    Of the same class and an IoU of at least `MIN_IOU`; those that overlap most find each other first.
    """
    iou = matches.iou(expected["boxes"], found["boxes"])
    iou = np.where(expected["classes"][:, np.newaxis] == found["classes"], iou, 0.0)
    rows, columns = np.nonzero(iou >= MIN_IOU)
    pairs, taken_rows, taken_columns = [], set(), set()
    for index in np.argsort(-iou[rows, columns], kind="stable"):
        i, j = int(rows[index]), int(columns[index])
        if i not in taken_rows and j not in taken_columns:
            pairs.append((i, j))
            taken_rows.add(i)
            taken_columns.add(j)
    return pairs


def table(results):
    """{name: `Agreement`} as text: what was compared, a Markdown table, and what its columns are."""
    first = next(iter(results.values()))
    header = ["candidate", "AP", "AP50", "AP75", "found", "score mean", "score max", "box mean", "box max"]
    rows = []
    for name, result in results.items():
        shares = [f"{100 * value:.1f}" for value in (result.ap, result.ap50, result.ap75, result.found)]
        differences = [f"{value:.4f}" for value in (result.mean_score, result.max_score)]
        differences += [f"{value:.2f}" for value in (result.mean_box_px, result.max_box_px)]
        rows.append([str(name), *shares, *differences])
    if first.reference_truth_ap is not None:
        header += ["true AP", "change"]
        for row, result in zip(rows, results.values()):
            change = result.candidate_truth_ap - result.reference_truth_ap
            row += [f"{100 * result.candidate_truth_ap:.2f}", f"{100 * change:+.2f}"]
    widths = [max(map(len, column)) for column in zip(header, *rows)]
    lines = [
        f"{first.num_images} images, {first.num_reference} detections of the reference.",
        "",
        _line(header, widths),
        "|" + "|".join([f" {'-' * widths[0]} "] + [f" {'-' * (width - 1)}: " for width in widths[1:]]) + "|",
        *(_line(row, widths) for row in rows),
        "",
        "AP, AP50, AP75: in percent, with the reference's detections as ground truth.",
        f"found: percent of them with a counterpart of the same class and an IoU of at least {MIN_IOU}.",
        "score, box: differences of counterparts; box in pixels, of the coordinate that differs most.",
    ]
    if first.reference_truth_ap is not None:
        lines.append(
            f"true AP: in percent, against the annotations; the reference has {100 * first.reference_truth_ap:.2f}."
        )
    return "\n".join(lines)


def _line(cells, widths):
    first, *others = (f"{cell:{'<' if i == 0 else '>'}{width}}" for i, (cell, width) in enumerate(zip(cells, widths)))
    return f"| {' | '.join([first, *others])} |"


def _wanted(found, score_threshold):
    boxes = found["boxes"]
    # The evaluator leaves boxes without area out of the detections: they must not be ground truth either.
    is_wanted = (found["confidence"] > score_threshold) & (boxes[:, 2:] > boxes[:, :2]).all(axis=1)
    return detections.select(found, is_wanted)


def _ap(expected, found, shapes):
    """COCO's metrics of the detections `found` with `expected` as ground truth."""
    num_classes = 1 + max(int(np.max(image["classes"], initial=-1)) for image in [*expected, *found])
    records = []
    for number, (image, (height, width)) in enumerate(zip(expected, shapes)):
        records.append(coco_data.ImageRecord(
            id=number,
            path="",
            height=height,
            width=width,
            boxes=image["boxes"],
            classes=image["classes"],
            areas=(image["boxes"][:, 2:] - image["boxes"][:, :2]).prod(axis=1),
            crowd_boxes=np.zeros([0, 4], np.float32),
            crowd_classes=np.zeros([0], np.int32),
        ))  # fmt: skip
    names = tuple(map(str, range(num_classes)))
    dataset = coco_data.CocoDataset(records, names, tuple(range(1, num_classes + 1)), coco_data.LoadReport())
    return _metrics(found, dataset, records)


def _metrics(found, dataset, records):
    evaluator = coco.CocoEvaluator(dataset)
    for record, of_image in zip(records, found):
        evaluator.add(record.id, of_image)
    return evaluator.result(only_added=True).metrics


def _common_class_names(reference, candidates):
    """The reference's class names, None where it has none; an error where a candidate has others."""
    expected = class_names(reference)
    for path in candidates:
        names = class_names(path)
        if None not in (expected, names) and names != expected:
            raise ValueError(f"{path} has the classes {', '.join(names)}, {reference} has {', '.join(expected)}")
    return expected


def class_names(path):
    file = pathlib.Path(path) / assets.DIRECTORY / "class_names.json"
    return json.loads(file.read_text()) if file.is_file() else None


def _records(annotations, files, class_names):
    """(`CocoDataset`, its records of the files)."""
    dataset = coco_data.load_coco(annotations, images_dir=None, class_names=class_names)
    names = [pathlib.Path(record.path).name for record in dataset.images]
    by_name = dict(zip(names, dataset.images))
    numbers = collections.Counter(names), collections.Counter(file.name for file in files)
    twice = [file.name for file in files if any(number[file.name] > 1 for number in numbers)]
    if twice:
        raise ValueError(f"images are told by their file names, and there are several of the name {twice[0]}")
    unknown = [str(file) for file in files if file.name not in by_name]
    if unknown:
        raise ValueError(f"{annotations} has no image {', '.join(first_ones(unknown, 5))}")
    records = [by_name[file.name] for file in files]
    if not any(len(record.boxes) for record in records):
        raise ValueError(f"{annotations} has no box on these images, so no AP can be measured: leave it out")
    return dataset, records
