"""Whether the best box of an object survives the suppression (GFLv2, figure 7)."""

import typing

import numpy as np

from gfl_tf.evaluation import matches

SHOWN = 4  # the paper's figure has the boxes of the four best scores
EXAMPLES = 3
MARGIN = 0.25  # of an example's picture around its boxes, of their longer side
CLEARLY = 0.1


class Boxes(typing.NamedTuple):
    """n boxes of an image that stand for a class: [n, 4] xyxy, int [n], [n]."""

    boxes: np.ndarray
    classes: np.ndarray
    scores: np.ndarray

    def at(self, index: np.ndarray) -> "Boxes":
        return Boxes(*(values[index] for values in self))


class OfObject(typing.NamedTuple):
    """What there is of an object: boxes of its class that overlap it more than any other object, by `matches.MIN_IOU`
    at least, the best scores first.

    Attributes:
        before, after: `Boxes` before and after the suppression.
        iou_before, iou_after: [n], with the object.
    """

    before: Boxes
    iou_before: np.ndarray
    after: Boxes
    iou_after: np.ndarray

    @property
    def best_iou(self) -> float:
        return float(self.iou_before.max(initial=0.0))

    @property
    def kept_iou(self) -> float:
        """Of the surest box that is left; 0: none is."""
        return float(self.iou_after[0]) if len(self.iou_after) else 0.0

    @property
    def lost(self) -> float:
        return self.best_iou - self.kept_iou


def of_candidates(boxes: np.ndarray, scores: np.ndarray) -> Boxes:
    """Boxes [K, 4] with their class scores [K, C], once for each score above 0."""
    candidate, classes = np.nonzero(scores > 0)
    return Boxes(boxes[candidate], classes, scores[candidate, classes])


def of_image(objects: np.ndarray, classes: np.ndarray, before: Boxes, after: Boxes) -> list[OfObject]:
    """An `OfObject` for each object [M, 4] of class [M], all in the same pixels."""
    parts = [(each, *_owners(each, objects, classes)) for each in (before, after)]
    found = []
    for number in range(len(objects)):
        of_object = []
        for each, owner, iou in parts:
            index = np.flatnonzero(owner == number)
            index = index[np.argsort(-each.scores[index], kind="stable")]
            of_object += [each.at(index), iou[index]]
        found.append(OfObject(*of_object))
    return found


def _owners(found, objects, classes):
    """(int [n], the object to which each box belongs, -1: to none; [n], its IoU with it)."""
    if not len(objects) or not len(found.boxes):
        return np.full(len(found.boxes), -1), np.zeros(len(found.boxes))
    iou = matches.iou(found.boxes, objects) * (found.classes[:, np.newaxis] == classes)
    best = iou.max(axis=1)
    return np.where(best >= matches.MIN_IOU, iou.argmax(axis=1), -1), best


def measure(best_iou: np.ndarray, kept_iou: np.ndarray) -> dict:
    """What the suppression costs, over n objects: the IoU of the best box before, and of the surest box after it.

    Returns a dict: "objects"; "found_before": how many have a box, and of these: "mean_best_iou", "mean_kept_iou",
    "best_is_kept" (the share), "clearly_lost" (the share that loses more than `CLEARLY`), "nothing_kept" (the share).
    """
    has_box = best_iou > 0
    best, kept = best_iou[has_box], kept_iou[has_box]
    numbers = {"objects": len(best_iou), "found_before": int(has_box.sum())}
    if not len(best):
        return numbers
    return {
        **numbers,
        "mean_best_iou": float(best.mean()),
        "mean_kept_iou": float(kept.mean()),
        "best_is_kept": float(np.mean(kept >= best - 1e-6)),
        "clearly_lost": float(np.mean(best - kept > CLEARLY)),
        "nothing_kept": float(np.mean(kept == 0)),
    }


def example(image_id: typing.Any, name: str, box: np.ndarray, of_object: OfObject, pixels: np.ndarray) -> dict:
    """An object for the figure: the boxes of the best `SHOWN` scores before, the best box, and what is left after.

    Args:
        image_id: as the annotations have it.
        name: of the class.
        box: [4], the object, in pixels of the network's input like all boxes here.
        of_object: what there is of it.
        pixels: uint8 [h, w, 3], the image; the result has a part of it.

    Returns a dict; its boxes are {"box", "score", "iou"} in pixels of its "pixels".
    """
    shown = np.arange(min(SHOWN, len(of_object.iou_before)))
    best = int(of_object.iou_before.argmax())
    boxes = np.concatenate([box[np.newaxis], of_object.before.boxes[[*shown, best]], of_object.after.boxes])
    low, high = boxes[:, :2].min(axis=0), boxes[:, 2:].max(axis=0)
    margin = MARGIN * (high - low).max()
    left, top = np.maximum(np.floor(low - margin), 0).astype(int)
    right, bottom = np.minimum(np.ceil(high + margin), pixels.shape[1::-1]).astype(int)

    def row(found, iou, index):
        place = [round(float(side), 2) for side in found.boxes[index] - (left, top, left, top)]
        return {"box": place, "score": float(found.scores[index]), "iou": float(iou[index])}

    return {
        "image_id": image_id,
        "class": name,
        "object": [round(float(side), 2) for side in box - (left, top, left, top)],
        "before": [row(of_object.before, of_object.iou_before, index) for index in shown],
        "best": row(of_object.before, of_object.iou_before, best),
        "after": [row(of_object.after, of_object.iou_after, index) for index in range(len(of_object.iou_after))],
        "pixels": pixels[top:bottom, left:right],
    }
