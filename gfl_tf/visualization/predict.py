"""Detections of image files, as annotated pictures and one JSON file."""

import collections
import collections.abc
import json
import os
import pathlib
import typing

import numpy as np
import tensorflow as tf
from absl import logging
from PIL import Image

from gfl_tf import detections, files
from gfl_tf.boxes.distributions import GeneralDistribution
from gfl_tf.data import image_checks
from gfl_tf.data import images as image_ops
from gfl_tf.evaluation import original_pixels
from gfl_tf.ops import distributions as distribution_ops
from gfl_tf.visualization import detections as drawing
from gfl_tf.visualization import distributions

if typing.TYPE_CHECKING:
    from gfl_tf.detectors.detector import Detector


JSON_FILE = "predictions.json"


def predict(
    model: "Detector",
    paths: collections.abc.Sequence[str | os.PathLike],
    output: str | os.PathLike,
    scale: tuple[int, int],
    class_names: collections.abc.Sequence[str],
    max_distributions: int = 0,
) -> dict[str, typing.Any]:
    """Writes into the folder `output`, for images NAME.*:

        NAME.jpg                  the picture with its boxes, names, scores and the uncertainty of each edge; a small
                                  one enlarged
        NAME_distributions.png    if asked for and anything was found: its best detections, each with its four
                                  distributions
        predictions.json          {"images": [...], "skipped": [...]}, see below, and of a calibrated detector
                                  "interval_levels", those of its intervals

    An image in the JSON is {"file", "width", "height", "picture", "detections"}; the detections, best first, are
    `gfl_tf.detections.to_json`'s, in pixels of the file, as they are stored. A file that cannot be decoded is skipped,
    with a warning: {"file", "reason"}. Files of folders that are not named like images are warned of.

    Args:
        model: a detector; its prediction decoder sets the least score and the most detections.
        paths: of images, and of folders of which all images are taken (not those of their subfolders).
        output: folder, made if need be.
        scale: (long, short) limits of the keep-ratio resize in front of the network.
        class_names: of the model's classes.
        max_distributions: the distributions of so many detections per image are plotted.

    Returns the content of the JSON file.

    Raises:
        ValueError: a path that does not exist, no image at all, or `output` is the folder of an image.
    """
    image_ops.warn_of_other_files([file.name for file in image_ops.other_files(paths)])
    paths = image_ops.find_files(paths)
    output = pathlib.Path(output)
    if output.resolve() in {file.resolve().parent for file in paths}:
        raise ValueError(f"the folder to write to, {output}, holds images to read; choose another one")
    output.mkdir(parents=True, exist_ok=True)
    detect = detect_function(model, scale, max_distributions)
    names = _distinct_names(paths)
    found, skipped, doubts = [], [], []
    for number, file in enumerate(paths):
        logging.info("%d of %d: %s", number + 1, len(paths), file)
        try:
            image = image_ops.read_file(file)
        except ValueError as error:
            logging.warning("%s; skipped", error)
            skipped.append({"file": str(file), "reason": str(error)})
            continue
        doubts += image_checks.doubts(file, image)
        result = detections.of_image(detect(image[np.newaxis]))
        _draw(image, result, class_names, output / f"{names[file]}.jpg")
        if max_distributions and len(result["boxes"]):
            _plot(image, result, class_names, output / f"{names[file]}_distributions.png", max_distributions)
        record = {"file": str(file), "width": image.shape[1], "height": image.shape[0]}
        record["picture"] = f"{names[file]}.jpg"
        found.append({**record, "detections": detections.to_json(result, class_names)})
    _warn_of(doubts, len(paths))
    content = {"images": found, "skipped": skipped}
    if model.edge_calibration:
        content["interval_levels"] = list(model.edge_calibration.levels)
    files.write(output / JSON_FILE, json.dumps(content, indent=1) + "\n")
    return content


def _warn_of(doubts, num_images):
    for doubt, number in collections.Counter(doubts).items():
        logging.warning("%d of %d images: %s", number, num_images, doubt)


def _distinct_names(files):
    """{file: its name without suffix}, with a number behind it where an earlier file has the name too."""
    names, taken = {}, set()
    for file in files:
        name, number = file.stem, 1
        while name in taken:
            number += 1
            name = f"{file.stem}_{number}"
        taken.add(name)
        names[file] = name
    return names


def detect_function(
    model: "Detector", scale: tuple[int, int], with_distributions: bool | int
) -> tf.types.experimental.GenericFunction:
    """A function of one image, uint8 [1, h, w, 3], to its detections in its own pixels.

    They are `original_pixels.detect`'s, and `with_distributions` also "probabilities" [1, D, 4, n + 1] of the sides,
    "bin_px" [1, D], from one bin to the next, and "points" [1, D, 2], x and y from where the distances are measured.

    Raises:
        ValueError: distributions of a model that has none.
    """
    if with_distributions and not isinstance(model.boxes, GeneralDistribution):
        raise ValueError(f"a detector with {type(model.boxes).__name__} does not predict distributions; leave them out")

    # Without autograph, which no Python of the model needs, it is traced in half the time.
    @tf.function(input_signature=[tf.TensorSpec([1, None, None, 3], tf.uint8)], autograph=False)
    def detect(image):
        found = original_pixels.detect(model, image, scale, with_outputs=bool(with_distributions))
        if with_distributions:
            original_hw = tf.shape(image)[1:3]
            factor_hw = tf.cast(original_hw / image_ops.keep_ratio_size(original_hw, scale), tf.float32)
            found["probabilities"] = distribution_ops.side_probabilities(found.pop("outputs")["box"])
            # Both axes have the same factor but for the rounding of the resized image to whole pixels.
            found["bin_px"] = found.pop("point_strides") * model.boxes.bin_width * tf.reduce_mean(factor_hw)
            found["points"] = found.pop("points_px") * tf.reverse(factor_hw, [0])
        return found

    return detect


def _draw(image, result, class_names, path):
    picture = drawing.draw_detections(image, result, class_names, enlarge=drawing.legible(image))
    Image.fromarray(picture).save(path, quality=95)


def _plot(image, result, class_names, path, count):
    plots = [
        distributions.plot_detection(image, box, probabilities, bin_px, class_names[int(index)], score, point)
        for box, probabilities, bin_px, index, score, point in zip(
            *(result[name][:count] for name in ("boxes", "probabilities", "bin_px", "classes", "confidence", "points"))
        )
    ]
    Image.fromarray(drawing.grid(plots, columns=1)).save(path)
