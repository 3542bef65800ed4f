"""One way to run an exported model of any format: what a program around it has to do, in Python."""

import pathlib

import numpy as np
import tensorflow as tf

from gfl_tf import compat
from gfl_tf.serving import canvas

FILES = ("saved_model.pb", "model.tflite", "model.onnx")


def load(path):
    """A function that detects with an exported model.

    Args:
        path: version folder, holding a SavedModel (saved_model.pb), model.tflite or model.onnx.

    Returns a function of one image, uint8 [h, w, 3], RGB, to a dict of arrays, best detection first, N being the number
    of detections:
        boxes: float32 [N, 4], x1, y1, x2, y2 in pixels of the image.
        scores: float32 [N].
        classes: int32 [N], 0-based class index.
        edge_stddev: float32 [N, 4], standard deviation of the left, top, right and bottom side in pixels of the image;
            of detectors with box distributions alone.

    Raises:
        ValueError: the folder holds no exported model.
        ImportError: an ONNX model, and onnxruntime is not installed.
    """
    file = model_file(path)
    return {"saved_model.pb": _saved_model, "model.tflite": _tflite, "model.onnx": _onnx}[file.name](file)


def model_file(path):
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


def _saved_model(file):
    loaded = tf.saved_model.load(str(file.parent))

    def detect(image):
        # By way of `loaded`: a signature alone does not keep the weights that it reads.
        outputs = loaded.signatures["image_tensor"](image_tensor=tf.constant(image[np.newaxis]))
        return _detections({name: value.numpy() for name, value in outputs.items()})

    return detect


def _onnx(file):
    try:
        import onnxruntime  # not needed by other formats
    except ImportError as error:
        raise ImportError(f"{file} is an ONNX model; install onnxruntime to run it: pip install onnxruntime") from error
    session = onnxruntime.InferenceSession(str(file), providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]

    def detect(image):
        return _detections(dict(zip(names, session.run(names, {"image_tensor": image[np.newaxis]}))))

    return detect


def _tflite(file):
    interpreter = compat.tflite_interpreter(file.read_bytes())
    run = interpreter.get_signature_runner("serving_default")
    canvas_shape = run.get_input_details()["image"]["shape"][1:3]

    def detect(image):
        # The model sees a canvas of fixed size and answers in its pixels: resizing and mapping back is up to the app.
        on_canvas, image_shape, factor = canvas.place(image, canvas_shape)
        return _detections(run(image=on_canvas, image_shape=image_shape), factor)

    return detect


def _detections(outputs, factor=None):
    """The detections among the padded outputs of one image; `factor` float32 [4]: to pixels of the image."""
    factor = np.ones([4], np.float32) if factor is None else factor
    count = int(outputs["num_detections"][0])
    detections = {
        "boxes": outputs["detection_boxes"][0, :count][:, [1, 0, 3, 2]] * factor,
        "scores": outputs["detection_scores"][0, :count],
        "classes": outputs["detection_classes"][0, :count],
    }
    if "detection_edge_stddev" in outputs:
        detections["edge_stddev"] = outputs["detection_edge_stddev"][0, :count] * factor
    return detections
