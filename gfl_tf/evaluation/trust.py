"""How far a detector's scores and stated edges can be trusted, over a data set."""

import collections.abc
import typing

from gfl_tf.data import pipeline
from gfl_tf.data.coco import CocoDataset
from gfl_tf.evaluation import coco, edges, scores
from gfl_tf.evaluation.matches import MatchedEdges, Matches

if typing.TYPE_CHECKING:
    from gfl_tf.detectors.detector import Detector


def evaluate(
    model: "Detector",
    dataset: CocoDataset,
    batch_size: int,
    scale: tuple[int, int],
    progress: collections.abc.Callable[[int, int], None] | None = None,
) -> tuple[coco.CocoResult, dict[str, typing.Any]]:
    """`coco.evaluate`, and {"scores": `scores.summary`, "edges": `edges.summary`} of the same detections.

    There are no edges where the detector states no spread, and neither where the data set has no box.
    """
    found = Matches()
    detect = coco.detect_function(model, with_strides=True)
    result = coco.evaluate(model, dataset, batch_size, scale, detect=detect, progress=progress, observe=found.add)
    if not dataset.num_boxes:
        return result, {}
    measured = {"scores": scores.summary(found.scored())}
    of_edges = found.edges()
    if of_edges is not None:
        calibration = model.edge_calibration
        measured["edges"] = edges.summary(of_edges, calibration and calibration.levels, dataset.class_names)
    return result, measured


def matched_edges(
    model: "Detector", dataset: CocoDataset, batch_size: int, scale: tuple[int, int]
) -> MatchedEdges | None:
    """Those of all detections that find an object; None: the detector states no spread."""
    found = Matches()
    batches = pipeline.evaluation_batches(dataset, batch_size, scale=scale, pad_value=model.pad_value)
    coco.collect(model, dataset, batches, coco.detect_function(model, with_strides=True), observe=found.add)
    return found.edges()
