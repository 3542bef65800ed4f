"""What a person should look at, as COCO JSON that labelling tools open: images and annotations in order of priority.

What was found of an annotation, or of an image without annotations, is its field "review":

    {"rank": 1, "kind", "score", "reason", "box": [x, y, width, height] or null, "category_id": or null}

"box" and "category_id" are what the detector suggests; null: to remove the annotation.
"""

import collections
import collections.abc
import typing

from gfl_tf.data.coco import CocoDataset
from gfl_tf.evaluation.review import Finding


def of_annotations(
    content: dict[str, typing.Any], dataset: CocoDataset, findings: collections.abc.Sequence[Finding]
) -> dict[str, typing.Any]:
    """The images that findings are of, with all their annotations, those with a finding first, in its order.

    An object that is not annotated becomes an annotation with a new id and the detector's box.

    Args:
        content: of the annotation file, in COCO's form.
        dataset: what `load_coco` made of it, or of some of its images.
        findings: of `review.Review`, the most doubtful first.
    """
    boxes_of = _entries_of_boxes(content, dataset)
    next_id = max((entry["id"] for entry in content["annotations"] if isinstance(entry["id"], int)), default=0) + 1
    reviewed = []
    for rank, finding in enumerate(findings, 1):
        image_id = dataset.images[finding.image].id
        review = _review(rank, finding, dataset)
        if finding.annotation is None:
            entry = {"id": next_id, "image_id": image_id, "category_id": review["category_id"], "bbox": review["box"]}
            entry |= {"area": review["box"][2] * review["box"][3], "iscrowd": 0}
            next_id += 1
        else:
            entry = boxes_of[image_id][finding.annotation]
        reviewed.append({**entry, "review": review})
    image_ids = dict.fromkeys(entry["image_id"] for entry in reviewed)
    done = {entry["id"] for entry in reviewed}
    others = [each for each in content["annotations"] if each["image_id"] in image_ids and each["id"] not in done]
    images = {image["id"]: image for image in content["images"]}
    return {
        "images": [images[image_id] for image_id in image_ids],
        "annotations": reviewed + others,
        "categories": content["categories"],
    }


def of_images(
    content: dict[str, typing.Any], dataset: CocoDataset, findings: collections.abc.Sequence[Finding]
) -> dict[str, typing.Any]:
    """Images without annotations, each with its finding; arguments as `of_annotations`."""
    images = {image["id"]: image for image in content["images"]}
    ranked = [
        {**images[dataset.images[finding.image].id], "review": _review(rank, finding, dataset)}
        for rank, finding in enumerate(findings, 1)
    ]
    return {"images": ranked, "annotations": [], "categories": content["categories"]}


def _entries_of_boxes(content, dataset):
    """{image id: the annotations that became the boxes of its record}, in their order."""
    left_out = set(dataset.report.degenerate_annotations)
    found = collections.defaultdict(list)
    for entry in content["annotations"]:
        if entry["id"] not in left_out and entry.get("iscrowd") not in (1, "1"):
            found[entry["image_id"]].append(entry)
    return found


def _review(rank, finding, dataset):
    box = category_id = None
    if finding.box:
        x1, y1, x2, y2 = finding.box
        box = [round(value, 2) for value in (x1, y1, x2 - x1, y2 - y1)]
        category_id = dataset.category_ids[finding.label]
    return {
        "rank": rank,
        "kind": finding.kind,
        "score": round(finding.score, 6),
        "reason": finding.reason,
        "box": box,
        "category_id": category_id,
    }
