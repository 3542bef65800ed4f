"""Detections of whole images in the images' own pixels: what prediction and serving share."""

import typing

import tensorflow as tf

from gfl_tf import detections
from gfl_tf.data import images as image_ops

if typing.TYPE_CHECKING:
    from gfl_tf.detectors.detector import Detector


def detect(
    model: "Detector", images: tf.Tensor, scale: tuple[int, int], with_outputs: bool = False
) -> dict[str, typing.Any]:
    """Detections of images of one size, which are resized to `scale` for the network.

    Args:
        model: a detector; see `Detector.detect`.
        images: [B, h, w, 3] of any number type, RGB in 0..255.
        scale: (long, short) limits of the keep-ratio resize.
        with_outputs: see `Detector.detect`; what it adds stays in pixels of the resized images.

    Returns the record of `gfl_tf.detections` in pixels of `images`, boxes clipped to them.
    """
    resized = image_ops.resize_keep_ratio(images, scale)  # the model pads to what its strides need
    found = model.detect(resized, with_outputs=with_outputs)
    return detections.to_original(found, tf.shape(images)[1:3], tf.shape(resized)[1:3])
