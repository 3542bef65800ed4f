"""The record of detections: each value of a detection is declared here, once, for all that is made of detections.

`Detector.detect` gives a record as a dict of tensors, KerasCV's: "num_detections" int32 [B] and the fields below,
[B, D, ...], D rows per image, the best first, padded with -1. Candidates before the suppression, and the detections of
one image without padding ([N, ...], NumPy), are such dicts too. A dict need not have every field, and what is no field
is left alone. The functions here take a record to each output, by this table:

    field         what it is, per detection                served tensor             JSON
    class_names   name of the class                        detection_class_names     class
    classes       index of the class, from 0               detection_classes         class_index
    confidence    score                                    detection_scores          score
    boxes         x1, y1, x2, y2 in pixels                 detection_boxes           box
    edge_stddev   standard deviation of the left, top,     detection_edge_stddev     edge_stddev
                  right and bottom side in pixels
    edge_interval half the widths of intervals around      detection_edge_interval   edge_interval
                  each side, in pixels, per level
    box_interval  the same, of intervals that hold all     detection_box_interval    box_interval
                  four sides at once

Detectors give all but "class_names": "edge_stddev" where they predict distributions of the sides, and the intervals
where these were calibrated (`gfl_tf.boxes.calibration`), at each of the levels they were asked for. Served tensors
have the names and the order of coordinates (y1, x1, y2, x2) of the Object Detection API, "num_detections" as well; rows
from there on are padding: class -1, name "", all else 0. In JSON boxes stay x1, y1, x2, y2.

A detector that puts out something new returns it with its candidates, and one line in `FIELDS` takes it everywhere.
"""

import collections.abc
import dataclasses
import typing

import numpy as np
import tensorflow as tf

PADDING = -1  # in all fields of a record; in served tensors it is the kind's


def _same(values, width):
    return values


def _mirrored_boxes(boxes, width):
    x1, y1, x2, y2 = tf.unstack(boxes, axis=-1)
    return tf.stack([width - x2, y1, width - x1, y2], axis=-1)


def _mirrored_sides(sides, width):
    return tf.gather(sides, [2, 1, 0, 3], axis=-1)


@dataclasses.dataclass(frozen=True)
class Kind:
    """What a field's values are, and so what becomes of them on the way.

    Attributes:
        shape: of one detection's value; None: as many as there are levels.
        dtype: in served tensors and in the record that `from_served` makes of them.
        padding: in served tensors.
        in_pixels: scaled with the image; [..., 4] along x, y, x, y.
        in_image: a position, which is clipped to the image.
        mirrored: (values, the image's width in pixels) -> the values in the mirror image.
        served_order: of the coordinates in served tensors; its own inverse. None: as in the record.
    """

    shape: tuple = ()
    dtype: tf.DType = tf.float32
    padding: typing.Any = 0
    in_pixels: bool = False
    in_image: bool = False
    mirrored: typing.Callable = _same
    served_order: tuple | None = None


BOX = Kind((4,), in_pixels=True, in_image=True, mirrored=_mirrored_boxes, served_order=(1, 0, 3, 2))
SIDES = Kind((4,), in_pixels=True, mirrored=_mirrored_sides)  # lengths at left, top, right and bottom
SIDES_OF_LEVELS = Kind((None, 4), in_pixels=True, mirrored=_mirrored_sides)
NUMBER = Kind()
INDEX = Kind(dtype=tf.int32, padding=-1)
NAME = Kind(dtype=tf.string, padding="")


@dataclasses.dataclass(frozen=True)
class Field:
    """One value of each detection.

    Attributes:
        name: in the record.
        kind: `Kind`.
        served: name of the served tensor.
        json: key in JSON.
        digits: decimals in JSON, of floating-point numbers.
    """

    name: str
    kind: Kind
    served: str
    json: str
    digits: int = 4


FIELDS = (
    Field("class_names", NAME, "detection_class_names", "class"),
    Field("classes", INDEX, "detection_classes", "class_index"),
    Field("confidence", NUMBER, "detection_scores", "score"),
    Field("boxes", BOX, "detection_boxes", "box", digits=2),
    Field("edge_stddev", SIDES, "detection_edge_stddev", "edge_stddev", digits=2),
    Field("edge_interval", SIDES_OF_LEVELS, "detection_edge_interval", "edge_interval", digits=2),
    Field("box_interval", SIDES_OF_LEVELS, "detection_box_interval", "box_interval", digits=2),
)


def _fields(found):
    return [field for field in FIELDS if field.name in found]


# From image to image, for candidates and detections alike.


def scaled(found: dict[str, typing.Any], factor: tf.Tensor | np.ndarray) -> dict[str, typing.Any]:
    """A record whose pixels are multiplied by `factor`, that of x, y, x, y: [4], or [B, 1, 4] for each image."""
    in_pixels = [field for field in _fields(found) if field.kind.in_pixels]
    of_sides = {field.name: _expanded(factor, -2, len(field.kind.shape) - 1) for field in in_pixels}
    return {**found, **{name: found[name] * of_sides[name] for name in of_sides}}


def _like(values, field):
    """`values`, one per detection, with axes for those of the field's value."""
    return _expanded(values, -1, len(field.kind.shape))


def _expanded(values, axis, times):
    # Not by an index with an ellipsis, which tf2onnx takes for another.
    for _ in range(times):
        values = tf.expand_dims(values, axis) if tf.is_tensor(values) else np.expand_dims(values, axis)
    return values


def to_original(
    found: dict[str, typing.Any], original_shape: tf.Tensor, resized_shape: tf.Tensor
) -> dict[str, typing.Any]:
    """A record in pixels of images of `resized_shape` to one in those of `original_shape`, positions clipped to it.

    Args:
        found: record of tensors, [B, ...].
        original_shape, resized_shape: int (height, width), [2] for all images or [B, 2].
    """
    limit = _width_height_twice(original_shape)
    in_original = scaled(found, limit / _width_height_twice(resized_shape))
    for field in _fields(found):
        if field.kind.in_image:
            in_original[field.name] = tf.clip_by_value(in_original[field.name], 0.0, limit)
        if field.kind.in_pixels and "classes" in found:  # of candidates none is padding
            is_detection = _like(found["classes"] >= 0, field)
            in_original[field.name] = tf.where(is_detection, in_original[field.name], found[field.name])
    return in_original


def _width_height_twice(shape):
    """float32 [4] or [B, 1, 4], what x1, y1, x2, y2 are limited and scaled by, of (height, width) [2] or [B, 2]."""
    limits = tf.cast(tf.gather(shape, [1, 0, 1, 0], axis=-1), tf.float32)
    return limits if limits.shape.rank == 1 else limits[:, tf.newaxis]


def mirrored(found: dict[str, tf.Tensor], width: tf.Tensor | float) -> dict[str, tf.Tensor]:
    """A record of candidates in an image of that width in pixels to one in its mirror image."""
    return {**found, **{field.name: field.kind.mirrored(found[field.name], width) for field in _fields(found)}}


# From candidates to detections, and from a batch to its images.


def at_candidates(candidates: dict[str, typing.Any], index: tf.Tensor) -> dict[str, typing.Any]:
    """Each detection's values: (nested) values [B, K, ...] at `index` int32 [B, D], [B, D, ...]; -1 where that is."""

    def gathered(values):
        shape = tf.concat([tf.shape(index), [1] * (values.shape.rank - 2)], axis=0)
        at_index = tf.gather(values, tf.maximum(index, 0), batch_dims=1)
        return tf.where(tf.reshape(index >= 0, shape), at_index, tf.cast(PADDING, values.dtype))

    return tf.nest.map_structure(gathered, candidates)


def of_image(found: dict[str, tf.Tensor], index: int = 0) -> dict[str, np.ndarray]:
    """The detections of one image of a batch, without padding: a record of arrays [N, ...]."""
    rows = {name: np.asarray(value[index]) for name, value in found.items() if len(value.shape) > 1}
    return select(rows, rows["classes"] >= 0)


def select(found: dict[str, np.ndarray], which: np.ndarray) -> dict[str, np.ndarray]:
    """The detections of one image that a mask or an index picks."""
    return {name: value[which] for name, value in found.items()}


# Served tensors.


def to_served(
    found: dict[str, tf.Tensor], class_names: collections.abc.Sequence[str] | None = None
) -> dict[str, tf.Tensor]:
    """The served tensors, by their names, of a record of tensors [B, D, ...].

    `class_names`: of all classes; None: without detection_class_names.
    """
    if class_names is not None:
        index = tf.cast(found["classes"], tf.int32) % (len(class_names) + 1)  # of padding: the last
        found = {**found, "class_names": tf.gather([*class_names, ""], index)}
    is_detection = found["classes"] >= 0
    outputs = {"num_detections": found["num_detections"]}
    for field in _fields(found):
        values = found[field.name]
        if field.kind.served_order:
            values = tf.gather(values, field.kind.served_order, axis=-1)
        padding = tf.constant(field.kind.padding, field.kind.dtype)
        outputs[field.served] = tf.where(_like(is_detection, field), tf.cast(values, field.kind.dtype), padding)
    return outputs


def served_padding(name: str, dtype: tf.DType) -> int | str:
    """What a served tensor has in the rows behind the last detection, and in the place of an image without any."""
    paddings = {field.served: field.kind.padding for field in FIELDS}
    return paddings.get(name, "" if dtype == tf.string else 0)


def from_served(outputs: dict[str, typing.Any]) -> dict[str, np.ndarray]:
    """The detections of one image, a record of arrays [N, ...], of its served tensors: arrays or lists [D, ...]."""
    count = int(outputs["num_detections"])
    found = {}
    for field in FIELDS:
        if field.served in outputs:
            dtype = object if field.kind.dtype == tf.string else field.kind.dtype.as_numpy_dtype
            values = np.asarray(outputs[field.served], dtype)
            shape = values.shape[1:] if None in field.kind.shape else field.kind.shape
            values = values[:count].reshape(-1, *shape)
            found[field.name] = values[..., list(field.kind.served_order)] if field.kind.served_order else values
    return found


# JSON and COCO.


def to_json(
    found: dict[str, np.ndarray], class_names: collections.abc.Sequence[str] | None = None
) -> list[dict[str, typing.Any]]:
    """The rows of a JSON file: a dict of plain values, by the fields' keys, for each detection of one image.

    Args:
        found: record of arrays [N, ...].
        class_names: of all classes, where the record has no "class_names".
    """
    if class_names is not None:
        found = {**found, "class_names": [class_names[int(index)] for index in found["classes"]]}
    columns = {field.json: [_plain(field, value) for value in found[field.name]] for field in _fields(found)}
    return [dict(zip(columns, row)) for row in zip(*columns.values())]


def _plain(field, value):
    if field.kind.dtype == tf.string:
        return value.decode() if isinstance(value, bytes) else value
    if np.ndim(value):
        return [_plain(field, part) for part in value]
    return int(value) if field.kind.dtype.is_integer else round(float(value), field.digits)


def to_coco_columns(found: dict[str, np.ndarray], category_ids: collections.abc.Sequence) -> dict[str, np.ndarray]:
    """COCO's results of the detections of one image, as arrays; boxes without area are none.

    Args:
        found: record of arrays [N, ...], in pixels of the image file.
        category_ids: the annotations' category of each class; None: it has none, and its detections are left out.

    Returns:
        {"class": int64 [n], "bbox": float64 [n, 4] (x, y, width, height), "score": float64 [n]}.
    """
    boxes, classes = np.asarray(found["boxes"], np.float64), np.asarray(found["classes"]).astype(np.int64)
    sizes = boxes[:, 2:] - boxes[:, :2]
    has_category = np.array([category_id is not None for category_id in category_ids], bool)
    kept = (sizes > 0).all(axis=1) & has_category[classes]
    return {
        "class": classes[kept],
        "bbox": np.round(np.concatenate([boxes[:, :2], sizes], axis=1)[kept], 3),
        "score": np.round(np.asarray(found["confidence"], np.float64)[kept], 6),
    }
