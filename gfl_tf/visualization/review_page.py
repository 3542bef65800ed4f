"""The page of what a person should look at: each with a picture, its annotated and its suggested box."""

import collections
import collections.abc
import os

from gfl_tf.data.coco import CocoDataset
from gfl_tf.evaluation.review import Finding
from gfl_tf.visualization import pages, pictures

SIDE_PX = 300
ANNOTATED, SUGGESTED = (255, 0, 90), (0, 190, 230)


def write(
    path: str | os.PathLike,
    dataset: CocoDataset,
    findings: collections.abc.Sequence[Finding],
    most: int,
    kinds: dict[str, str],
    notes: collections.abc.Sequence[str],
) -> None:
    """Writes the page.

    Args:
        path: of the HTML file.
        dataset: `CocoDataset` that was reviewed.
        findings: all of them, the most important first.
        most: how many are shown.
        kinds: {kind: what it is}.
        notes: what to know before one reads it.
    """
    count = len(dataset.images)
    counts = [collections.Counter(each.kind for each in part) for part in (findings[:most], findings)]
    rows = [("kind", "what it is", f"of the first {min(most, len(findings))}", f"of all {len(findings)}")]
    rows += [(kind, text, *(found[kind] for found in counts)) for kind, text in kinds.items()]
    pages.write(
        path,
        "review.html",
        title=f"Review of {count} images" if dataset.num_boxes else f"Which of {count} images to annotate",
        notes=notes,
        rows=rows,
        annotated=ANNOTATED,
        suggested=SUGGESTED,
        has_annotations=dataset.num_boxes > 0,
        examples=[_example(dataset, rank, finding) for rank, finding in enumerate(findings[:most], 1)],
    )


def _example(dataset, rank, finding):
    record = dataset.images[finding.image]
    boxes = []
    if finding.box:
        boxes.append((finding.box, SUGGESTED))
    if finding.annotation is not None:
        boxes.append((record.boxes[finding.annotation], ANNOTATED))
    label = finding.label if finding.annotation is None else record.classes[finding.annotation]
    return {
        "rank": rank,
        "kind": finding.kind,
        "class_name": "" if label is None else dataset.class_names[label],
        "reason": finding.reason,
        "file": os.path.basename(record.path),
        "picture": pictures.data_uri(record.path, boxes, record.orientation != 1, SIDE_PX),
    }
