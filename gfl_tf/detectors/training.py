"""The loss of a dense detector: the positives of a batch, and a list of terms over them, normalised in one place."""

import typing

import tensorflow as tf

from gfl_tf.assigners.assignment import Assignment
from gfl_tf.assigners.valuable_region import valuable_region
from gfl_tf.compat import keras_cv
from gfl_tf.detectors import checks
from gfl_tf.ops import boxes as box_ops
from gfl_tf.ops import distances as distance_ops
from gfl_tf.ops import grid as grids

# Of a positive: keeps it one in the loss where its box misses the ground truth, as in VarifocalNet's reference.
MIN_IOU = 1e-6


class Positives(typing.NamedTuple):
    """The assigner's N candidates of each image, and what is predicted and wanted there.

    Attributes:
        mask: float32 [B, N], 1 for positives; what belongs to other entries is to be masked.
        outputs: {name: [B, N, ...]} raw outputs.
        places: `Places` [B, N].
        target_boxes, boxes: [B, N, 4], xyxy in pixels, wanted and predicted.
        iou: [B, N] of the two, detached, 0 where it is no positive.
    """

    mask: tf.Tensor
    outputs: dict
    places: grids.Places
    target_boxes: tf.Tensor
    boxes: tf.Tensor
    iou: tf.Tensor

    def quality(self, kind: str) -> tf.Tensor:
        """[B, N], 0 where it is no positive; `kind`: "iou" or "centerness"."""
        if kind == "iou":
            return self.iou
        return centerness(distance_ops.boxes_to_distances(self.places.points_px, self.target_boxes)) * self.mask

    def with_boxes(self, boxes: tf.Tensor) -> "Positives":
        """The same with other predicted boxes."""
        iou = tf.maximum(tf.stop_gradient(box_ops.iou(self.target_boxes, boxes)), MIN_IOU) * self.mask
        return self._replace(boxes=boxes, iou=iou)


class Assigned(typing.NamedTuple):
    """What the places of a batch learn.

    Attributes:
        assignment: `Assignment`, with N candidates an image.
        classes: int32 [B, N], of the box that each candidate learns; of other entries any, -1 too.
        by_output: {box output: `Positives` with its boxes}, the final boxes last.
    """

    assignment: Assignment
    classes: tf.Tensor
    by_output: dict[str, Positives]

    @property
    def positives(self) -> Positives:
        """With the final boxes."""
        return list(self.by_output.values())[-1]


def centerness(distances: tf.Tensor) -> tf.Tensor:
    """How central a point lies in its box (Tian et al., "FCOS", ICCV 2019, eq. 3): sqrt(l'/r' t'/b') in [0, 1].

    `distances`: [..., 4] to the sides; of points outside, where one is negative, the centerness is 0.
    l' and r' are the smaller and the larger of left and right, t' and b' of top and bottom.
    """
    left, top, right, bottom = tf.unstack(tf.maximum(distances, 0.0), axis=-1)
    horizontal = tf.math.divide_no_nan(tf.minimum(left, right), tf.maximum(left, right))
    vertical = tf.math.divide_no_nan(tf.minimum(top, bottom), tf.maximum(top, bottom))
    return tf.sqrt(horizontal * vertical)


def loss_weights(model: typing.Any) -> dict[str, float]:
    """{term of a detector's loss: its weight}, without those of weight 0."""
    weights = {
        "classification_loss": model.classification_weight,
        "quality_loss": model.score.quality and model.score.quality_weight,
        **{f"{name}_loss": weight for name, weight in model.box_weights.items()},
        model.boxes.loss_name: model.boxes.loss_weight,
        **(model.distillation.loss_weights if model.distillation else {}),
    }
    return {name: weight for name, weight in weights.items() if weight}


def metric_names(model: typing.Any) -> tuple[str, ...]:
    """The keys of `detection_losses`' result, in their order."""
    return ("loss", *loss_weights(model), "num_positives", "mean_iou")


def detection_losses(
    model: typing.Any,
    outputs: dict[str, tf.Tensor],
    boxes: tf.Tensor,
    classes: tf.Tensor,
    image_shape: tf.Tensor,
    canvas_shape: tf.Tensor,
    image_weights: tf.Tensor | None = None,
) -> dict[str, tf.Tensor]:
    """`Detector.detection_losses`: a list of terms over the positives, each summed, weighted and divided here."""
    grid = model.grid.on(canvas_shape, image_shape)
    assigned = assign(model, outputs, boxes, classes, grid)
    assignment, positives = assigned.assignment, assigned.positives
    mask, score = positives.mask, model.score
    num_positives = tf.maximum(sum_over_replicas(tf.reduce_sum(mask)), 1.0)
    norm = num_positives
    if model.count_empty_images:
        norm = sum_over_replicas(tf.reduce_sum(tf.maximum(tf.reduce_sum(mask, axis=1), 1.0)))

    def averaged(losses, weights):
        # At least 1 over the global batch (the reference: on each replica), so that N replicas of b images make the
        # same update as one of N * b.
        return losses, weights, tf.maximum(sum_over_replicas(tf.reduce_sum(weights)), 1.0)

    def of_boxes(losses, positives):
        weights = score.box_weights(positives)
        return (losses, weights, norm) if score.weight_boxes_by == "none" else averaged(losses, weights)

    class_targets = targets_at_places(score.targets(positives), assigned, outputs["classification"])
    class_loss = score.classification_loss(model.classification_loss, class_targets, outputs)  # [B, P]
    class_loss = _guided(class_loss, score.guidance(positives), mask, assignment.place)
    # {name: (losses, their weights, what their sum is divided by)}
    terms = {"classification_loss": (class_loss, tf.cast(assignment.counts, tf.float32), norm)}
    if score.quality:
        terms["quality_loss"] = score.quality_loss(positives), mask, norm
    for name, predicted in assigned.by_output.items():
        terms[f"{name}_loss"] = of_boxes(model.box_loss.call(predicted.target_boxes, predicted.boxes), predicted)
    if model.boxes.loss_weight:
        own = model.boxes.loss(positives.outputs["box"], positives.target_boxes, positives.places)
        terms[model.boxes.loss_name] = of_boxes(own, positives)
    if model.distillation:
        learnt = _distillation_terms(model, outputs, boxes, classes, grid, positives)
        terms.update({name: averaged(*term) for name, term in learnt.items()})

    image_weights = 1.0 if image_weights is None else image_weights[:, tf.newaxis]
    parts = {}
    for name, weight in loss_weights(model).items():
        losses, weights, divisor = terms[name]
        parts[name] = weight * tf.reduce_sum(losses * weights * image_weights) / divisor
    return {
        "loss": tf.add_n(list(parts.values())),
        **parts,
        "num_positives": tf.reduce_sum(mask),
        "mean_iou": tf.reduce_sum(positives.iou) / num_positives,
    }


def _distillation_terms(model, outputs, boxes, classes, grid, positives):
    """{term: (losses, their weights)} of what is learnt from a teacher, whose raw outputs are in `outputs`."""
    distillation = model.distillation
    # Weighted as the student's own box losses are.
    at_positives = distillation.side_losses(positives.outputs), model.score.box_weights(positives)
    terms = {"localization_distillation_loss": at_positives}
    if distillation.vlr_weight:
        thresholds = model.assigner.positive_thresholds(boxes, grid)
        region = valuable_region(boxes, classes, thresholds, grid, distillation.vlr_gamma)
        terms["region_distillation_loss"] = distillation.side_losses(outputs), tf.cast(region, tf.float32)
    if distillation.class_weight:
        terms["class_distillation_loss"] = distillation.class_losses(positives.outputs), positives.mask
    return terms


def loss_values(
    model: typing.Any,
    images: tf.Tensor,
    labels: dict[str, typing.Any],
    outputs: dict[str, tf.Tensor],
    sample_weight: tf.Tensor | None,
) -> tuple[tf.Tensor, dict[str, tf.Tensor]]:
    """(the loss to minimize, {metric's name: its new value}) in a replica; see `Detector.compute_loss`.

    `outputs`: raw outputs, those of a teacher with them or not.
    """
    boxes, classes, image_shape = dense_labels(model, images, labels)
    if sample_weight is not None:
        sample_weight = tf.reshape(tf.cast(sample_weight, tf.float32), [tf.shape(images)[0]])
    if model.distillation and not model.distillation.is_in(outputs):
        outputs = model.distillation.with_teacher(outputs, images)
    losses = model.detection_losses(outputs, boxes, classes, image_shape, tf.shape(images)[1:3], sample_weight)
    # Each replica holds its share of a global sum. Added up here, as Keras 2's metrics are the mean over replicas,
    # Keras 3's each replica's own.
    totals = sum_over_replicas(tf.stack([losses[name] for name in model.metric_names]))
    values = dict(zip(model.metric_names, tf.unstack(totals)))
    num_boxes = tf.reduce_sum(tf.cast(classes >= 0, tf.float32))
    seen = tf.reduce_max(tf.cast(images, tf.float32)), num_boxes, losses["num_positives"]
    values.update(zip((metric.name for metric in model.first_batch), seen))
    replicas = tf.distribute.get_strategy().num_replicas_in_sync
    regularization = tf.add_n(model.losses) / replicas if model.losses else 0.0
    return losses["loss"] + regularization, values


def dense_labels(
    model: typing.Any, images: tf.Tensor, labels: dict[str, typing.Any]
) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """Public labels to boxes [B, M, 4] (xyxy pixels), classes [B, M] (int32) and own image shapes [B, 2]."""
    dense = keras_cv.bounding_box.to_dense({name: labels[name] for name in ("boxes", "classes")})
    boxes = keras_cv.bounding_box.convert_format(
        dense["boxes"], source=model.bounding_box_format, target="xyxy", images=images, dtype=tf.float32
    )
    canvas_shape = tf.broadcast_to(tf.shape(images)[1:3], [tf.shape(images)[0], 2])
    image_shape = tf.cast(labels.get("image_shape", canvas_shape), tf.int32)
    classes = checks.checked_labels(images, dense["classes"], model.num_classes)
    return boxes, classes, image_shape


def assign(
    model: typing.Any,
    outputs: dict[str, tf.Tensor],
    boxes: tf.Tensor,
    classes: tf.Tensor,
    grid: grids.Grid,
) -> Assigned:
    """Which places of a grid learn which box, and what is predicted there; see `Detector.detection_losses`."""
    # One slot more, so that there is one to look up where a batch has none.
    boxes, classes = tf.pad(boxes, [[0, 0], [0, 1], [0, 0]]), tf.pad(classes, [[0, 0], [0, 1]], constant_values=-1)
    assignment = model.assigner(boxes, classes, grid, outputs)
    by_output = _positives(model, outputs, boxes, assignment, grid)
    return Assigned(assignment, tf.gather(classes, assignment.box, batch_dims=1), by_output)


def _positives(model, outputs, boxes, assignment, grid):
    """{box output: `Positives` with its boxes}."""
    mask = tf.cast(assignment.is_positive, tf.float32)
    outputs = {name: tf.gather(value, assignment.place, batch_dims=1) for name, value in outputs.items()}
    places, target_boxes = grid.places.at(assignment.place), tf.gather(boxes, assignment.box, batch_dims=1)
    candidates = Positives(mask, outputs, places, target_boxes, boxes=None, iou=None)
    return {name: candidates.with_boxes(model.boxes.decode(outputs[name], places)) for name in model.box_weights}


def targets_at_places(values: tf.Tensor, assigned: Assigned, logits: tf.Tensor) -> tf.Tensor:
    """Class targets [B, P, C], as `logits`: `values` [B, N] at each assigned place and its box's class, 0 elsewhere.

    `values`: 0 where the assignment is not positive.
    """
    place_class = tf.maximum(assigned.classes, 0)
    image = tf.broadcast_to(tf.range(tf.shape(values)[0])[:, tf.newaxis], tf.shape(values))
    return tf.scatter_nd(tf.stack([image, assigned.assignment.place, place_class], axis=-1), values, tf.shape(logits))


def sum_over_replicas(value: tf.Tensor) -> tf.Tensor:
    """Sum of a tensor over the replicas of the current strategy."""
    context = tf.distribute.get_replica_context()
    if context is None or context.num_replicas_in_sync == 1:
        return value
    return context.all_reduce(tf.distribute.ReduceOp.SUM, value)


def _guided(losses, guidance, mask, place):
    """Losses [B, P] whose positives are weighted by `guidance` [B, N], their sum over the batch unchanged."""
    if guidance is None:
        return losses
    of_positives = tf.gather(losses, place, batch_dims=1) * mask
    sums = [sum_over_replicas(tf.reduce_sum(value)) for value in (of_positives, of_positives * guidance)]
    factor = tf.stop_gradient(tf.math.divide_no_nan(*sums))
    image = tf.broadcast_to(tf.range(tf.shape(mask)[0])[:, tf.newaxis], tf.shape(mask))
    changes = of_positives * (guidance * factor - 1.0)
    return losses + tf.scatter_nd(tf.stack([image, place], axis=-1), changes, tf.shape(losses))
