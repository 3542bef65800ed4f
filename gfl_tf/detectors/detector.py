"""The Keras model of every dense detector: a composition of parts, with training and prediction around it."""

import collections.abc
import contextlib
import os
import typing

import keras
import numpy as np
import tensorflow as tf

from gfl_tf import compat
from gfl_tf.backbones.features import pyramid_features
from gfl_tf.boxes.calibration import EdgeCalibration
from gfl_tf.compat import keras_cv
from gfl_tf.detectors import candidates, checks, gradients, one_batch, training
from gfl_tf.detectors.decoder import PredictionDecoder
from gfl_tf.detectors.distillation import Distillation
from gfl_tf.layers import names
from gfl_tf.layers.blocks import Preprocess
from gfl_tf.necks.fpn import backbone_levels
from gfl_tf.ops.grid import GridSpec, Places
from gfl_tf.parts import check_fields

# What `get_config` writes as Keras objects.
PARTS = (
    "backbone", "neck", "head", "grid", "assigner", "boxes", "score", "classification_loss", "box_loss",
    "prediction_decoder", "edge_calibration",
)  # fmt: skip
VALUES = (
    "num_classes", "bounding_box_format", "classification_weight", "box_weight", "refined_box_weight",
    "count_empty_images", "mean", "std",
)  # fmt: skip


@keras.saving.register_keras_serializable(package="gfl_tf")
class Detector(keras.Model):
    """images -> preprocess -> backbone -> neck -> head -> raw outputs, with Keras's training and prediction around it.

    ```
    model = gfl_tf.GFL(keras_cv.models.ResNetBackbone.from_preset("resnet50"), num_classes=80,
                       bounding_box_format="xywh")
    model.compile(optimizer=...)
    model.fit(dataset)          # of (images, {"boxes", "classes"})
    model.predict(images)       # {"boxes", "classes", "confidence", "num_detections", "edge_stddev"}
    ```

    The recipes (`gfl_tf.detectors.recipes`) choose the parts.

    Args:
        backbone: one of KerasCV's, KerasHub's or ours, or a `gfl_tf.backbones.Pyramid`; see `pyramid_features`.
        num_classes: C.
        bounding_box_format: KerasCV's name for the format of labels and predictions.
        neck: layer from {"P3", "P4", "P5"} to the list of the grid's levels.
        head: layer from that list to the dict of raw outputs.
        grid: `GridSpec`, where it predicts.
        assigner: from boxes to the places that learn them.
        boxes: the coder: what the box outputs mean.
        score: how class scores and quality become one.
        classification_loss: Keras loss of targets and logits [B, P, C], giving [B, P] or [B, P, C] unreduced.
        box_loss: Keras loss of wanted and predicted boxes [B, N, 4], giving [B, N] unreduced.
        classification_weight: of the classification loss; 0 leaves it out.
        box_weight: of the box loss; 0 leaves it out.
        refined_box_weight: of the box loss of the last boxes, where a head refines its boxes or could.
        count_empty_images: an image without positives counts as one where losses are divided by the number of
            positives, as in the references of GFL, ATSS and RetinaNet.
        prediction_decoder: default `PredictionDecoder()`.
        edge_calibration: `EdgeCalibration` of "edge_stddev", which adds "edge_interval" and "box_interval"; None: as
            the coder states it.
        mean, std: 3 values each, RGB, for images in 0..255; None where the backbone rescales its input itself.

    Raises:
        ValueError: an unknown `bounding_box_format`, one of `mean` and `std` without the other, or parts that do not
            fit each other.
    """

    def __init__(
        self,
        backbone: keras.Model,
        num_classes: int,
        bounding_box_format: str,
        *,
        neck: keras.layers.Layer,
        head: keras.layers.Layer,
        grid: GridSpec,
        assigner: typing.Any,
        boxes: typing.Any,
        score: typing.Any,
        classification_loss: keras.losses.Loss,
        box_loss: keras.losses.Loss,
        classification_weight: float = 1.0,
        box_weight: float = 2.0,
        refined_box_weight: float | None = None,
        count_empty_images: bool = True,
        prediction_decoder: PredictionDecoder | None = None,
        edge_calibration: EdgeCalibration | None = None,
        mean: collections.abc.Sequence[float] | None = None,
        std: collections.abc.Sequence[float] | None = None,
        **kwargs: typing.Any,
    ):
        compat.check_arguments(type(self), kwargs)
        checks.check_interface(bounding_box_format, mean, std)
        images = keras.layers.Input((None, None, 3), name="images")
        pixels = Preprocess(mean, std, name="preprocess")(images)
        outputs = head(neck(pyramid_features(backbone, backbone_levels(grid.levels))(pixels)))
        checks.check_outputs(outputs, num_classes, boxes, score)
        super().__init__(inputs=images, outputs=outputs, **kwargs)
        self.num_classes = num_classes
        self.backbone = backbone
        self.neck = neck
        self.head = head
        self.grid = grid
        self.assigner = assigner
        self.boxes = boxes
        self.score = score
        self.classification_loss = classification_loss
        self.box_loss = box_loss
        self.classification_weight = classification_weight
        self.box_weight = box_weight
        self.refined_box_weight = refined_box_weight
        self.count_empty_images = count_empty_images
        check_fields(self, checks.LOSS_RULES)
        self.bounding_box_format = bounding_box_format
        self.mean = mean
        self.std = std
        self._prediction_decoder = prediction_decoder or PredictionDecoder()
        checks.check_decoder(self._prediction_decoder, self)
        self._edge_calibration = edge_calibration
        self.distillation, self.micro_batches = None, 1
        self._make_means()
        self._user_metrics = []
        # Largest pixel, boxes and positives, for `FirstBatch`.
        self.first_batch = [keras.metrics.Mean(name=f"first_batch_{index}") for index in range(3)]

    @property
    def box_weights(self) -> dict[str, float]:
        """{box output: weight of its box loss}; the last output is that of the detections."""
        names = [name for name in ("box", "refined_box") if name in self.output]
        weights = dict.fromkeys(names, self.box_weight)
        if self.refined_box_weight is not None:
            weights[names[-1]] = self.refined_box_weight
        return weights

    @property
    def metric_names(self) -> tuple[str, ...]:
        """The names of what `detection_losses` returns, "loss" (the total) first."""
        return training.metric_names(self)

    def detection_losses(
        self, outputs: dict[str, tf.Tensor], boxes: tf.Tensor, classes: tf.Tensor, image_shape: tf.Tensor,
        canvas_shape: tf.Tensor, image_weights: tf.Tensor | None = None,
    ) -> dict[str, tf.Tensor]:  # fmt: skip
        """Scalars by name (`metric_names`) of one replica's batch; "loss" is what is minimized, summed over replicas.

        Args:
            outputs: raw outputs; with a `distillation` those of its `with_teacher`.
            boxes: float32 [B, M, 4], xyxy pixels of the canvas.
            classes: int32 [B, M], -1 for padding.
            image_shape: int32 [B, 2], each image's own height and width inside the canvas.
            canvas_shape: int32 [2].
            image_weights: float32 [B], factors of each image's share of the losses; default 1.
        """
        return training.detection_losses(self, outputs, boxes, classes, image_shape, canvas_shape, image_weights)

    @property
    def pad_value(self) -> tuple[float, ...]:
        """The RGB colour, in 0..255, that is zero after normalization: what batches are padded with."""
        return tuple(self.mean) if self.mean is not None else (0.0, 0.0, 0.0)

    @property
    def prediction_decoder(self) -> PredictionDecoder:
        """The `PredictionDecoder`; set another one to change thresholds or NMS."""
        return self._prediction_decoder

    @prediction_decoder.setter
    def prediction_decoder(self, decoder: PredictionDecoder) -> None:
        checks.check_decoder(decoder, self)
        self._prediction_decoder = decoder
        self.make_predict_function(force=True)

    @property
    def edge_calibration(self) -> EdgeCalibration | None:
        """The `EdgeCalibration`; set another one, or None."""
        return self._edge_calibration

    @edge_calibration.setter
    def edge_calibration(self, calibration: EdgeCalibration | None) -> None:
        if not isinstance(calibration, EdgeCalibration | None):
            raise TypeError(f"edge_calibration is an EdgeCalibration or None, not {calibration!r}")
        self._edge_calibration = calibration
        self.make_predict_function(force=True)

    def compile(
        self, optimizer: str | keras.optimizers.Optimizer = "rmsprop", loss: typing.Any = None,
        metrics: collections.abc.Sequence[keras.metrics.Metric] | None = None, loss_weights: typing.Any = None,
        weighted_metrics: typing.Any = None, distillation: Distillation | None = None, recompute: bool = False,
        micro_batches: int = 1, **kwargs: typing.Any,
    ) -> None:  # fmt: skip
        """Keras's, without losses: a detector has its own.

        `metrics`: list of Keras metrics of labels and `predict`'s detections, such as KerasCV's `BoxCOCOMetrics`;
        computed by `evaluate` and on validation data.
        `distillation`: a teacher to learn from, too, a `gfl_tf.Distillation`.
        `recompute`: training keeps less for the backward pass, and makes it again in it (docs/memory.md).
        `micro_batches`: parts in which a batch (in a replica, its share) is computed, for one update as of the whole.
        """
        checks.check_compile(loss, loss_weights, metrics, weighted_metrics)
        checks.check_distillation(distillation, self)
        checks.check_memory(recompute, micro_batches, self, kwargs.get("jit_compile"))
        self.distillation, self.micro_batches = distillation, micro_batches
        self.get_layer("pyramid_features").recompute = self.head.recompute = recompute
        if set(self._means) != set(self.metric_names):
            self._make_means()
        self._user_metrics = list(metrics or [])
        super().compile(optimizer=optimizer, **(kwargs if micro_batches == 1 else {**kwargs, "jit_compile": False}))

    def get_compile_config(self) -> dict[str, typing.Any] | None:
        config = super().get_compile_config()
        left_out = [metric.name for metric in self._user_metrics] + ["distillation"] * bool(self.distillation)
        kept = {"recompute": self.head.recompute, "micro_batches": self.micro_batches}
        return {**config, **kept, "left_out": left_out} if config else config

    def compile_from_config(self, config: dict[str, typing.Any]) -> None:
        """Compiles a loaded model as the saved one was, but for what is left out; its optimizer's state follows."""
        config = keras.saving.deserialize_keras_object(config)
        checks.warn_of_left_out(config.pop("left_out"))
        self.compile(**config)
        self.optimizer.build(self.trainable_variables)

    def fit(
        self, *args: typing.Any, callbacks: collections.abc.Sequence | keras.callbacks.CallbackList | None = None,
        **kwargs: typing.Any,
    ) -> keras.callbacks.History:  # fmt: skip
        """Keras's; sample weights, [B], are factors of each image's losses.

        Raises:
            ValueError: several workers, with Keras 3.
        """
        compat.check_fit_on_workers(self.distribute_strategy)
        if not isinstance(callbacks, keras.callbacks.CallbackList):
            callbacks = [*(callbacks or []), checks.FirstBatch()]
        return super().fit(*args, callbacks=callbacks, **kwargs)

    def predict(self, x: typing.Any, *args: typing.Any, **kwargs: typing.Any) -> dict[str, np.ndarray]:
        """Keras's; images that make one batch go straight to `predict_on_batch`, see `one_batch`."""
        if one_batch.is_one(self, x, *args, **kwargs):
            return self.predict_on_batch(tf.cast(x, tf.float32))
        return super().predict(x, *args, **kwargs)

    def make_predict_function(self, force: bool = False) -> collections.abc.Callable:
        with compat.without_xla(self):  # which has no NMS of its own
            return super().make_predict_function(force)

    def make_test_function(self, force: bool = False) -> collections.abc.Callable:
        with compat.without_xla(self) if self._user_metrics else contextlib.nullcontext():
            return super().make_test_function(force)

    def save(self, filepath: str | os.PathLike, *args: typing.Any, **kwargs: typing.Any) -> None:
        checks.check_weight_file(filepath, "give the file a name that ends in .keras")
        return super().save(filepath, *args, **kwargs)

    def save_weights(self, filepath: str | os.PathLike, *args: typing.Any, **kwargs: typing.Any) -> None:
        checks.check_weight_file(filepath, "give the file a name that ends in .weights.h5")
        return super().save_weights(filepath, *args, **kwargs)

    def train_step(self, data: typing.Any) -> dict[str, tf.Tensor]:
        losses, gradients = self.compute_gradients(data)
        self.apply_gradients(losses, gradients)
        return self.mean_losses()

    def compute_gradients(self, data: typing.Any) -> tuple[dict[str, tf.Tensor], list[tf.Tensor | None]]:
        """The first half of a training step, in a replica; what it returns: see `gradients.of_batch`."""
        return gradients.of_batch(self, *checks.unpack(data))

    def apply_gradients(self, losses: dict[str, tf.Tensor], gradients: list[tf.Tensor | None]) -> None:
        """The second half: updates the weights and the metrics."""
        compat.apply_gradients(self.optimizer, gradients, self.trainable_variables)
        compat.average_statistics(compat.nested_layers(self))
        self._update_metrics(losses)

    def mean_losses(self) -> dict[str, tf.Tensor]:
        """The means of `metric_names` since the metrics were reset, in a replica."""
        return {name: metric.result() for name, metric in self._means.items()}

    def test_step(self, data: typing.Any) -> dict[str, tf.Tensor]:
        images, labels, weights = checks.unpack(data)
        outputs = self(images, training=False)
        self.compute_loss(images, labels, outputs, weights)
        if self._user_metrics:
            detections = self.decode_predictions(outputs, images)
            for metric in self._user_metrics:
                metric.update_state(labels, detections)
        return self.get_metrics_result()

    def compute_loss(
        self, x: tf.Tensor | None = None, y: dict[str, typing.Any] | None = None,
        y_pred: dict[str, tf.Tensor] | None = None, sample_weight: tf.Tensor | None = None, **kwargs: typing.Any,
    ) -> tf.Tensor:  # fmt: skip
        """The loss to minimize, of images `x`, labels `y` and raw outputs `y_pred`; updates the metrics.

        Under a `tf.distribute` strategy this is the replica's share: gradients are to be summed over replicas, as
        Keras optimizers do. `sample_weight`: [B], factors of each image's losses.
        """
        loss, losses = training.loss_values(self, x, y, y_pred, sample_weight)
        self._update_metrics(losses)
        return loss

    def _make_means(self):
        with self.distribute_strategy.scope():
            self._means = {name: keras.metrics.Mean(name=name) for name in self.metric_names}

    def _update_metrics(self, values):
        for metric in (*self._means.values(), *self.first_batch):
            metric.update_state(values[metric.name])

    def predict_step(self, data: typing.Any) -> dict[str, typing.Any]:
        images = checks.images_of(data)
        return self.decode_predictions(self(images, training=False), images)

    def decode_predictions(self, predictions: dict[str, tf.Tensor], images: tf.Tensor) -> dict[str, typing.Any]:
        """Raw outputs to detections in `bounding_box_format`; see `detect` for the keys."""
        detections = self.prediction_decoder.suppress(self.candidates(predictions, tf.shape(images)[1:3]))
        boxes = keras_cv.bounding_box.convert_format(
            detections["boxes"], source="xyxy", target=self.bounding_box_format, images=images, dtype=tf.float32
        )
        is_detection = detections["classes"][..., tf.newaxis] >= 0
        return {**detections, "boxes": tf.where(is_detection, boxes, detections["boxes"])}

    def detect(
        self, images: tf.Tensor, image_shape: tf.Tensor | None = None, with_outputs: bool = False
    ) -> dict[str, typing.Any]:
        """Detections with boxes always as xyxy pixels of `images`, as tensors, for use inside a `tf.function`.

        Args:
            images: [B, H, W, 3], RGB in 0..255.
            image_shape: int32 [B, 2], own height and width of each image, to which boxes are clipped.
            with_outputs: adds what each detection was decoded from: "points_px" [B, D, 2], "point_strides" [B, D] and
                "outputs", the dict of raw outputs at these points, each [B, D, ...].

        Returns a dict: "boxes" float32 [B, D, 4]; "classes" and "confidence" float32 [B, D]; of detectors with box
        distributions "edge_stddev" float32 [B, D, 4], standard deviation of left, top, right and bottom side in
        pixels, and with an `edge_calibration` "edge_interval" and "box_interval" float32 [B, D, L, 4]; all padded with
        -1; "num_detections" int32 [B]. Best first.
        """
        outputs = self(images, training=False)
        found = self.candidates(outputs, tf.shape(images)[1:3], image_shape, with_outputs)
        return self.prediction_decoder.suppress(found)

    def candidates(
        self, outputs: dict[str, tf.Tensor], canvas_shape: tf.Tensor, image_shape: tf.Tensor | None = None,
        with_outputs: bool = False, decoder: PredictionDecoder | None = None,
    ) -> dict[str, typing.Any]:  # fmt: skip
        """What goes into the suppression: decoded boxes with their scores.

        Candidates of several views of an image may be put together, along axis 1, before one suppression.

        Args:
            outputs: raw outputs.
            canvas_shape: int32 [2], height and width of the images.
            image_shape, with_outputs: see `detect`.
            decoder: the `PredictionDecoder` whose candidates they are; default: the model's.

        Returns a dict for `PredictionDecoder.suppress`: "boxes" float32 [B, K, 4], xyxy pixels of the images, clipped
        to them; "scores" float32 [B, K, C], 0 for each class that a box does not stand for; and what `detect` returns
        besides, [B, K, ...] here.
        """
        decoder = decoder or self.prediction_decoder
        return candidates.decoded(self, outputs, canvas_shape, image_shape, with_outputs, decoder)

    def decode_candidates(self, outputs: dict[str, tf.Tensor], places: Places) -> dict[str, tf.Tensor]:
        """{"boxes": [B, K, 4] in pixels, and what else the coder knows of them}, of raw outputs at K `places`."""
        output = outputs[list(self.box_weights)[-1]]
        return {"boxes": self.boxes.decode(output, places), **self.boxes.extras(output, places)}

    @property
    def metrics(self) -> list[keras.metrics.Metric]:
        return [*self._means.values(), *self._user_metrics]

    def reset_metrics(self) -> None:
        super().reset_metrics()
        for metric in self.first_batch:
            metric.reset_state()

    def get_config(self) -> dict[str, typing.Any]:
        parts = {name: keras.saving.serialize_keras_object(getattr(self, name)) for name in PARTS}
        values = {name: getattr(self, name) for name in VALUES}
        return {"name": self.name, **parts, **values, "frozen_layers": names.frozen_layers(self)}

    @classmethod
    def from_config(cls, config) -> "Detector":
        config = dict(config)
        frozen = set(config.pop("frozen_layers"))
        for name in PARTS:
            if isinstance(config[name], dict):
                config[name] = keras.saving.deserialize_keras_object(config[name])
        model = cls(**config)
        names.freeze_layers(model, frozen)
        return model
