"""ATSS, the baseline that the GFL papers compare with."""

import keras
import tensorflow as tf

from gfl_tf import losses
from gfl_tf.assigners import atss
from gfl_tf.detectors import targets
from gfl_tf.detectors.dense import DenseDetector
from gfl_tf.heads.atss import ATSSHead
from gfl_tf.ops import boxes as box_ops
from gfl_tf.ops import deltas as delta_ops
from gfl_tf.ops import distances as distance_ops
from gfl_tf.ops import points as point_ops


@keras.saving.register_keras_serializable(package="gfl_tf")
class ATSS(DenseDetector):
    """RetinaNet with one anchor a point, a centerness branch and Adaptive Training Sample Selection.

    Zhang et al., "Bridging the Gap Between Anchor-based and Anchor-free Detection", CVPR 2020. Used as `GFL`; its
    detections have no "edge_stddev".

    Args:
        backbone, neck, prediction_decoder, mean, std: see `DenseDetector`.
        num_classes: C.
        bounding_box_format: KerasCV's name for the format of labels and predictions.
        head: default `ATSSHead(num_classes)`.
        classification_weight, box_weight, centerness_weight: of the three parts of the loss.
    """

    metric_names = ("loss", "classification_loss", "box_loss", "centerness_loss", "num_positives", "mean_iou")

    def __init__(
        self,
        backbone,
        num_classes,
        bounding_box_format,
        head=None,
        classification_weight=1.0,
        box_weight=2.0,
        centerness_weight=1.0,
        **kwargs,
    ):
        head = head or ATSSHead(num_classes, name="head")
        super().__init__(backbone, head, num_classes, bounding_box_format, **kwargs)
        self.classification_weight = classification_weight
        self.box_weight = box_weight
        self.centerness_weight = centerness_weight

    def detection_losses(self, outputs, boxes, classes, image_shape, canvas_shape):
        assignment = atss.assign(boxes, classes >= 0, image_shape, canvas_shape)
        positive = tf.cast(assignment.is_positive, tf.float32)  # [B, N]
        class_targets = targets.at_points(positive, assignment, classes, tf.shape(outputs["classification"]))
        class_loss = tf.reduce_sum(losses.focal_loss(class_targets, outputs["classification"]), axis=-1)  # [B, P]
        class_loss *= targets.is_inside(image_shape, canvas_shape)

        points_px, point_strides = point_ops.grid_points(canvas_shape)
        points_px, point_strides = (tf.gather(t, assignment.point) for t in (points_px, point_strides))
        target_boxes = tf.gather(boxes, assignment.box, batch_dims=1)  # [B, N, 4]
        box_output, centerness_logits = (
            tf.gather(outputs[name], assignment.point, batch_dims=1) for name in ("box", "centerness")
        )
        predicted_boxes = delta_ops.deltas_to_boxes(atss.anchor_boxes(points_px, point_strides), box_output)
        # Boxes count by the centerness that their points should have.
        target_centerness = centerness(distance_ops.boxes_to_distances(points_px, target_boxes)) * positive
        box_loss = losses.giou_loss(target_boxes, predicted_boxes) * target_centerness
        centerness_loss = tf.nn.sigmoid_cross_entropy_with_logits(target_centerness, centerness_logits[..., 0])

        norm = targets.positives_norm(assignment)
        # At least 1 over the global batch, see `GFL`.
        box_norm = tf.maximum(targets.sum_over_replicas(tf.reduce_sum(target_centerness)), 1.0)
        num_positives = tf.reduce_sum(positive)
        all_positives = tf.maximum(targets.sum_over_replicas(num_positives), 1.0)
        parts = {
            "classification_loss": self.classification_weight * tf.reduce_sum(class_loss) / norm,
            "box_loss": self.box_weight * tf.reduce_sum(box_loss) / box_norm,
            "centerness_loss": self.centerness_weight * tf.reduce_sum(centerness_loss * positive) / norm,
        }
        return {
            "loss": tf.add_n(list(parts.values())),
            **parts,
            "num_positives": num_positives,
            "mean_iou": tf.reduce_sum(box_ops.iou(target_boxes, predicted_boxes) * positive) / all_positives,
        }

    def point_scores(self, outputs):
        best_class = tf.sigmoid(tf.reduce_max(outputs["classification"], axis=-1))
        # Pairs are ranked by their class score alone, in the reference that has this rule.
        if self.prediction_decoder.candidates == "pairs":
            return best_class
        return best_class * tf.sigmoid(outputs["centerness"][..., 0])

    def decode_candidates(self, outputs, points_px, point_strides):
        return {
            "boxes": delta_ops.deltas_to_boxes(atss.anchor_boxes(points_px, point_strides), outputs["box"]),
            "scores": tf.sigmoid(outputs["classification"]),
            "score_factors": tf.sigmoid(outputs["centerness"]),
        }

    def get_config(self):
        return {
            **super().get_config(),
            "classification_weight": self.classification_weight,
            "box_weight": self.box_weight,
            "centerness_weight": self.centerness_weight,
        }


def centerness(distances):
    """How central a point lies in its box (Tian et al., "FCOS", ICCV 2019, eq. 3): sqrt(l'/r' t'/b') in [0, 1].

    `distances`: [..., 4] to the sides; of points outside, where one is negative, the centerness is 0.
    l' and r' are the smaller and the larger of left and right, t' and b' of top and bottom.
    """
    left, top, right, bottom = tf.unstack(tf.maximum(distances, 0.0), axis=-1)
    horizontal = tf.math.divide_no_nan(tf.minimum(left, right), tf.maximum(left, right))
    vertical = tf.math.divide_no_nan(tf.minimum(top, bottom), tf.maximum(top, bottom))
    return tf.sqrt(horizontal * vertical)
