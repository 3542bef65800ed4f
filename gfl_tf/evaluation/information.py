"""Unlabelled images, those first whose annotation a detector would learn most from.

An image's score is the mean of 1 - c over its detections with a score c of at least `MIN_SCORE`: the least confidence
(Settles, "Active Learning Literature Survey", 2009), averaged over an image's detections as Brust et al. do, "Active
Learning for Deep Object Detection" (arXiv 1809.09875). In GFL, GFLv2 and VarifocalNet c says how well the box lies,
too. docs/review.md compares it with other scores, among them those of the edges' spread.
"""

import numpy as np

from gfl_tf.data.coco import ImageRecord
from gfl_tf.evaluation.review import MIN_SCORE, Finding

NONE = "none"
KINDS = {
    "unsure": "what is found is unsure",
    NONE: f"nothing is found with a score of at least {MIN_SCORE}",
}


class Information:
    """Collects the scores of a data set's images."""

    def __init__(self):
        self._findings = []

    def add(
        self, index: int, record: ImageRecord, found: dict[str, np.ndarray], shape: tuple[int, int] | None = None
    ) -> None:
        """Adds an image; what `coco.collect` calls for each. Neither its record nor `shape` is used."""
        scores = found["confidence"][found["confidence"] >= MIN_SCORE]
        if len(scores):
            reason = f"detections: {len(scores)}, with a mean score of {scores.mean():.2f}"
            self._findings.append(Finding(index, "unsure", float(1 - scores.mean()), reason))
        else:
            self._findings.append(Finding(index, NONE, 0.0, KINDS[NONE]))

    def ranking(self) -> list[Finding]:
        """One for each image, those with most to learn first, those without a detection last."""
        return sorted(self._findings, key=lambda each: -each.score)
