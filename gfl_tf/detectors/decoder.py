"""The prediction decoder: which points and classes are candidates, and which of these are the final detections."""

import dataclasses
import typing

import tensorflow as tf

from gfl_tf.detections import PADDING, at_candidates
from gfl_tf.ops import nms, voting
from gfl_tf.parts import check_fields, part
from gfl_tf.rules import COUNT, FLAG, NOT_NEGATIVE, POSITIVE, SHARE, Rule, one_of

NMS_KINDS = ("hard", "soft_linear", "soft_gaussian")
CANDIDATE_RULES = ("points", "pairs")


@part
class PredictionDecoder:
    """Thresholds, number of candidates and kind of NMS. It does not change: make a new one and set it on the model.

    The defaults are the papers' test settings.

    Args:
        score_threshold: class scores at or below it are no candidates; it does not apply to what soft-NMS lowers. In a
            `tf.function` it may be a tensor, float32 [] or [B, 1, 1].
        candidates: what a level's candidates are. "points": the best points, ranked by their best class score, each
            with all its classes above the threshold; the papers' rule, and mmdetection's up to 2.x. "pairs": the best
            pairs of point and class, and no boxes without area; mmdetection's rule from 3.0 on.
        candidates_per_level: how many of them go on.
        nms: "hard": boxes that overlap a better one of their class by an IoU above `iou_threshold` are dropped.
            Soft-NMS (Bodla et al., ICCV 2017) lowers their scores instead. "soft_linear": times 1 - IoU, from
            `iou_threshold` on. "soft_gaussian": times exp(-IoU^2 / `soft_sigma`).
        iou_threshold: of "hard" and "soft_linear".
        soft_sigma: of "soft_gaussian", above 0.
        soft_min_score: of soft-NMS, above 0; boxes of a lower score, decayed or not, are dropped.
        class_wise: whether boxes of different classes may overlap freely.
        max_detections: D, per image.
        voting_sigma: of variance voting (He et al., CVPR 2019, section 3.3; the paper's is 0.02), after any kind of
            NMS: each side of a detection becomes the mean over the candidates of its class around it, weighted by how
            much they overlap and how sure their own side is. It takes a detector with distributions. 0: none.

    Raises:
        ValueError: an unknown kind of NMS or of candidates, or a value out of its range; names it.
    """

    score_threshold: float = 0.05
    candidates: str = "points"
    candidates_per_level: int = 1000
    nms: str = "hard"
    iou_threshold: float = 0.6
    soft_sigma: float = 0.5
    soft_min_score: float = 1e-3
    class_wise: bool = True
    max_detections: int = 100
    voting_sigma: float = 0.0

    def __post_init__(self):
        threshold = Rule(SHARE.text, lambda value: tf.is_tensor(value) or SHARE.holds(value))
        check_fields(
            self,
            {
                "score_threshold": threshold,
                "candidates": one_of(*CANDIDATE_RULES),
                "candidates_per_level": COUNT,
                "nms": one_of(*NMS_KINDS),
                "iou_threshold": threshold,
                "soft_sigma": POSITIVE,
                "soft_min_score": POSITIVE,
                "class_wise": FLAG,
                "max_detections": COUNT,
                "voting_sigma": NOT_NEGATIVE,
            },
        )

    def select_points(self, point_scores: tf.Tensor, level_sizes: tf.Tensor) -> tf.Tensor:
        """Index int32 [B, K] of the points to decode, from [B, P] scores; `level_sizes`: int32 [L] points per level.

        These serve both rules: a point of one of the k best pairs is one of the k best points.
        """
        return nms.top_points(point_scores, level_sizes, self.candidates_per_level)

    def select_pairs(self, boxes: tf.Tensor, scores: tf.Tensor, level_sizes: tf.Tensor) -> tf.Tensor:
        """bool [B, K, C]: which classes of the selected points take part in the suppression.

        Args:
            boxes: [B, K, 4], clipped to the image.
            scores: [B, K, C], of the classes.
            level_sizes: as for `select_points`.
        """
        is_chosen = scores > self.score_threshold
        if self.candidates == "pairs":
            k = self.candidates_per_level
            is_chosen &= nms.top_pairs(scores, tf.minimum(level_sizes, k), k)
            is_chosen &= tf.reduce_all(boxes[..., 2:] > boxes[..., :2], axis=-1, keepdims=True)
        return is_chosen

    def suppress(self, candidates: dict[str, typing.Any]) -> dict[str, typing.Any]:
        """Final detections of a dict of candidates, see `Detector.candidates`.

        Returns a dict: "boxes" float32 [B, D, 4], "classes" and "confidence" float32 [B, D] and what else the
        candidates have, [B, D, ...], all padded with -1; "num_detections" int32 [B]. Best first.
        """
        images = {name: candidates[name] for name in ("boxes", "scores")}
        d = self.max_detections
        signature = {
            "candidate": tf.TensorSpec([d], tf.int32),
            "classes": tf.TensorSpec([d], tf.float32),
            "confidence": tf.TensorSpec([d], tf.float32),
            "num_detections": tf.TensorSpec([], tf.int32),
        }
        kept = tf.map_fn(lambda image: self.suppress_image(**image), images, fn_output_signature=signature)
        return self.detections(candidates, kept)

    def suppress_image(self, boxes: tf.Tensor, scores: tf.Tensor) -> dict[str, tf.Tensor]:
        """`suppress` of one image's boxes [K, 4] and scores [K, C]: no loop over a batch.

        Returns a dict: "candidate" int32 [D], index into the K candidates; "classes" and "confidence" float32 [D]; all
        padded with -1; "num_detections" int32 [].
        """
        candidate, classes, confidence = nms.suppress(boxes, scores, self._select, class_wise=self.class_wise)
        return {
            "candidate": self._pad(candidate),
            "classes": self._pad(tf.cast(classes, tf.float32)),
            "confidence": self._pad(confidence),
            "num_detections": tf.size(classes),
        }

    def detections(self, candidates: dict[str, typing.Any], kept: dict[str, tf.Tensor]) -> dict[str, typing.Any]:
        """What `suppress` returns, of candidates and what `suppress_image` kept of each image, [B, D] and [B]."""
        kept, candidates = dict(kept), dict(candidates)
        index, scores = kept.pop("candidate"), candidates.pop("scores")
        found = {**kept, **at_candidates(candidates, index)}
        if self.voting_sigma:
            classes = tf.maximum(tf.cast(found["classes"], tf.int32), 0)
            is_of_class = tf.gather(tf.transpose(scores, [0, 2, 1]), classes, batch_dims=1) > 0.0  # [B, D, K]
            found["boxes"] = voting.vote(
                found["boxes"], candidates["boxes"], candidates["edge_stddev"], is_of_class, self.voting_sigma
            )
        return found

    def _select(self, boxes, scores):
        """Index and confidence of the detections among pairs [N, 4], [N]: the function that `nms.suppress` takes."""
        if self.nms == "hard":
            return nms.hard(boxes, scores, self.iou_threshold, self.max_detections)
        decay = {
            "soft_linear": lambda iou: nms.linear_decay(iou, self.iou_threshold),
            "soft_gaussian": lambda iou: nms.gaussian_decay(iou, self.soft_sigma),
        }[self.nms]
        return nms.soft(boxes, scores, decay, self.soft_min_score, self.max_detections)

    def _pad(self, values):
        padded = tf.pad(values, [[0, self.max_detections - tf.size(values)]], constant_values=PADDING)
        # TensorFlow Lite has no `tf.ensure_shape`.
        return tf.reshape(padded, [self.max_detections])

    def changed(self, **changes: typing.Any) -> "PredictionDecoder":
        """A decoder of the same kind with other values of some arguments, all others as here."""
        return dataclasses.replace(self, **changes)
