"""Annotations that disagree with a detector, the most doubtful first: the boxes that a person should look at.

Every detection is paired with the annotation, of any class, that it overlaps most of those that no surer detection has.
What disagrees is of one of `KINDS`, with a doubt in 0..1, c being the detection's own score:

    edges       c (1 - h / e) of the side where that is largest: e is how far the annotated side lies from the
                detection's, h half the width of the interval around it. Without a spread: c (1 - IoU)
    class       c less the score of the best detection there of the annotated class
    missing     c (1 - the largest IoU with any annotation), of detections that have none
    spurious    1, of annotations that no detection has

Doubts of different kinds do not compare: where many objects are not annotated, one that is found and not annotated says
little. So a finding's score is a share: of how many cases of its kind the doubt is smaller. The cases are all
annotations or, of "missing", all detections of at least `MIN_SCORE`.

The kinds are those of Schubert et al., "Identifying Label Errors in Object Detection Datasets by Loss Inspection", WACV
2024 (shift, flip, drop, spawn); docs/review.md compares the ranking with one by the loss, as theirs is.
"""

import collections.abc
import typing

import numpy as np

from gfl_tf import detections
from gfl_tf.data.coco import CocoDataset, ImageRecord
from gfl_tf.evaluation import edges, matches

KINDS = {
    "edges": "sides that lie elsewhere than what is found",
    "class": "another class than what is found",
    "missing": "nothing is annotated where an object is found",
    "spurious": "nothing is found where an object is annotated",
}
MIN_IOU = 0.3  # of a pair: an annotation that is far off still belongs to what is found there
MIN_SCORE = 0.3  # of detections that can say that an annotation is wrong
LEVEL = 0.95  # of the intervals of a detector that is not calibrated


class Finding(typing.NamedTuple):
    """One disagreement.

    Attributes:
        image: its index in the data set.
        kind: one of `KINDS`.
        score: in 0..1, the larger the more a person should look at it; see where it is made.
        reason: in words.
        annotation: index of the box in the image's record; None: there is none.
        box: what the detector suggests, xyxy in pixels of the image file; None: to remove the annotation.
        label: class that it suggests; None: see `box`.
    """

    image: int
    kind: str
    score: float
    reason: str
    annotation: int | None = None
    box: tuple[float, float, float, float] | None = None
    label: int | None = None


class Review:
    """Collects the disagreements of a data set's images.

    Args:
        dataset: `CocoDataset`.
        level: of the widest intervals of a calibrated detector; None: it is not calibrated, its edges are taken for
            normal, in intervals of `LEVEL`.

    Attributes:
        findings: list of `Finding` whose scores are the doubts, as they came.
        has_spread: whether the detector states how sure its edges are.
    """

    def __init__(self, dataset: CocoDataset, level: float | None = None):
        self._dataset = dataset
        self._level = level
        self.findings = []
        self._num_detections = 0
        self.has_spread = False

    def add(
        self, index: int, record: ImageRecord, found: dict[str, np.ndarray], shape: tuple[int, int] | None = None
    ) -> None:
        """Adds an image; what `coco.collect` calls for each.

        Args:
            index: of the image in the data set.
            record: the image.
            found: record of `gfl_tf.detections` in pixels of the image file.
            shape: not used.
        """
        self.has_spread = "edge_stddev" in found
        labels = np.asarray(found["classes"]).astype(int)
        has_category = np.array([each is not None for each in self._dataset.category_ids])
        found = detections.select({**found, "classes": labels}, has_category[labels])
        pairs = matches.match(*matches.without_classes(record, found), MIN_IOU)
        counted = (found["confidence"] >= MIN_SCORE) & (pairs.objects != matches.IN_CROWD)
        self._num_detections += int(counted.sum())
        for number in np.flatnonzero(counted):
            if pairs.objects[number] == matches.FALSE:
                self._miss(index, found, number, pairs.iou[number])
            else:
                self._compare(index, record, found, number, pairs.objects[number])
        for number in np.setdiff1d(np.arange(len(record.boxes)), pairs.objects):
            self.findings.append(Finding(index, "spurious", 1.0, "nothing is found here", int(number)))

    def ranking(self, kinds: collections.abc.Iterable[str] = tuple(KINDS)) -> list[Finding]:
        """All disagreements of these kinds, the largest score first."""
        found = []
        for kind in kinds:
            of_kind = [each for each in self.findings if each.kind == kind]
            cases = self._num_detections if kind == "missing" else self._dataset.num_boxes
            doubts = np.sort([each.score for each in of_kind])
            for each in of_kind:
                at_least = len(doubts) - np.searchsorted(doubts, each.score)
                found.append((each._replace(score=1 - float(at_least) / cases), each.score))
        return [each for each, _ in sorted(found, key=lambda pair: (pair[0].score, pair[1]), reverse=True)]

    def _miss(self, index, found, number, overlap):
        score = found["confidence"][number]
        reason = f"{self._name(found['classes'][number])} is found with a score of {score:.2f}, and not annotated"
        self.findings.append(_finding(index, "missing", 1 - overlap, reason, None, found, number))

    def _compare(self, index, record, found, number, annotation):
        if found["classes"][number] != record.classes[annotation]:
            kind, (doubt, reason) = "class", self._class_doubt(record, found, number, annotation)
        else:
            kind, (doubt, reason) = "edges", self._edge_doubt(record.boxes[annotation], found, number)
        if doubt > 0:
            self.findings.append(_finding(index, kind, doubt, reason, int(annotation), found, number))

    def _class_doubt(self, record, found, number, annotation):
        """What times the detection's score is this less that of the best detection of the annotated class."""
        score, annotated = found["confidence"][number], record.classes[annotation]
        overlaps = matches.iou(found["boxes"], record.boxes[annotation : annotation + 1])[:, 0]
        same = (found["classes"] == annotated) & (overlaps >= MIN_IOU)
        other = found["confidence"][same].max(initial=0.0)
        names = self._name(found["classes"][number]), self._name(annotated)
        return 1 - other / score, f"{names[0]} is found here with a score of {score:.2f}, {names[1]} with {other:.2f}"

    def _edge_doubt(self, box, found, number):
        if "edge_stddev" not in found:
            overlap = matches.iou(found["boxes"][number : number + 1], box[np.newaxis])[0, 0]
            return 1 - overlap, f"has an IoU of {overlap:.2f} with what is found"
        if self._level:
            half, level = found["edge_interval"][number, -1], self._level
        else:
            half, level = edges.normal_factor(LEVEL) * found["edge_stddev"][number], LEVEL
        errors = np.abs(found["boxes"][number] - box)
        outside = errors - half
        sides = [
            f"{edges.SIDES[side]} edge {outside[side]:.0f} px" for side in np.argsort(-outside) if outside[side] > 0
        ]
        doubt = np.max(1 - half / np.maximum(errors, 1e-6))
        return doubt, f"{', '.join(sides)} outside the {level:.0%} interval"

    def _name(self, label):
        return self._dataset.class_names[int(label)]


def _finding(index, kind, doubt, reason, annotation, found, number):
    score, label = float(found["confidence"][number] * doubt), int(found["classes"][number])
    return Finding(index, kind, score, reason, annotation, tuple(found["boxes"][number].tolist()), label)
