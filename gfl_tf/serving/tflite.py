"""A detector as a TensorFlow Lite file that needs the built-in operations alone: `canvas.detect_canvas`, all inside."""

import re

import tensorflow as tf

from gfl_tf import compat
from gfl_tf.ops import sampling
from gfl_tf.serving import canvas

PRECISIONS = ("float32", "float16", "int8")


def convert(model, height, width, precision="float32", representative=None, decoder=None):
    """The content of a .tflite file, bytes. Inputs and outputs are those of `canvas.detect_canvas`.

    Its one signature, "serving_default", has them by name: `Interpreter.get_signature_runner()`.

    Args:
        model: a detector; see `network.serving_model` for a faster one.
        height, width: of the canvas, multiples of 32.
        precision: "float32"; "float16": half the size, weights are widened when the file is loaded; "int8": a quarter
            of the size, convolutions of backbone, neck and towers compute in integers, whose ranges `representative`
            shows, with an own scale for each filter. What would lose its precision stays float32: group normalization,
            deformable convolutions, output convolutions, DGQP, and everything from raw outputs to detections.
        representative: for int8 alone: iterable of `detect_canvas`'s inputs (image, image_shape), a hundred or so of
            images like those to come; `canvas.place` makes them.
        decoder: `PredictionDecoder` in place of the model's.

    Raises:
        ValueError: a height or width that is no multiple of 32, an unknown precision, int8 without representative
            images, with one of another shape, or with soft-NMS, and such images for another precision.
    """
    if precision not in PRECISIONS:
        raise ValueError(f"precision is {precision!r}; TensorFlow Lite has {', '.join(PRECISIONS)}")
    if (precision == "int8") != (representative is not None):
        raise ValueError(
            "int8 needs representative images, from which the ranges of all values are measured"
            if precision == "int8"
            else f"representative images are for int8, not for {precision}"
        )
    decoder = decoder or model.prediction_decoder
    if precision == "int8" and decoder.nms != "hard":
        raise ValueError(
            f"the decoder's nms is {decoder.nms!r}, a loop, which TensorFlow Lite's calibration for int8 cannot run: "
            'choose "hard", or another precision'
        )
    if precision == "int8":
        examples = _examples(representative, height, width)
    with sampling.unrolled():
        detect = canvas.detect_canvas(model, height, width, decoder).get_concrete_function()
    # Only what the function reads: with the model itself the converter would trace all its Keras functions.
    weights = tf.Module()
    weights.variables_read = list(detect.variables)
    converter = tf.lite.TFLiteConverter.from_concrete_functions([detect], weights)
    if precision != "float32":
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
    if precision == "float16":
        converter.target_spec.supported_types = [tf.float16]
    if precision == "int8":
        return _quantized(converter, model, examples)
    return converter.convert()


def _examples(representative, height, width):
    examples = []
    for image, image_shape in representative:
        if tuple(image.shape) != (1, height, width, 3) or tuple(image_shape.shape) != (2,):
            raise ValueError(
                f"representative image {len(examples)} is {tuple(image.shape)}, its image_shape "
                f"{tuple(image_shape.shape)}; the canvas needs {(1, height, width, 3)} and (2,), see canvas.place"
            )
        examples.append({"image": image, "image_shape": image_shape})
    if not examples:
        raise ValueError("there are no representative images")
    return examples


def _quantized(converter, model, examples):
    """int8 where `_is_int8` says so. The debugger is the public way to leave single operations as they are."""
    converter.representative_dataset = lambda: iter(examples)
    debugger = tf.lite.experimental.QuantizationDebugger(
        converter=converter, debug_dataset=converter.representative_dataset
    )
    tensors = compat.tflite_interpreter(debugger.calibrated_model).get_tensor_details()
    in_float = [tensor["name"] for tensor in tensors if not _is_int8(model, tensor["name"])]
    # Operations of several outputs are not found by name; backbone and neck have none of these two. What TOPK_V2 reads,
    # the DGQP's probabilities, is still rounded to 1/256.
    debugger.options = tf.lite.experimental.QuantizationDebugOptions(
        denylisted_nodes=in_float, denylisted_ops=["UNPACK", "TOPK_V2"]
    )
    return debugger.get_nondebug_quantized_model()


def _is_int8(model, tensor):
    """Whether the operation that makes a tensor may be quantized, by the names of its layers.

    Operations that the converter has made one have the names of all, with ";" between. Keras 3 gives each layer's name
    a number more.
    """
    number = r"(_\d+)?"
    detector, neck, head = (re.escape(name) + number for name in (model.name, model.neck.name, model.head.name))
    in_body = re.match(rf"{detector}/(pyramid_features{number}|{neck})/", tensor)
    convolution = rf"(tower_\d+|box_feature){number}/conv{number}/(Conv2D|convolution)"
    in_tower = re.match(rf"{detector}/{head}/.*{convolution}", tensor)
    return (in_body or in_tower) and not re.search(rf"/norm{number}/|/offset_conv{number}/|PartitionedCall", tensor)
