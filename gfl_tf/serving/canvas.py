"""Detection on a canvas of fixed size: what the formats for devices hold, whose graphs know all shapes at export.

The application decodes its image, resizes it, puts it at the canvas's top left corner and says how large it is there.
Empty canvas costs time, and reaches the features through group normalization: choose one of the images' own shape.
"""

import collections.abc
import typing

import numpy as np
import tensorflow as tf

from gfl_tf import detections
from gfl_tf.data import images as image_ops
from gfl_tf.ops.grid import SIZE_DIVISOR

if typing.TYPE_CHECKING:
    from gfl_tf.detectors.decoder import PredictionDecoder
    from gfl_tf.detectors.detector import Detector


def detect_canvas(
    model: "Detector", height: int, width: int, decoder: "PredictionDecoder | None" = None
) -> tf.types.experimental.GenericFunction:
    """A detector as a `tf.function` of one image on a canvas of `height` x `width` pixels.

    Args:
        model: a detector.
        height, width: of the canvas, multiples of 32.
        decoder: `PredictionDecoder` in place of the model's.

    Inputs:
        image: uint8 [1, height, width, 3], RGB, the image at the top left. What lies outside it does not matter.
        image_shape: int32 [2], the image's own height and width in it.

    Outputs: the served tensors of `gfl_tf.detections` without the classes' names, B being 1 and D the decoder's
    `max_detections`, in pixels of the canvas, boxes clipped to `image_shape`.

    Raises:
        ValueError: a height or width that is no multiple of 32.
    """
    check_size(height, width)

    @tf.function(
        input_signature=[
            tf.TensorSpec([1, height, width, 3], tf.uint8, name="image"),
            tf.TensorSpec([2], tf.int32, name="image_shape"),
        ]
    )
    def detect(image, image_shape):
        outputs = model(image_ops.fill_outside(image, image_shape, model.pad_value), training=False)
        return _detections(model, outputs, (height, width), image_shape, decoder or model.prediction_decoder)

    return detect


def check_size(height: int, width: int) -> None:
    """Raises ValueError for a canvas whose sides are no multiples of what the network pads to."""
    if height % SIZE_DIVISOR or width % SIZE_DIVISOR or min(height, width) < SIZE_DIVISOR:
        raise ValueError(
            f"the canvas is {height} x {width} (height x width) pixels; give multiples of {SIZE_DIVISOR}, "
            f"for example {_round_up(height)} x {_round_up(width)}"
        )


def _round_up(side):
    return max(-(-side // SIZE_DIVISOR), 1) * SIZE_DIVISOR


def _detections(model, outputs, canvas_shape, image_shape, decoder):
    canvas_shape = tf.constant(canvas_shape, tf.int32)
    candidates = model.candidates(outputs, canvas_shape, image_shape[tf.newaxis], decoder=decoder)
    # Of the one image: `suppress` would loop over a batch.
    kept = decoder.suppress_image(candidates["boxes"][0], candidates["scores"][0])
    kept = {name: value[tf.newaxis] for name, value in kept.items()}
    return detections.to_served(decoder.detections(candidates, kept))


def place(
    image: np.ndarray, canvas_shape: collections.abc.Sequence[int] | np.ndarray, scale: tuple[int, int] | None = None
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """An image on a canvas, as an application does it: the inputs of `detect_canvas`.

    Rounding the resized pixels to whole numbers, which the SavedModel does not do, moves scores by 0.001 on average.

    Args:
        image: uint8 [h, w, 3], RGB.
        canvas_shape: (height, width) of the canvas.
        scale: (long, short) limits of the keep-ratio resize; default: as large as fits.

    Returns:
        image: uint8 [1, *canvas_shape, 3].
        image_shape: int32 [2].
        factor: float32 [4], of y, x, y, x: takes detection_boxes to pixels of the original by multiplication.

    Raises:
        ValueError: the image, resized to `scale`, is larger than the canvas.
    """
    height, width = image.shape[:2]
    # `scale` knows no orientation, a canvas does: in one that lies the other way, the short side is the limit.
    same_way = (height - width) * (canvas_shape[0] - canvas_shape[1]) >= 0
    scale = scale or (canvas_shape if same_way else [min(canvas_shape)] * 2)
    resized = image_ops.resize_keep_ratio(image, scale).numpy()
    shape = np.array(resized.shape[:2], np.int32)
    if (shape > canvas_shape).any():
        raise ValueError(
            f"an image of {height} x {width} (height x width) is {shape[0]} x {shape[1]} at scale {tuple(scale)}, "
            f"larger than the canvas of {canvas_shape[0]} x {canvas_shape[1]}"
        )
    canvas = np.zeros([1, *canvas_shape, 3], np.uint8)
    canvas[0, : shape[0], : shape[1]] = np.round(resized)
    factor = np.tile(np.array([height, width], np.float32) / shape, 2).astype(np.float32)
    return canvas, shape, factor
