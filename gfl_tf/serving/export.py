"""A detector to a versioned folder that other programs run: as SavedModel, TensorFlow Lite or ONNX file."""

import collections.abc
import dataclasses
import os
import pathlib
import re
import typing

import numpy as np
import tensorflow as tf

from gfl_tf import quiet
from gfl_tf.data import images as image_ops
from gfl_tf.detectors import checks
from gfl_tf.detectors.detector import Detector
from gfl_tf.serving import assets, canvas, network, onnx, onnx_int8, signatures, tf_serving, tflite, versions, warmup

MAX_REPRESENTATIVE_IMAGES = 100
PRECISIONS = {"saved_model": network.PRECISIONS, "tflite": tflite.PRECISIONS, "onnx": ("float32", "int8")}
DECODER = ("nms", "score_threshold", "max_detections", "iou_threshold", "voting_sigma")  # `PredictionDecoder`'s options
# Options that not all formats have.
ONLY_OF = {
    "saved_model": ("canvas", "freeze", "on_bad_image", "max_pixels", "batch_sizes"),
    "tflite": ("canvas", "representative_images"),
    "onnx": ("representative_images",),
}


@dataclasses.dataclass(frozen=True)
class Options:
    """How to export.

    Attributes:
        format: "saved_model", "tflite" or "onnx".
        precision: "float32", of a SavedModel "bfloat16" or "float16", of TensorFlow Lite "float16" or "int8", of ONNX
            "int8".
        nms, score_threshold, max_detections, iou_threshold, voting_sigma: instead of the model's decoder's; None: as
            there. See `PredictionDecoder`: what thresholds mean depends on the kind of NMS.
        freeze, on_bad_image, max_pixels: of a SavedModel; see `signatures.trace`.
        batch_sizes: of a SavedModel: the server's allowed batch sizes, each of which gets a warm-up request.
        canvas: (height, width), multiples of 32: of TensorFlow Lite's input; of a SavedModel's network, where images
            of a request then pass it together, see `signatures.trace`.
        representative_images: of int8: folder of images like those that the model will see, of which up to a
            hundred are used.
        keep: how many versions to keep, this one included; 0: all.

    Raises:
        ValueError: a value that is out of its range, or an option that the format does not have.
    """

    format: str = "saved_model"
    precision: str = "float32"
    nms: str | None = None
    score_threshold: float | None = None
    max_detections: int | None = None
    iou_threshold: float | None = None
    voting_sigma: float | None = None
    freeze: bool = False
    on_bad_image: str = "error"
    max_pixels: int = signatures.MAX_PIXELS
    batch_sizes: tuple = tf_serving.BATCH_SIZES
    canvas: tuple = ()
    representative_images: str = ""
    keep: int = 0

    def __post_init__(self):
        if self.format not in ONLY_OF:
            raise ValueError(f"format is {self.format!r}; choose one of {', '.join(ONLY_OF)}")
        for field in dataclasses.fields(self):
            formats = [name for name, fields in ONLY_OF.items() if field.name in fields]
            if formats and self.format not in formats and getattr(self, field.name) != field.default:
                raise ValueError(f"{field.name} is an option of {' and '.join(formats)}, not of {self.format}")
        if self.precision not in PRECISIONS[self.format]:
            precisions = ", ".join(PRECISIONS[self.format])
            raise ValueError(f"precision is {self.precision!r}; {self.format} has {precisions}")
        if self.format == "tflite" and len(self.canvas) != 2:
            raise ValueError(f"canvas is {self.canvas}; tflite needs the (height, width) of its input, HEIGHTxWIDTH")
        if self.canvas:
            canvas.check_size(*self.canvas)
        if (self.precision == "int8") != bool(self.representative_images):
            raise ValueError("int8 needs representative_images, to measure ranges with, and no other precision does")
        if self.on_bad_image not in signatures.ON_BAD_IMAGE:
            raise ValueError(f"on_bad_image is {self.on_bad_image!r}; choose one of {signatures.ON_BAD_IMAGE}")
        for name in ("score_threshold", "iou_threshold"):
            if not 0 <= (getattr(self, name) or 0) <= 1:
                raise ValueError(f"{name} is {getattr(self, name)}; it must lie between 0 and 1")
        for name in ("max_detections", "max_pixels"):
            if getattr(self, name) is not None and not 1 <= getattr(self, name) < 1 << 31:
                raise ValueError(f"{name} is {getattr(self, name)}; it must be at least 1 and below 2^31")


def export(
    model: Detector,
    scale: tuple[int, int],
    output: str | os.PathLike,
    name: str,
    options: Options | None = None,
    class_names: collections.abc.Sequence[str] | None = None,
    config: dict[str, typing.Any] | None = None,
    evaluation: dict[str, typing.Any] | None = None,
) -> pathlib.Path:
    """Writes `output`/`name`/VERSION, VERSION being one above the highest there is, and returns its path.

    The version appears under its number complete or not at all, also when the process is killed, and no version is
    ever overwritten; several exports may run at once. See `versions.new_version`.

    Args:
        model: a detector; it stays as it is.
        scale: (long, short) limits of the keep-ratio resize in front of the network.
        output: folder of all exported models.
        name: the model's name, one folder. TensorFlow Serving loads SavedModels alone: give each format its own.
        options: `Options`; default `Options()`.
        class_names: C names; default "0", "1", ...
        config: dict of plain values, the run's resolved config, which goes with the model.
        evaluation: dict of plain values, the evaluation of these weights, likewise.

    Raises:
        ValueError: a name that is no folder name, a path that TensorFlow would not load, another number of class names,
            or what a format refuses.
        ImportError: ONNX, and tf2onnx is not installed.
    """
    options = options or Options()
    if name != os.path.basename(name) or name.startswith(".") or not name:
        raise ValueError(f"name is {name!r}; give the name of one folder, without slashes and leading dots")
    directory = pathlib.Path(output) / name
    if re.search(r"[*?\[\\]", os.path.abspath(directory)):
        raise ValueError(f"{directory}: TensorFlow finds no variables in folders whose names have *, ?, [ or \\")
    class_names = tuple(class_names or map(str, range(model.num_classes)))
    if len(class_names) != model.num_classes:
        raise ValueError(f"{len(class_names)} class names for a model of {model.num_classes} classes")
    changes = {key: getattr(options, key) for key in DECODER}
    decoder = model.prediction_decoder.changed(**{key: value for key, value in changes.items() if value is not None})
    checks.check_decoder(decoder, model)
    write = {"saved_model": _write_saved_model, "tflite": _write_tflite, "onnx": _write_onnx}[options.format]
    with versions.new_version(directory, options.keep) as version:
        # TensorFlow's notes, one of them thousands of characters long, on how it names what it saves.
        with quiet.absl():
            write(version.partial, model, scale, decoder, class_names, name, options)
        assets.write(
            version.partial, class_names, config, evaluation, dataclasses.asdict(options), model.edge_calibration
        )
    return version.path


def _write_saved_model(folder, model, scale, decoder, class_names, name, options):
    tf_serving.write(folder, options.batch_sizes)  # first, as it refuses some sizes, and the rest takes a while
    functions, stages = signatures.trace(
        network.serving_model(model, options.precision),
        scale,
        class_names,
        decoder,
        options.on_bad_image,
        options.max_pixels,
        options.freeze,
        options.canvas or None,
    )
    # Only what the functions read: no Keras objects, metrics or optimizer. And only concrete functions: a SavedModel
    # traces others anew, which takes as long again.
    served = tf.Module()
    used = [variable for function in functions.values() for variable in function.variables]
    served.weights = list({id(variable): variable for variable in used}.values())
    served.stages = stages
    tf.saved_model.save(served, str(folder), signatures=functions)
    warmup.write(folder, name, warmup.pictures(scale, options.max_pixels), options.batch_sizes)


def _write_tflite(folder, model, scale, decoder, class_names, name, options):
    representative = None
    if options.precision == "int8":
        representative = (canvas.place(image, options.canvas)[:2] for image in _representative(options))
    content = tflite.convert(model, *options.canvas, options.precision, representative, decoder)
    (folder / "model.tflite").write_bytes(content)


def _write_onnx(folder, model, scale, decoder, class_names, name, options):
    images = _representative(options) if options.precision == "int8" else None  # refused before the long conversion
    content = onnx.convert(network.serving_model(model), scale, class_names, decoder)
    if images:
        content = onnx_int8.quantized(content, images)
    (folder / "model.onnx").write_bytes(content)


def _representative(options):
    """Iterator of the images, uint8 [h, w, 3]."""
    files = image_ops.find_files([options.representative_images])
    chosen = np.linspace(0, len(files) - 1, min(len(files), MAX_REPRESENTATIVE_IMAGES)).astype(int)
    return (image_ops.read_file(files[index]) for index in chosen)
