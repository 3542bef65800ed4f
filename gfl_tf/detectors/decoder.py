"""The prediction decoder: from scores of all points to the final detections."""

import tensorflow as tf
from tensorflow import keras

from gfl_tf.ops import nms

NMS_KINDS = ("hard", "soft_gaussian")
PADDING = -1


@keras.saving.register_keras_serializable(package="gfl_tf")
class PredictionDecoder:
    """Thresholds, number of candidates and kind of NMS. Plain values: make a new one and set it on the model.

    The defaults are the papers' test settings.

    Args:
        score_threshold: scores at or below it are dropped.
        candidates_per_level: the best points of each level go on, ranked by their best class score.
        nms: "hard" or "soft_gaussian".
        iou_threshold: of hard NMS.
        soft_sigma: of soft gaussian NMS.
        class_wise: whether boxes of different classes may overlap freely.
        max_detections: D, per image.
    """

    def __init__(
        self,
        score_threshold=0.05,
        candidates_per_level=1000,
        nms="hard",
        iou_threshold=0.6,
        soft_sigma=0.5,
        class_wise=True,
        max_detections=100,
    ):
        if nms not in NMS_KINDS:
            raise ValueError(f"nms is one of {NMS_KINDS}, not {nms!r}")
        self.score_threshold = score_threshold
        self.candidates_per_level = candidates_per_level
        self.nms = nms
        self.iou_threshold = iou_threshold
        self.soft_sigma = soft_sigma
        self.class_wise = class_wise
        self.max_detections = max_detections

    def select(self, point_scores, level_sizes):
        """Candidates' point index int32 [B, K] from [B, P] scores; `level_sizes`: int32 [L] points per level."""
        return nms.top_points(point_scores, level_sizes, self.candidates_per_level)

    def suppress(self, boxes, scores):
        """Final detections of candidates `boxes` [B, K, 4] with `scores` [B, K, C].

        Returns a dict: "boxes" float32 [B, D, 4], "classes" and "confidence" float32 [B, D] and "candidate" int32
        [B, D], the index into the K candidates (see `at_candidates`), all padded with -1; "num_detections" int32 [B].
        Best first.
        """

        def one_image(image):
            candidate, classes, confidence = nms.suppress(
                image["boxes"],
                image["scores"],
                self.score_threshold,
                self.iou_threshold,
                self.max_detections,
                soft_sigma=self.soft_sigma if self.nms == "soft_gaussian" else 0.0,
                class_wise=self.class_wise,
            )
            return {
                "candidate": self._pad(candidate),
                "classes": self._pad(tf.cast(classes, tf.float32)),
                "confidence": self._pad(confidence),
                "num_detections": tf.size(classes),
            }

        d = self.max_detections
        signature = {
            "candidate": tf.TensorSpec([d], tf.int32),
            "classes": tf.TensorSpec([d], tf.float32),
            "confidence": tf.TensorSpec([d], tf.float32),
            "num_detections": tf.TensorSpec([], tf.int32),
        }
        kept = tf.map_fn(one_image, {"boxes": boxes, "scores": scores}, fn_output_signature=signature)
        return {**kept, "boxes": at_candidates(boxes, kept["candidate"])}

    def _pad(self, values):
        padded = tf.pad(values, [[0, self.max_detections - tf.size(values)]], constant_values=PADDING)
        return tf.ensure_shape(padded, [self.max_detections])

    def changed(self, **changes):
        """A new decoder with other values of some arguments, all others as here."""
        return PredictionDecoder(**{**self.get_config(), **changes})

    def get_config(self):
        return {
            "score_threshold": self.score_threshold,
            "candidates_per_level": self.candidates_per_level,
            "nms": self.nms,
            "iou_threshold": self.iou_threshold,
            "soft_sigma": self.soft_sigma,
            "class_wise": self.class_wise,
            "max_detections": self.max_detections,
        }

    @classmethod
    def from_config(cls, config):
        return cls(**config)


def at_candidates(values, candidate):
    """`values` [B, K, ...] of each detection's candidate, [B, D, ...]; -1 where `candidate` [B, D] is -1."""
    gathered = tf.gather(values, tf.maximum(candidate, 0), batch_dims=1)
    is_detection = tf.reshape(candidate >= 0, tf.concat([tf.shape(candidate), [1] * (values.shape.rank - 2)], axis=0))
    return tf.where(is_detection, gathered, tf.cast(PADDING, values.dtype))
