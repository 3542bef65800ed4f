"""Detections of whole images in the images' own pixels: what prediction and serving share."""

import tensorflow as tf

from gfl_tf.data import images as image_ops


def detect(model, images, scale, with_outputs=False):
    """Detections of images of one size, which are resized to `scale` for the network.

    Args:
        model: a detector; see `Detector.detect`.
        images: [B, h, w, 3] of any number type, RGB in 0..255.
        scale: (long, short) limits of the keep-ratio resize.
        with_outputs: see `Detector.detect`; what it adds stays in pixels of the resized images.

    Returns `Detector.detect`'s dict, "boxes" and any "edge_stddev" in pixels of `images`, boxes clipped to them.
    """
    resized = image_ops.resize_keep_ratio(images, scale)  # the model pads to what its strides need
    detections = model.detect(resized, with_outputs=with_outputs)
    return to_original(detections, tf.shape(images)[1:3], tf.shape(resized)[1:3])


def to_original(detections, original_shape, resized_shape):
    """`Detector.detect`'s dict with "boxes" and any "edge_stddev" from pixels of images of `resized_shape`, int32
    [2], to those of `original_shape`, boxes clipped to it."""
    limit = width_height_twice(original_shape)
    factor = limit / width_height_twice(resized_shape)
    is_detection = detections["classes"][..., tf.newaxis] >= 0
    in_original = {"boxes": tf.clip_by_value(detections["boxes"] * factor, 0.0, limit)}
    if "edge_stddev" in detections:
        in_original["edge_stddev"] = detections["edge_stddev"] * factor
    return {
        **detections,
        **{name: tf.where(is_detection, value, detections[name]) for name, value in in_original.items()},
    }


def width_height_twice(shape):
    """float32 [4], what x1, y1, x2, y2 are limited and scaled by, of an image's (height, width)."""
    return tf.cast(tf.tile(tf.reverse(shape, [0]), [2]), tf.float32)
