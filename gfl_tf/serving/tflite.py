"""A detector as a TensorFlow Lite file that needs the built-in operations alone: `canvas.detect_canvas`, all inside."""

import collections.abc
import functools
import string

import keras
import numpy as np
import tensorflow as tf

from gfl_tf import compat
from gfl_tf.detectors.decoder import PredictionDecoder
from gfl_tf.detectors.detector import Detector
from gfl_tf.layers.blocks import ConvGN, GroupNormalization
from gfl_tf.layers.deformable import DeformableConv2D
from gfl_tf.serving import canvas, network

PRECISIONS = ("float32", "float16", "int8")


def convert(
    model: Detector,
    height: int,
    width: int,
    precision: str = "float32",
    representative: collections.abc.Iterable[tuple[np.ndarray, np.ndarray]] | None = None,
    decoder: PredictionDecoder | None = None,
) -> bytes:
    """The content of a .tflite file, bytes. Inputs and outputs are those of `canvas.detect_canvas`.

    Its one signature, "serving_default", has them by name: `Interpreter.get_signature_runner()`.

    Args:
        model: a detector, of any precision; the file has its `network.serving_model`.
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
            images, with one of another shape, with soft-NMS or voting, and such images for another precision.
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
    if precision == "int8" and decoder.voting_sigma:
        raise ValueError(
            f"the decoder's voting_sigma is {decoder.voting_sigma}, and TensorFlow Lite rounds the votes to 8 bits in "
            "an int8 file: choose 0, or another precision"
        )
    if precision == "int8":
        examples = _examples(representative, height, width)
    served = network.serving_model(model, unroll=True)
    in_integers, in_float = _operations_of(_integer_layers(served)), _operations_of(_float_layers(served))
    detect = canvas.detect_canvas(served, height, width, decoder).get_concrete_function()
    # Only what the function reads: with the model itself the converter would trace all its Keras functions.
    weights = tf.Module()
    weights.variables_read = list(detect.variables)
    converter = tf.lite.TFLiteConverter.from_concrete_functions([detect], weights)
    if precision != "float32":
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
    if precision == "float16":
        converter.target_spec.supported_types = [tf.float16]
    if precision == "int8":
        return _quantized(converter, in_integers - in_float, examples)
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


def _integer_layers(model):
    """The layers of a detector whose operations int8 computes in integers: backbone, neck, convolutions of towers."""
    body = [layer for layer in model.layers if isinstance(layer, keras.Model) or layer is model.neck]
    blocks = [layer for layer in compat.nested_layers(model.head) if isinstance(layer, ConvGN)]
    return body + [block.conv if block.norm is not None else block for block in blocks]


def _float_layers(model):
    """The layers that would lose by it, wherever they are."""
    return [layer for layer in compat.nested_layers(model) if isinstance(layer, (GroupNormalization, DeformableConv2D))]


def _operations_of(layers):
    """A set that gets the names of the operations that these layers make, as soon as a graph of them is traced.

    The layers are changed: they are to be those of a copy.
    """
    names = set()

    def recorded(call, *args, **kwargs):
        graph = tf.compat.v1.get_default_graph()
        before = len(graph.get_operations())
        outputs = call(*args, **kwargs)
        names.update(operation.name for operation in graph.get_operations()[before:])
        return outputs

    for layer in layers:
        layer.call = functools.partial(recorded, layer.call)
    return names


def _quantized(converter, operations, examples):
    """int8 for the operations of these names. The debugger is the public way to leave single ones as they are."""
    converter.representative_dataset = lambda: iter(examples)
    debugger = tf.lite.experimental.QuantizationDebugger(
        converter=converter, debug_dataset=converter.representative_dataset
    )
    tensors = compat.tflite_interpreter(debugger.calibrated_model).get_tensor_details()
    in_float = [tensor["name"] for tensor in tensors if not _is_made_by(operations, tensor["name"])]
    # Operations of several outputs are not found by name; backbone and neck have none of these two. What they read,
    # such as the DGQP's probabilities, may still be rounded to 1/256.
    debugger.options = tf.lite.experimental.QuantizationDebugOptions(
        denylisted_nodes=in_float, denylisted_ops=["UNPACK", "TOPK_V2"]
    )
    return debugger.get_nondebug_quantized_model()


def _is_made_by(operations, tensor):
    """Whether a tensor of this name is made by some of the operations alone.

    The converter gives a tensor the names of all operations that it has made one, and a number where there is another
    tensor of that name, behind the last name or behind a semicolon of its own.
    """

    def is_known(name):
        ends = range(len(name.rstrip(string.digits)), len(name) + 1)
        return any(name[:end] in operations for end in ends)

    return all(is_known(name) for name in tensor.split(";") if name.strip(string.digits))
