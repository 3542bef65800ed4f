"""A detector as functions from images to detections, for a SavedModel that needs TensorFlow alone."""

import tensorflow as tf

from gfl_tf.data import images as image_ops
from gfl_tf.evaluation import original_pixels


def trace(model, scale):
    """The served functions: everything from encoded images to boxes in their own pixels.

    Args:
        model: a detector; its prediction decoder of this moment becomes part of the functions.
        scale: (long, short) limits of the keep-ratio resize in front of the network.

    Returns a dict of concrete functions:
        serving_default: of "image_bytes", string [B], encoded JPEG, PNG, BMP or GIF (first frame) images of any sizes.
        image_tensor: of "image_tensor", uint8 [B, h, w, 3], RGB.

    Both return, best detection first, D being the decoder's `max_detections`:
        detection_boxes: float32 [B, D, 4], y1, x1, y2, x2 in pixels of the original image.
        detection_scores: float32 [B, D].
        detection_classes: int32 [B, D], 0-based class index.
        num_detections: int32 [B].
        detection_edge_stddev: float32 [B, D, 4], standard deviation of the left, top, right and bottom side in pixels
            of the original image; of detectors with box distributions alone.
    Rows from `num_detections` on are padding: class -1, all else 0.
    """

    @tf.function(input_signature=[tf.TensorSpec([None, None, None, 3], tf.uint8, name="image_tensor")])
    def from_tensor(image_tensor):
        return _served_outputs(original_pixels.detect(model, image_tensor, scale))

    tensor_function = from_tensor.get_concrete_function()
    one_image_signature = {
        name: tf.TensorSpec(spec.shape[1:], spec.dtype) for name, spec in tensor_function.structured_outputs.items()
    }

    def one_image(encoded):
        outputs = from_tensor(image_ops.decode_rgb(encoded)[tf.newaxis])
        return {name: value[0] for name, value in outputs.items()}

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="image_bytes")])
    def from_bytes(image_bytes):
        # One by one: on a common canvas, padding would reach the features through group normalization and deeper
        # convolutions, and an image's detections would depend on its neighbours in the request.
        return tf.map_fn(one_image, image_bytes, fn_output_signature=one_image_signature)

    return {"serving_default": from_bytes.get_concrete_function(), "image_tensor": tensor_function}


def _served_outputs(detections):
    is_detection = detections["classes"] >= 0
    boxes = tf.where(is_detection[..., tf.newaxis], detections["boxes"], 0.0)
    outputs = {
        "detection_boxes": tf.gather(boxes, [1, 0, 3, 2], axis=-1),
        "detection_scores": tf.where(is_detection, detections["confidence"], 0.0),
        "detection_classes": tf.cast(detections["classes"], tf.int32),
        "num_detections": detections["num_detections"],
    }
    if "edge_stddev" in detections:
        edge_stddev = tf.where(is_detection[..., tf.newaxis], detections["edge_stddev"], 0.0)
        outputs["detection_edge_stddev"] = edge_stddev
    return outputs
