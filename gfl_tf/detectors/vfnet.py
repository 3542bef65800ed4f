"""VarifocalNet."""

import keras
import tensorflow as tf

from gfl_tf import losses
from gfl_tf.assigners import atss
from gfl_tf.detectors import targets
from gfl_tf.detectors.dense import DenseDetector
from gfl_tf.heads.vfnet import VFNetHead
from gfl_tf.necks.fpn import FPN
from gfl_tf.ops import boxes as box_ops
from gfl_tf.ops import distances as distance_ops
from gfl_tf.ops import points as point_ops

# Of a positive: keeps it one in the loss where its box misses the ground truth, as in the reference.
MIN_IOU = 1e-6


@keras.saving.register_keras_serializable(package="gfl_tf")
class VFNet(DenseDetector):
    """VarifocalNet: IoU-aware class scores and boxes refined by star-shaped features (VarifocalNet, section 4, eq. 3).

    Zhang et al., "VarifocalNet: An IoU-aware Dense Object Detector", CVPR 2021. Used as `GFL`; its detections have no
    "edge_stddev".

    Args:
        backbone, prediction_decoder, mean, std: see `DenseDetector`.
        num_classes: C.
        bounding_box_format: KerasCV's name for the format of labels and predictions.
        head: default `VFNetHead(num_classes)`.
        neck: default `FPN(extra_relu=True)`.
        classification_loss: a Keras loss of soft targets and logits [B, P, C], giving [B, P] or [B, P, C] unreduced;
            default `VarifocalLoss()`, whose arguments are those of table 2.
        quality_targets: False trains the class scores on hard labels (1 in place of the IoU), for plain focal loss, and
            leaves points outside an image's own extent out of it, as the reference does then alone.
        classification_weight, box_weight, refined_box_weight: of the three parts of eq. 3.
    """

    def __init__(
        self,
        backbone,
        num_classes,
        bounding_box_format,
        head=None,
        neck=None,
        classification_loss=None,
        quality_targets=True,
        classification_weight=1.0,
        box_weight=1.5,
        refined_box_weight=2.0,
        **kwargs,
    ):
        head = head or VFNetHead(num_classes, name="head")
        neck = neck or FPN(extra_relu=True, name="neck")
        super().__init__(backbone, head, num_classes, bounding_box_format, neck=neck, **kwargs)
        self.classification_loss = classification_loss or losses.VarifocalLoss()
        self.quality_targets = quality_targets
        self.classification_weight = classification_weight
        self.box_weight = box_weight
        self.refined_box_weight = refined_box_weight

    @property
    def metric_names(self):
        boxes = ("box_loss", "refined_box_loss") if "refined_box" in self.output else ("box_loss",)
        return ("loss", "classification_loss", *boxes, "num_positives", "mean_iou")

    def detection_losses(self, outputs, boxes, classes, image_shape, canvas_shape):
        assignment = atss.assign(boxes, classes >= 0, image_shape, canvas_shape)
        positive = tf.cast(assignment.is_positive, tf.float32)  # [B, N]
        points_px, _ = point_ops.grid_points(canvas_shape)
        points_px = tf.gather(points_px, assignment.point)
        target_boxes = tf.gather(boxes, assignment.box, batch_dims=1)  # [B, N, 4]
        parts = {}
        for name, weight in (("box", self.box_weight), ("refined_box", self.refined_box_weight)):
            if name in outputs:
                distances = tf.gather(outputs[name], assignment.point, batch_dims=1)
                predicted_boxes = distance_ops.distances_to_boxes(points_px, distances)
                # Detached: each box loss is weighted by its own box's IoU, and the last IoU is the class target.
                iou = tf.stop_gradient(box_ops.iou(target_boxes, predicted_boxes))
                iou = tf.maximum(iou, MIN_IOU) * positive
                # At least 1 over the global batch, see `GFL`.
                norm = tf.maximum(targets.sum_over_replicas(tf.reduce_sum(iou)), 1.0)
                box_loss = losses.giou_loss(target_boxes, predicted_boxes) * iou
                parts[f"{name}_loss"] = weight * tf.reduce_sum(box_loss) / norm

        quality = iou if self.quality_targets else positive
        quality = targets.at_points(quality, assignment, classes, tf.shape(outputs["classification"]))
        class_loss = targets.point_losses(self.classification_loss, quality, outputs["classification"])  # [B, P]
        if not self.quality_targets:
            class_loss *= targets.is_inside(image_shape, canvas_shape)
        num_positives = tf.reduce_sum(positive)
        all_positives = tf.maximum(targets.sum_over_replicas(num_positives), 1.0)
        class_loss = self.classification_weight * tf.reduce_sum(class_loss) / all_positives
        parts = {"classification_loss": class_loss, **parts}
        return {
            "loss": tf.add_n(list(parts.values())),
            **parts,
            "num_positives": num_positives,
            "mean_iou": tf.reduce_sum(iou) / all_positives,
        }

    def point_scores(self, outputs):
        return tf.reduce_max(outputs["classification"], axis=-1)

    def decode_candidates(self, outputs, points_px, point_strides):
        distances_px = outputs.get("refined_box", outputs["box"])
        return {
            "boxes": distance_ops.distances_to_boxes(points_px, distances_px),
            "scores": tf.sigmoid(outputs["classification"]),
        }

    def get_config(self):
        return {
            **super().get_config(),
            "classification_loss": keras.saving.serialize_keras_object(self.classification_loss),
            "quality_targets": self.quality_targets,
            "classification_weight": self.classification_weight,
            "box_weight": self.box_weight,
            "refined_box_weight": self.refined_box_weight,
        }
