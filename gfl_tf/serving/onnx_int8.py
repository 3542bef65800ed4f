"""An ONNX model whose convolutions compute in integers, by ONNX Runtime's static quantization."""

import collections.abc
import itertools
import logging
import pathlib
import tempfile

import numpy as np

from gfl_tf import quiet


def quantized(content: bytes, images: collections.abc.Iterable[np.ndarray]) -> bytes:
    """The model with kernels of 7 bits, a scale for each filter, and activations of 8, whose ranges `images` show.

    It is of the "QDQ" form: what lies between a DequantizeLinear and a QuantizeLinear may be computed in integers, and
    a runtime without such kernels does it in float32. Deformable convolutions and all other operations stay float32.

    Args:
        content: of `onnx.convert`.
        images: uint8 [h, w, 3], RGB, of any sizes: a hundred or so like those to come.

    Raises:
        ImportError: onnxruntime is not installed.
        ValueError: there are no images.
    """
    try:
        from onnxruntime import quantization
        from onnxruntime.quantization.shape_inference import quant_pre_process
    except ImportError as error:
        raise ImportError('int8 needs onnxruntime; in the checkout: pip install ".[onnx]"') from error

    images = iter(images)
    first = next(images, None)
    if first is None:
        raise ValueError("there are no representative images")
    inputs = ({"image_tensor": image[np.newaxis]} for image in itertools.chain([first], images))

    class Reader(quantization.CalibrationDataReader):
        def get_next(self):
            return next(inputs, None)

    with tempfile.TemporaryDirectory() as folder, quiet.loggers("root", level=logging.ERROR):
        given, prepared, result = (pathlib.Path(folder) / f"{name}.onnx" for name in ("given", "prepared", "result"))
        given.write_bytes(content)
        quant_pre_process(given, prepared, skip_symbolic_shape=True)  # which is meant for transformers
        quantization.quantize_static(
            prepared,
            result,
            Reader(),
            op_types_to_quantize=["Conv"],
            per_channel=True,
            activation_type=quantization.QuantType.QUInt8,  # signed ones take longer on x86
            weight_type=quantization.QuantType.QInt8,
            reduce_range=True,  # with kernels of 8 bits, x86 processors without VNNI saturate sums of products
        )
        return result.read_bytes()
