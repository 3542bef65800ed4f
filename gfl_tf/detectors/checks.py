"""What a user hands to a detector, checked: errors that name what is wrong and what to do."""

import os
import typing

import keras
import tensorflow as tf
from absl import logging

from gfl_tf import compat
from gfl_tf.compat import keras_cv
from gfl_tf.detectors.decoder import PredictionDecoder
from gfl_tf.detectors.distillation import Distillation
from gfl_tf.layers.recompute import Segments
from gfl_tf.ops.grid import Places
from gfl_tf.rules import COUNT, FLAG, NOT_NEGATIVE, NUMBER, POSITIVE, check_value, either, exactly, several
from gfl_tf.texts import first_ones

LOSS_RULES = {
    "classification_weight": NOT_NEGATIVE,
    "box_weight": NOT_NEGATIVE,
    "refined_box_weight": either(exactly(None), NOT_NEGATIVE),
    "count_empty_images": FLAG,
}
LABELS = 'labels are a dict {"boxes": [B, M, 4], "classes": [B, M]}'


def unpack(data: typing.Any) -> tuple[tf.Tensor, dict[str, typing.Any], tf.Tensor | None]:
    """(images, labels, sample weights or None) of a training batch: a tuple of these, or KerasCV's {"images": ...,
    "bounding_boxes": ...}.

    Raises:
        ValueError: it is neither, or the images or labels have another form; says which.
    """
    if isinstance(data, dict):
        missing = [name for name in ("images", "bounding_boxes") if name not in data]
        if missing:
            raise ValueError(
                f'a batch is (images, labels) or {{"images": ..., "bounding_boxes": ...}}; this dict has '
                f"{', '.join(sorted(data))} and no {missing[0]!r}"
            )
        images, labels, weights = data["images"], data["bounding_boxes"], None
    else:
        if not isinstance(data, tuple) or len(data) not in (2, 3):
            raise ValueError("a training batch is (images, labels) or (images, labels, sample weights)")
        images, labels, weights = (*data, None)[:3]
    check_images(images)
    if isinstance(weights, dict):  # Keras 3 hands an array on for each of the labels
        weights = next(iter(weights.values()))
    if not isinstance(labels, dict) or not {"boxes", "classes"} <= set(labels):
        found = sorted(labels) if isinstance(labels, dict) else type(labels).__name__
        raise ValueError(f"{LABELS}, not {found}")
    return images, labels, weights


def images_of(data: typing.Any) -> tf.Tensor:
    """The images of a batch for prediction: alone, first of a tuple, or under "images"."""
    images = data[0] if isinstance(data, tuple) else data
    if isinstance(images, dict):
        if "images" not in images:
            raise ValueError(f'images are a tensor or {{"images": ...}}; this dict has {", ".join(sorted(images))}')
        images = images["images"]
    check_images(images)
    return images


def check_images(images: tf.Tensor) -> None:
    shape = tf.TensorShape(getattr(images, "shape", None))  # a distributed batch has none
    if shape.rank is not None and (shape.rank != 4 or shape[3] not in (3, None)):
        remedy = "add a batch axis: images[None]" if shape.rank == 3 else "give each three channels, RGB"
        raise ValueError(f"images are [B, H, W, 3], RGB in 0..255; these are {tuple(shape)}: {remedy}")


def checked_labels(images: tf.Tensor, classes: tf.Tensor, num_classes: int) -> tf.Tensor:
    """`classes` [B, M] as int32, once the images are finite and the classes whole numbers from -1, which is padding,
    to below `num_classes`; otherwise the step fails."""
    classes = tf.convert_to_tensor(classes)
    whole = tf.cast(classes, tf.int32)
    is_right = (tf.cast(whole, classes.dtype) == classes) & (whole >= -1) & (whole < num_classes)
    wrong = tf.reduce_max(tf.where(is_right, tf.constant(classes.dtype.min, classes.dtype), classes))
    message = f"is no class: with num_classes = {num_classes} they are 0 to {num_classes - 1}, and -1 is padding."
    in_range = tf.debugging.Assert(tf.reduce_all(is_right), [wrong, message])
    finite = tf.math.is_finite(tf.reduce_sum(tf.cast(images, tf.float32)))
    finite = tf.debugging.Assert(finite, ["images hold values that are not finite (NaN or infinite)"])
    with tf.control_dependencies([check for check in (in_range, finite) if check is not None]):
        return tf.identity(whole)


class FirstBatch(keras.callbacks.Callback):
    """Warns once, after the first step, of what can hardly be meant."""

    def __init__(self):
        super().__init__()
        self._is_over = False

    def on_train_batch_end(self, batch: int, logs: dict[str, typing.Any] | None = None) -> None:
        if self._is_over:
            return
        self._is_over = True
        largest, num_boxes, num_positives = (float(metric.result()) for metric in self.model.first_batch)
        if 0 < largest <= 1:
            logging.warning(
                "The largest pixel value of the first batch is %.3g, but detectors take images in 0..255: "
                "multiply them by 255.", largest,
            )  # fmt: skip
        if num_boxes and not num_positives:
            logging.warning(
                "None of the %d boxes of the first batch is learnt anywhere: they are outside of their images or "
                "smaller than a pixel. Are they in the model's bounding_box_format, %r?", num_boxes,
                self.model.bounding_box_format,
            )  # fmt: skip


def check_interface(bounding_box_format: str, mean: typing.Any, std: typing.Any) -> None:
    """Raises ValueError for an unknown format of boxes, for a mean without a std or the other way round, and for values
    of theirs that cannot be."""
    if (mean is None) != (std is None):
        raise ValueError("mean and std belong together: give both, or neither")
    if mean is not None:
        check_value("mean", mean, several(NUMBER, 3))
        check_value("std", std, several(POSITIVE, 3))
    # KerasCV knows the names, and says so.
    keras_cv.bounding_box.convert_format(
        tf.zeros([1, 4]), source="xyxy", target=bounding_box_format, image_shape=(1, 1, 3)
    )


def check_outputs(outputs: dict[str, tf.Tensor], num_classes: int, boxes: typing.Any, score: typing.Any) -> None:
    """Raises ValueError where a head's outputs are not what the box coder and the score need."""
    found = outputs["classification"].shape[-1]
    if found != num_classes:
        raise ValueError(f"num_classes is {num_classes}, the head's is {found}")
    found, needed = outputs["box"].shape[-1], boxes.num_outputs
    if found != needed:
        raise ValueError(f"the head has {found} box outputs a place, but {type(boxes).__name__} needs {needed}")
    score.check_outputs(outputs)


def check_decoder(decoder: PredictionDecoder, model: typing.Any) -> None:
    """Raises TypeError for what is no decoder, ValueError where it votes by the spread of edges and the detector states
    none."""
    if not isinstance(decoder, PredictionDecoder):
        raise TypeError(
            f"prediction_decoder is a gfl_tf.PredictionDecoder, not {decoder!r}; KerasCV's iou_threshold, "
            "confidence_threshold and max_detections are its iou_threshold, score_threshold and max_detections"
        )
    sigma, boxes = decoder.voting_sigma, model.boxes
    if sigma and not _states_spread(boxes):
        raise ValueError(
            f"voting_sigma is {sigma}, but a detector with {type(boxes).__name__} states no spread of "
            "its edges to vote with: set it to 0, or train a detector with distributions, such as gfl_tf.GFLV2"
        )


def _states_spread(boxes):
    nowhere = Places(tf.zeros([0, 2]), tf.zeros([0]), tf.zeros([0, 4]))
    return "edge_stddev" in boxes.extras(tf.zeros([0, boxes.num_outputs]), nowhere)


def check_compile(
    loss: typing.Any, loss_weights: typing.Any, metrics: typing.Any, weighted_metrics: typing.Any
) -> None:
    """Raises ValueError for arguments of `compile` that a detector cannot use."""
    if loss is not None or loss_weights is not None:
        raise ValueError(
            "compile(loss=..., loss_weights=...): a detector has its own losses; choose them when it is made, such as "
            "gfl_tf.GFL(..., box_loss=gfl_tf.losses.CIoULoss(), box_weight=2.0)"
        )
    if weighted_metrics:
        raise ValueError("compile(weighted_metrics=...): detections have no weights; give metrics=...")
    wrong = [metric for metric in metrics or [] if not isinstance(metric, keras.metrics.Metric)]
    if wrong:
        raise ValueError(f"metrics are Keras metrics of labels and detections, not {wrong[0]!r}")


def check_distillation(distillation: typing.Any, student: typing.Any) -> None:
    """Raises TypeError for what is no `Distillation` and not None; ValueError where its teacher cannot teach the
    student."""
    if not isinstance(distillation, Distillation | None):
        raise TypeError(f"distillation is a gfl_tf.Distillation(teacher), not {type(distillation).__name__}")
    if distillation:
        distillation.check(student)


def check_memory(recompute: bool, micro_batches: int, model: typing.Any, jit_compile: bool | str | None) -> None:
    """Raises ValueError where a `Detector` cannot be trained with these arguments of `compile`: it would be computed
    twice, and not give the same twice; or nothing would be saved; or XLA has no loop over micro-batches."""
    check_value("recompute", recompute, FLAG)
    check_value("micro_batches", micro_batches, COUNT)
    if not recompute and micro_batches == 1:
        return
    if micro_batches > 1 and jit_compile is True:
        raise ValueError(f"micro_batches={micro_batches} cannot be compiled with XLA: leave jit_compile=True out")
    which = f"recompute={recompute}, micro_batches={micro_batches}"
    layers = compat.nested_layers(model)
    random = [layer.name for layer in layers if compat.draws_random_numbers(layer)]
    if random:
        raise ValueError(
            f"{which}: {', '.join(first_ones(random, 3))} would draw other random numbers when computed again. Build "
            "the model without, such as with a dropout or drop_connect_rate of 0"
        )
    regularized = [layer.name for layer in layers if getattr(layer, "activity_regularizer", None)]
    if regularized:
        raise ValueError(
            f"{which}: the activity_regularizer of {', '.join(first_ones(regularized, 3))} would be counted twice. "
            "Build the model without"
        )
    if recompute and len(Segments(model.get_layer("pyramid_features"))) == 1:
        raise ValueError(
            f"recompute=True: backbone {model.backbone.name} cannot be divided, as nowhere between its first and its "
            "last convolutions all goes through one layer. micro_batches saves memory with it, too"
        )


def warn_of_left_out(names: list[str]) -> None:
    """Says what does not come back with a saved model: metrics, as KerasCV's cannot be read again, and a teacher."""
    if names:
        logging.warning("%s: not saved with a model; compile it again to have this", ", ".join(names))


def check_weight_file(path: str | os.PathLike, remedy: str) -> None:
    """Raises ValueError for Keras 2's whole-model HDF5, which needs variable names that are unique."""
    text = str(path)
    if text.endswith((".h5", ".hdf5")) and not text.endswith(".weights.h5"):
        raise ValueError(f"{text}: detectors are not saved in the old HDF5 format; {remedy}")
