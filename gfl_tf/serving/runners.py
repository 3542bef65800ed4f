"""One way to run an exported model of any format: what a program around it has to do, in Python."""

import collections.abc
import os
import pathlib

import numpy as np
import tensorflow as tf

from gfl_tf import compat, detections
from gfl_tf.serving import canvas

FILES = ("saved_model.pb", "model.tflite", "model.onnx")


def load(path: str | os.PathLike) -> collections.abc.Callable[[np.ndarray], dict[str, np.ndarray]]:
    """A function that detects with an exported model.

    Args:
        path: version folder, holding a SavedModel (saved_model.pb), model.tflite or model.onnx.

    Returns a function of one image, uint8 [h, w, 3], RGB, to its detections, a record of arrays as in
    `gfl_tf.detections`, in pixels of the image. Only a SavedModel has the classes' names.

    Raises:
        ValueError: the folder holds no exported model.
        ImportError: an ONNX model, and onnxruntime is not installed.
    """
    file = model_file(path)
    return {"saved_model.pb": _saved_model, "model.tflite": _tflite, "model.onnx": _onnx}[file.name](file)


def model_file(path: str | os.PathLike) -> pathlib.Path:
    """The file that says which format the export in the version folder `path` has.

    Raises:
        ValueError: the folder holds no exported model.
    """
    for name in FILES:
        if (pathlib.Path(path) / name).is_file():
            return pathlib.Path(path) / name
    raise ValueError(
        f"{path} holds no exported model, none of {', '.join(FILES)}; give the folder of one version, such as"
        " saved_models/NAME/1"
    )


def load_batched(path: str | os.PathLike) -> collections.abc.Callable[[np.ndarray], list[dict[str, np.ndarray]]]:
    """A function that detects with a SavedModel in several images of one size at once.

    Args:
        path: version folder, at any path that tf.io.gfile reads.

    Returns a function of images, uint8 [B, h, w, 3], RGB, to B records as those of `load`'s functions.

    Raises:
        ValueError: the folder holds no SavedModel, or one that gfl_tf did not export.
    """
    path = os.fspath(path)
    if not tf.io.gfile.exists(tf.io.gfile.join(path, "saved_model.pb")):
        raise ValueError(f"{path} holds no SavedModel; give the folder of one version, such as saved_models/NAME/1")
    loaded = tf.saved_model.load(path)
    if "image_tensor" not in loaded.signatures:
        raise ValueError(f"{path} is no export of gfl_tf: it has no signature image_tensor")

    def detect(images):
        # By way of `loaded`: a signature alone does not keep the weights that it reads.
        outputs = loaded.signatures["image_tensor"](image_tensor=tf.constant(images))
        outputs = {name: value.numpy() for name, value in outputs.items()}
        return [_of_one_image(outputs, index) for index in range(len(images))]

    return detect


def _saved_model(file):
    detect = load_batched(file.parent)
    return lambda image: detect(image[np.newaxis])[0]


def _onnx(file):
    try:
        import onnxruntime  # not needed by other formats
    except ImportError as error:
        raise ImportError(f"{file} is an ONNX model; install onnxruntime to run it: pip install onnxruntime") from error
    session = onnxruntime.InferenceSession(str(file), providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]

    def detect(image):
        return _of_one_image(dict(zip(names, session.run(names, {"image_tensor": image[np.newaxis]}))))

    return detect


def _tflite(file):
    interpreter = compat.tflite_interpreter(file.read_bytes())
    run = interpreter.get_signature_runner("serving_default")
    canvas_shape = run.get_input_details()["image"]["shape"][1:3]

    def detect(image):
        # The model sees a canvas of fixed size and answers in its pixels: resizing and mapping back is up to the app.
        on_canvas, image_shape, factor = canvas.place(image, canvas_shape)
        found = _of_one_image(run(image=on_canvas, image_shape=image_shape))
        return detections.scaled(found, factor[[1, 0, 1, 0]])

    return detect


def _of_one_image(outputs, index=0):
    return detections.from_served({name: value[index] for name, value in outputs.items()})
