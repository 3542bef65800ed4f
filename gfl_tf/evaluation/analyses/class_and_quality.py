"""Class score and predicted quality where these are two numbers (GFL, figure 2b)."""

import typing

import numpy as np
import tensorflow as tf

from gfl_tf.detectors import training
from gfl_tf.evaluation.analyses import points
from gfl_tf.evaluation.scores import pearson

HIGH = 0.9  # of a quality, in the paper's figure 2a
NEGATIVES = 25  # that are drawn of an image


class Instances(typing.NamedTuple):
    """Places, each with its best class score and its predicted quality, [n]."""

    class_score: np.ndarray
    quality: np.ndarray


def at_negatives(outputs: dict[str, tf.Tensor], assigned: training.Assigned) -> dict[str, tf.Tensor]:
    """{"class_score", "quality": [B, P], "is_negative": bool [B, P], of places that count and learn nothing}."""
    assignment = assigned.assignment
    image = tf.broadcast_to(tf.range(tf.shape(assignment.place)[0])[:, tf.newaxis], tf.shape(assignment.place))
    index = tf.stack([image, assignment.place], axis=-1)
    is_positive = tf.scatter_nd(index, tf.cast(assignment.is_positive, tf.int32), tf.shape(assignment.counts)) > 0
    return {
        "class_score": tf.sigmoid(tf.reduce_max(outputs["classification"], axis=-1)),
        "quality": tf.sigmoid(outputs["quality"])[..., 0],
        "is_negative": assignment.counts & ~is_positive,
    }


def sample(
    class_score: np.ndarray, quality: np.ndarray, is_negative: np.ndarray, rng: np.random.Generator
) -> Instances:
    """`NEGATIVES` of one image's P places, at random."""
    index = np.flatnonzero(is_negative)
    index = rng.choice(index, min(NEGATIVES, len(index)), replace=False)
    return Instances(class_score[index], quality[index])


def measure(positives: Instances, negatives: Instances) -> dict:
    """How the two numbers go together.

    Returns a dict: "correlation_of_positives": of class score and quality; "high_quality_negatives": the share of the
    negatives with a quality above `HIGH`; "negatives_above_positives": the share with one above the median positive's;
    the means of both; "points".
    """
    median = np.median(positives.quality)
    return {
        "positives": len(positives.quality),
        "negatives": len(negatives.quality),
        "correlation_of_positives": pearson(*positives),
        "mean_quality_of_positives": float(positives.quality.mean()),
        "mean_quality_of_negatives": float(negatives.quality.mean()),
        "high_quality_negatives": float(np.mean(negatives.quality > HIGH)),
        "negatives_above_positives": float(np.mean(negatives.quality > median)),
        "points": {
            "positives": points.some(**positives._asdict()),
            "negatives": points.some(**negatives._asdict()),
        },
    }
