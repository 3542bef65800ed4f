"""Pictures of a page, as templates/pictures.html has them: images of a data set with what is annotated and found."""

import collections
import collections.abc
import dataclasses
import os
import typing

import numpy as np
from PIL import Image

from gfl_tf import detections
from gfl_tf.boxes.distributions import GeneralDistribution
from gfl_tf.data.coco import CocoDataset
from gfl_tf.data.source import ImageSource
from gfl_tf.evaluation import matches
from gfl_tf.evaluation.matches import FALSE, IN_CROWD
from gfl_tf.evaluation.sure_detections import MatchedImage
from gfl_tf.visualization import pages, predict
from gfl_tf.visualization.cropping import around, fitted
from gfl_tf.visualization.stated_edges import stated

if typing.TYPE_CHECKING:
    from gfl_tf.detectors.detector import Detector

SIDE_PX, PART_SIDE_PX = 480, 320  # the longer side of a picture of an image, and of a part of one
SAME_IOU = 0.9  # of a detection and the one that stands for it where the image is detected in alone
STATES = {FALSE: "false", IN_CROWD: "in a group"}  # else "right"


class Wanted(typing.NamedTuple):
    """A picture to make: of a whole image, or of what is around detection `row`; with a caption."""

    image: MatchedImage
    caption: str
    row: int | None = None


def make(
    wanted: collections.abc.Sequence[Wanted],
    dataset: CocoDataset,
    model: "Detector | None",
    scale: tuple[int, int],
) -> list[dict[str, typing.Any]]:
    """The pictures, in their order; one image is in memory at a time.

    Args:
        wanted: which ones.
        dataset: whose images these are.
        model: runs on these images once more, for the distributions of the edges; None: they are not shown. A detector
            without distributions does not run.
        scale: (long, short) limits of the keep-ratio resize in front of the network.
    """
    of_index = collections.defaultdict(list)
    for place, each in enumerate(wanted):
        of_index[each.image.index].append(place)
    made = [{}] * len(wanted)
    for index, pixels, edges in _with_edges(sorted(of_index), dataset, model, scale):
        for place in of_index[index]:
            image, caption, row = wanted[place]
            made[place] = _picture(pixels, image, edges(image.found), dataset.class_names, caption, row)
    return made


def _with_edges(indices, dataset, model, scale):
    """Of each image its index, its pixels and a function from its detections to what is stated of their edges."""
    if not indices:
        return
    has_distributions = model is not None and isinstance(model.boxes, GeneralDistribution)
    detect = predict.detect_function(model, scale, True) if has_distributions else None
    chosen = dataclasses.replace(dataset, images=[dataset.images[index] for index in indices])
    for index, pixels in zip(indices, ImageSource(chosen).images().as_numpy_iterator()):
        if detect is None:
            yield index, pixels, lambda found: [[]] * len(found["boxes"])
            continue
        again = detections.of_image(detect(pixels[np.newaxis]))
        levels = model.edge_calibration and model.edge_calibration.levels
        of_again = stated(again, levels)
        yield index, pixels, lambda found: [of_again[row] if row >= 0 else [] for row in _same(found, again)]


def _same(found, again):
    """Which of the detections `again` each of `found` is; -1: none.

    Alone, an image is not padded to the size of a batch, and the numbers differ a little.
    """
    if not len(found["boxes"]) or not len(again["boxes"]):
        return [-1] * len(found["boxes"])
    iou = matches.iou(found["boxes"], again["boxes"]) * np.equal.outer(found["classes"], again["classes"])
    return [int(np.argmax(row)) if row.max() >= SAME_IOU else -1 for row in iou]


def _picture(pixels, image, edges, class_names, caption, row):
    window = np.array([0, 0, pixels.shape[1], pixels.shape[0]])
    if row is not None:
        window = around(image.found["boxes"][row], pixels.shape[1::-1])
    part = Image.fromarray(pixels).crop(tuple(map(int, window)))
    picture = fitted(part, SIDE_PX if row is None else PART_SIDE_PX)
    factor = np.tile(picture.size / (window[2:] - window[:2]), 2)

    def moved(box):
        return [round(float(value), 1) for value in (box - np.tile(window[:2], 2)) * factor]

    record, found = image.record, image.found
    missed = image.is_missed
    truth = [
        {"class": class_names[label], "state": state, "box": moved(box)}
        for boxes, classes, states in (
            (record.crowd_boxes, record.crowd_classes, ["group"] * len(record.crowd_boxes)),
            (record.boxes, record.classes, ["missed" if each else "found" for each in missed]),
        )
        for box, label, state in zip(boxes, classes, states)
        if _overlap(box, window)
    ]
    # Large boxes first, so that a small one inside can be clicked.
    order = np.argsort(-np.prod(found["boxes"][:, 2:] - found["boxes"][:, :2], axis=1), kind="stable")
    return {
        "uri": pages.jpeg_uri(picture),
        "width": picture.width,
        "height": picture.height,
        "is_part": row is not None,
        "name": os.path.basename(record.path),
        "caption": caption,
        "truth": truth,
        "found": [
            {
                "class": class_names[found["classes"][number]],
                "score": round(float(found["confidence"][number]), 4),
                "state": STATES.get(int(image.match.objects[number]), "right"),
                "is_subject": number == row,
                "text": _text(image, number),
                "box": moved(found["boxes"][number]),
                "edges": edges[number],
            }
            for number in map(int, order)
            if _overlap(found["boxes"][number], window)
        ],
    }


def _text(image, number):
    iou, box = image.match.iou[number], image.found["boxes"][number]
    state = STATES.get(int(image.match.objects[number]), "right")
    overlap = f"IoU {iou:.2f} with an object of its class" if iou else "overlaps no object of its class"
    return f"{state}: {overlap}; box {', '.join(f'{value:.0f}' for value in box)} in pixels of the file"


def _overlap(box, window):
    return (np.minimum(box[2:], window[2:]) > np.maximum(box[:2], window[:2])).all()
