"""GFL and GFLv2."""

import keras
import tensorflow as tf

from gfl_tf import losses
from gfl_tf.assigners import atss
from gfl_tf.detectors import targets
from gfl_tf.detectors.dense import DenseDetector
from gfl_tf.heads.gfl import GFLHead, GFLV2Head
from gfl_tf.ops import boxes as box_ops
from gfl_tf.ops import distances as distance_ops
from gfl_tf.ops import distributions
from gfl_tf.ops import points as point_ops

_register = keras.saving.register_keras_serializable(package="gfl_tf")

# Distribution targets stay this far below the last bin, as in the reference.
LAST_BIN_MARGIN = 0.1


@_register
class GFL(DenseDetector):
    """Generalized Focal Loss detector (GFL, section 3, eq. 11).

    ```
    model = gfl_tf.GFL(keras_cv.models.ResNetBackbone.from_preset("resnet50"), num_classes=80,
                       bounding_box_format="xywh")
    model.compile(optimizer=...)
    model.fit(dataset)          # of (images, {"boxes", "classes"})
    model.predict(images)       # {"boxes", "classes", "confidence", "num_detections", "edge_stddev"}
    ```

    Args:
        backbone, neck, prediction_decoder, mean, std: see `DenseDetector`.
        num_classes: C.
        bounding_box_format: KerasCV's name for the format of labels and predictions.
        head: default `GFLHead(num_classes)`.
        bin_width: distance between two bins of the distribution, in strides (GFL, table 2c).
        classification_loss: a Keras loss of soft targets and logits [B, P, C], giving [B, P] or [B, P, C] unreduced;
            default Quality Focal Loss.
        quality_targets: False trains the class scores on hard labels (1 in place of the IoU), for plain focal loss.
        quality_weight, box_weight, distribution_weight: of the three parts of eq. 11.
    """

    metric_names = ("loss", "quality_loss", "box_loss", "distribution_loss", "num_positives", "mean_iou")

    def __init__(
        self,
        backbone,
        num_classes,
        bounding_box_format,
        head=None,
        bin_width=1.0,
        classification_loss=None,
        quality_targets=True,
        quality_weight=1.0,
        box_weight=2.0,
        distribution_weight=0.25,
        **kwargs,
    ):
        super().__init__(backbone, head or self.default_head(num_classes), num_classes, bounding_box_format, **kwargs)
        self.bin_width = bin_width
        self.classification_loss = classification_loss
        self.quality_targets = quality_targets
        self.quality_weight = quality_weight
        self.box_weight = box_weight
        self.distribution_weight = distribution_weight

    @staticmethod
    def default_head(num_classes):
        return GFLHead(num_classes, name="head")

    def detection_losses(self, outputs, boxes, classes, image_shape, canvas_shape):
        assignment = atss.assign(boxes, classes >= 0, image_shape, canvas_shape)
        positive = tf.cast(assignment.is_positive, tf.float32)  # [B, N]
        iou, box_loss, distribution_loss = self._positive_losses(outputs, boxes, assignment, canvas_shape)
        box_weights = self._box_weights(outputs, assignment) * positive

        quality = tf.where(assignment.is_positive, iou if self.quality_targets else 1.0, 0.0)
        quality = targets.at_points(quality, assignment, classes, tf.shape(outputs["classification"]))
        quality_loss = self._quality_loss(quality, outputs)  # [B, P]
        quality_loss *= targets.is_inside(image_shape, canvas_shape)

        quality_norm = targets.positives_norm(assignment)
        # At least 1 over the global batch (the reference: on each replica), so that N replicas of b images make the
        # same update as one of N * b.
        box_norm = tf.maximum(targets.sum_over_replicas(tf.reduce_sum(box_weights)), 1.0)
        num_positives = tf.reduce_sum(positive)
        parts = {
            "quality_loss": self.quality_weight * tf.reduce_sum(quality_loss) / quality_norm,
            "box_loss": self.box_weight * tf.reduce_sum(box_loss * box_weights) / box_norm,
            "distribution_loss": self.distribution_weight * tf.reduce_sum(distribution_loss * box_weights) / box_norm,
        }
        all_positives = tf.maximum(targets.sum_over_replicas(num_positives), 1.0)
        return {
            "loss": tf.add_n(list(parts.values())),
            **parts,
            "num_positives": num_positives,
            "mean_iou": tf.reduce_sum(iou * positive) / all_positives,
        }

    def _positive_losses(self, outputs, boxes, assignment, canvas_shape):
        """IoU (detached), GIoU loss and distribution loss at the assigned points, [B, N] each, in strides."""
        points_px, point_strides = point_ops.grid_points(canvas_shape)
        stride = tf.gather(point_strides, assignment.point)[..., tf.newaxis]  # [B, N, 1]
        points = tf.gather(points_px, assignment.point) / stride
        target_boxes = tf.gather(boxes, assignment.box, batch_dims=1) / stride
        logits = tf.gather(outputs["box"], assignment.point, batch_dims=1)  # [B, N, 4 * (n + 1)]
        distances = distributions.integral(distributions.side_probabilities(logits), self.bin_width)
        predicted_boxes = distance_ops.distances_to_boxes(points, distances)

        last_bin = self.head.num_bins
        target_bins = distance_ops.boxes_to_distances(points, target_boxes) / self.bin_width
        target_bins = tf.clip_by_value(target_bins, 0.0, last_bin - LAST_BIN_MARGIN)
        side_logits = tf.reshape(logits, tf.concat([tf.shape(logits)[:2], [4, last_bin + 1]], axis=0))
        distribution_loss = losses.distribution_focal_loss(target_bins, side_logits)  # [B, N, 4]
        return (
            tf.stop_gradient(box_ops.iou(target_boxes, predicted_boxes)),
            losses.giou_loss(target_boxes, predicted_boxes),
            tf.reduce_mean(distribution_loss, axis=-1),
        )

    def _box_weights(self, outputs, assignment):
        """The best class score at the assigned points, detached: [B, N]."""
        at_points = {name: tf.gather(value, assignment.point, batch_dims=1) for name, value in outputs.items()}
        return tf.stop_gradient(tf.reduce_max(self._scores(at_points), axis=-1))

    def _quality_loss(self, quality, outputs):
        """Classification loss [B, P] of soft targets [B, P, C]."""
        if self.classification_loss is not None:
            return targets.point_losses(self.classification_loss, quality, outputs["classification"])
        return tf.reduce_sum(losses.quality_focal_loss(quality, outputs["classification"]), axis=-1)

    def _scores(self, outputs):
        """Class scores [..., C] in [0, 1]."""
        return tf.sigmoid(outputs["classification"])

    def point_scores(self, outputs):
        return tf.reduce_max(outputs["classification"], axis=-1)

    def decode_candidates(self, outputs, points_px, point_strides):
        stride = point_strides[..., tf.newaxis]
        probabilities = distributions.side_probabilities(outputs["box"])
        distances_px = distributions.integral(probabilities, self.bin_width) * stride
        stddev_px = distributions.standard_deviation(probabilities, self.bin_width) * stride
        return {
            "boxes": distance_ops.distances_to_boxes(points_px, distances_px),
            "scores": self._scores(outputs),
            "edge_stddev": stddev_px,
        }

    def get_config(self):
        config = {
            "bin_width": self.bin_width,
            "quality_targets": self.quality_targets,
            "quality_weight": self.quality_weight,
            "box_weight": self.box_weight,
            "distribution_weight": self.distribution_weight,
        }
        if self.classification_loss is not None:
            config["classification_loss"] = keras.saving.serialize_keras_object(self.classification_loss)
        return {**super().get_config(), **config}


@_register
class GFLV2(GFL):
    """Generalized Focal Loss V2 (GFLv2, sections 3.2 and 4): GFL whose score is J = C x I, I predicted by the DGQP.

    Arguments as `GFL`; head: default `GFLV2Head(GFLHead(num_classes))`. With a head in composed form (no "quality"
    output) the class logits are J's own, and it is scored and trained as GFL.
    """

    def __init__(self, backbone, num_classes, bounding_box_format, classification_loss=None, **kwargs):
        super().__init__(backbone, num_classes, bounding_box_format, classification_loss=classification_loss, **kwargs)
        if classification_loss is not None and "quality" in self.output:
            raise ValueError("the decomposed score of GFLv2 has its own joint loss: classification_loss stays None")

    @staticmethod
    def default_head(num_classes):
        return GFLV2Head(GFLHead(num_classes, name="base"), name="head")

    def _quality_loss(self, quality, outputs):
        if "quality" not in outputs:
            return super()._quality_loss(quality, outputs)
        loss = losses.joint_quality_focal_loss(quality, outputs["classification"], outputs["quality"])
        return tf.reduce_sum(loss, axis=-1)

    def _scores(self, outputs):
        scores = super()._scores(outputs)
        return scores * tf.sigmoid(outputs["quality"]) if "quality" in outputs else scores

    def point_scores(self, outputs):
        best_class = super().point_scores(outputs)
        if "quality" not in outputs:
            return best_class
        return tf.sigmoid(best_class) * tf.sigmoid(outputs["quality"][..., 0])
