"""What a detector predicts at its positives: the places where its own assigner puts the objects of annotated images."""

import collections.abc
import typing

import numpy as np
import tensorflow as tf

from gfl_tf.boxes.distributions import GeneralDistribution
from gfl_tf.detectors import training
from gfl_tf.ops import distributions

if typing.TYPE_CHECKING:
    from gfl_tf.detectors.detector import Detector

TOP = 4  # probabilities that are kept of each side: as many as GFLv2's DGQP reads


class Positives(typing.NamedTuple):
    """K positives; tensors of a batch, arrays of a data set.

    Attributes:
        image: int [K], row of the batch; in a data set, the image's index.
        box: int [K], index of the object in the labels of its image.
        points_px: float32 [K, 2]; strides: float32 [K], of the place, in pixels.
        boxes, target_boxes: float32 [K, 4], predicted and wanted, xyxy in pixels of the network's input.
        iou: float32 [K], of the two.
        class_score: float32 [K], of the object's class: the sigmoid of the class output.
        score: float32 [K], of the object's class as detections have it, the quality included.
        quality: float32 [K], of an output of its own; None: the head has none.
        top: float32 [K, 4, k], the largest probabilities of each side, falling; None: there are no distributions.
    """

    image: tf.Tensor | np.ndarray
    box: tf.Tensor | np.ndarray
    points_px: tf.Tensor | np.ndarray
    strides: tf.Tensor | np.ndarray
    boxes: tf.Tensor | np.ndarray
    target_boxes: tf.Tensor | np.ndarray
    iou: tf.Tensor | np.ndarray
    class_score: tf.Tensor | np.ndarray
    score: tf.Tensor | np.ndarray
    quality: tf.Tensor | np.ndarray | None
    top: tf.Tensor | np.ndarray | None


def positives(model: "Detector", images: tf.Tensor, labels: dict[str, typing.Any]) -> Positives:
    """Those of a batch, by one pass of the network.

    Args:
        model: a detector.
        images: [B, H, W, 3], RGB in 0..255.
        labels: "boxes", "classes" and, if there is one, "image_shape", as in training.
    """
    outputs = model(images, training=False)
    return of_outputs(model, outputs, assign(model, outputs, images, labels))


def assign(
    model: "Detector", outputs: dict[str, tf.Tensor], images: tf.Tensor, labels: dict[str, typing.Any]
) -> training.Assigned:
    """What the model's assigner makes of a batch whose raw outputs are there."""
    boxes, classes, image_shape = training.dense_labels(model, images, labels)
    return training.assign(model, outputs, boxes, classes, model.grid.on(tf.shape(images)[1:3], image_shape))


def of_outputs(model: "Detector", outputs: dict[str, tf.Tensor], assigned: training.Assigned) -> Positives:
    """`positives` of raw outputs and what was assigned to them."""
    found, which = assigned.positives, tf.where(assigned.assignment.is_positive)  # [K, 2]: image, candidate

    def chosen(values):
        return tf.gather_nd(values, which)

    outputs = {name: chosen(values) for name, values in found.outputs.items()}
    scores, factors = model.score.scores(outputs), model.score.factors(outputs)
    scores = scores if factors is None else scores * factors
    classes = chosen(assigned.classes)
    top = None
    if isinstance(model.boxes, GeneralDistribution):
        probabilities = distributions.side_probabilities(outputs["box"])
        top = tf.math.top_k(probabilities, min(TOP, model.boxes.num_bins + 1)).values
    return Positives(
        image=which[:, 0],
        box=chosen(assigned.assignment.box),
        points_px=chosen(found.places.points_px),
        strides=chosen(found.places.strides),
        boxes=chosen(found.boxes),
        target_boxes=chosen(found.target_boxes),
        iou=chosen(found.iou),
        class_score=tf.gather(tf.sigmoid(outputs["classification"]), classes, batch_dims=1),
        score=tf.gather(scores, classes, batch_dims=1),
        quality=tf.sigmoid(outputs["quality"])[:, 0] if "quality" in outputs else None,
        top=top,
    )


def joined(parts: collections.abc.Sequence[Positives]) -> Positives:
    """Arrays of several batches, one after the other."""
    return Positives(*(None if values[0] is None else np.concatenate(values) for values in zip(*parts)))
