"""What all dense detectors share: the Keras model around backbone, neck and head."""

import keras
import tensorflow as tf

from gfl_tf import compat
from gfl_tf.backbones.features import pyramid_features
from gfl_tf.compat import keras_cv
from gfl_tf.detectors import targets
from gfl_tf.detectors.decoder import PredictionDecoder
from gfl_tf.layers.blocks import Preprocess
from gfl_tf.necks.fpn import FPN
from gfl_tf.ops import points as point_ops


class DenseDetector(keras.Model):
    """images -> preprocess -> backbone -> neck -> head -> raw outputs, with Keras's training and prediction around it.

    A detector is a subclass with three methods: `detection_losses` (training), `point_scores` and `decode_candidates`
    (inference).

    Args:
        backbone: one of KerasCV's, KerasHub's or ours, or a `gfl_tf.backbones.Pyramid`; see `pyramid_features`.
        head: layer from the list of P3 to P7 to the dict of raw outputs.
        num_classes: C.
        neck: layer from {"P3", "P4", "P5"} to the list of P3 to P7; default `FPN()`.
        bounding_box_format: KerasCV's name for the format of labels and predictions.
        prediction_decoder: default `PredictionDecoder()`.
        mean, std: 3 values each, RGB, for images in 0..255; None where the backbone rescales its input itself.

    Raises:
        ValueError: an unknown `bounding_box_format`, one of `mean` and `std` without the other, or a head for another
            number of classes.
    """

    def __init__(
        self,
        backbone,
        head,
        num_classes,
        bounding_box_format,
        neck=None,
        prediction_decoder=None,
        mean=None,
        std=None,
        **kwargs,
    ):
        compat.check_arguments(type(self), kwargs)
        if (mean is None) != (std is None):
            raise ValueError("mean and std belong together: give both, or neither")
        # KerasCV knows the names, and says so.
        keras_cv.bounding_box.convert_format(
            tf.zeros([1, 4]), source="xyxy", target=bounding_box_format, image_shape=(1, 1, 3)
        )
        neck = neck or FPN(name="neck")
        images = keras.layers.Input((None, None, 3), name="images")
        pixels = Preprocess(mean, std, name="preprocess")(images)
        outputs = head(neck(pyramid_features(backbone)(pixels)))
        if outputs["classification"].shape[-1] != num_classes:
            raise ValueError(f"num_classes is {num_classes}, the head's is {outputs['classification'].shape[-1]}")
        super().__init__(inputs=images, outputs=outputs, **kwargs)
        self.num_classes = num_classes
        self.backbone = backbone
        self.neck = neck
        self.head = head
        self.bounding_box_format = bounding_box_format
        self.mean = mean
        self.std = std
        self._prediction_decoder = prediction_decoder or PredictionDecoder()
        self._means = {name: keras.metrics.Mean(name=name) for name in self.metric_names}

    # The names of what `detection_losses` returns, "loss" (the total) first.
    metric_names = ()

    def detection_losses(self, outputs, boxes, classes, image_shape, canvas_shape):
        """Scalars by name (`metric_names`) of one replica's batch; "loss" is what is minimized, summed over replicas.

        Args:
            outputs: raw outputs.
            boxes: float32 [B, M, 4], xyxy pixels of the canvas.
            classes: int32 [B, M], -1 for padding.
            image_shape: int32 [B, 2], each image's own height and width inside the canvas.
            canvas_shape: int32 [2].
        """
        raise NotImplementedError

    def point_scores(self, outputs):
        """[B, P]: orders the points for the choice of candidates, by their best class score."""
        raise NotImplementedError

    def decode_candidates(self, outputs, points_px, point_strides):
        """What chosen points predict.

        Args:
            outputs: raw outputs at the K candidates.
            points_px: [B, K, 2].
            point_strides: [B, K].

        Returns a dict: "boxes" [B, K, 4] in pixels, "scores" [B, K, C] of the classes; where a detector has them,
        "score_factors" [B, K, 1], by which scores above the threshold are multiplied. All else, [B, K, ...], is handed
        on to the detections.
        """
        raise NotImplementedError

    @property
    def pad_value(self):
        """The RGB colour, in 0..255, that is zero after normalization: what batches are padded with."""
        return tuple(self.mean) if self.mean is not None else (0.0, 0.0, 0.0)

    @property
    def prediction_decoder(self):
        return self._prediction_decoder

    @prediction_decoder.setter
    def prediction_decoder(self, decoder):
        self._prediction_decoder = decoder
        self.make_predict_function(force=True)

    def train_step(self, data):
        images, labels = unpack(data)
        with tf.GradientTape() as tape:
            loss = self.compute_loss(images, labels, self(images, training=True))
        compat.minimize(self.optimizer, loss, self.trainable_variables, tape)
        compat.average_statistics(compat.nested_layers(self))
        return {metric.name: metric.result() for metric in self.metrics}

    def test_step(self, data):
        images, labels = unpack(data)
        self.compute_loss(images, labels, self(images, training=False))
        return {metric.name: metric.result() for metric in self.metrics}

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, **kwargs):
        """The loss to minimize, of images `x`, labels `y` and raw outputs `y_pred`; updates the metrics.

        Under a `tf.distribute` strategy this is the replica's share: gradients are to be summed over replicas, as
        Keras optimizers do.
        """
        boxes, classes, image_shape = self._dense_labels(x, y)
        losses = self.detection_losses(y_pred, boxes, classes, image_shape, tf.shape(x)[1:3])
        # Each replica holds its share of a global sum. Added up here, as Keras 2's metrics are the mean over replicas,
        # Keras 3's each replica's own.
        totals = targets.sum_over_replicas(tf.stack([losses[name] for name in self.metric_names]))
        for name, total in zip(self.metric_names, tf.unstack(totals)):
            self._means[name].update_state(total)
        replicas = tf.distribute.get_strategy().num_replicas_in_sync
        regularization = tf.add_n(self.losses) / replicas if self.losses else 0.0
        return losses["loss"] + regularization

    def predict_step(self, data):
        images = data[0] if isinstance(data, tuple) else data
        if isinstance(images, dict):
            images = images["images"]
        return self.decode_predictions(self(images, training=False), images)

    def decode_predictions(self, predictions, images):
        """Raw outputs to detections in `bounding_box_format`; see `detect` for the keys."""
        detections = self.prediction_decoder.suppress(self.candidates(predictions, tf.shape(images)[1:3]))
        boxes = keras_cv.bounding_box.convert_format(
            detections["boxes"], source="xyxy", target=self.bounding_box_format, images=images, dtype=tf.float32
        )
        is_detection = detections["classes"][..., tf.newaxis] >= 0
        return {**detections, "boxes": tf.where(is_detection, boxes, detections["boxes"])}

    def detect(self, images, image_shape=None, with_outputs=False):
        """Detections with boxes always as xyxy pixels of `images`, as tensors, for use inside a `tf.function`.

        Args:
            images: [B, H, W, 3], RGB in 0..255.
            image_shape: int32 [B, 2], own height and width of each image, to which boxes are clipped.
            with_outputs: adds what each detection was decoded from: "points_px" [B, D, 2], "point_strides" [B, D] and
                "outputs", the dict of raw outputs at these points, each [B, D, ...].

        Returns a dict: "boxes" float32 [B, D, 4]; "classes" and "confidence" float32 [B, D]; of detectors with box
        distributions "edge_stddev" float32 [B, D, 4], standard deviation of left, top, right and bottom side in
        pixels; all padded with -1; "num_detections" int32 [B]. Best first.
        """
        outputs = self(images, training=False)
        candidates = self.candidates(outputs, tf.shape(images)[1:3], image_shape, with_outputs)
        return self.prediction_decoder.suppress(candidates)

    def candidates(self, outputs, canvas_shape, image_shape=None, with_outputs=False, decoder=None):
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
        points_px, point_strides = point_ops.grid_points(canvas_shape)
        points_per_level = tf.reduce_prod(point_ops.level_sizes(canvas_shape), axis=-1)
        index = decoder.select_points(self.point_scores(outputs), points_per_level)
        outputs = {name: tf.gather(value, index, batch_dims=1) for name, value in outputs.items()}
        points_px, point_strides = tf.gather(points_px, index), tf.gather(point_strides, index)
        candidates = self.decode_candidates(outputs, points_px, point_strides)

        own_shape = canvas_shape[tf.newaxis] if image_shape is None else image_shape
        limit = tf.cast(tf.tile(tf.reverse(own_shape, [1]), [1, 2]), tf.float32)[:, tf.newaxis]  # [B or 1, 1, 4]
        candidates["boxes"] = tf.clip_by_value(candidates["boxes"], 0.0, limit)
        is_chosen = decoder.select_pairs(candidates["boxes"], candidates["scores"], points_per_level)
        scores = candidates["scores"] * candidates.pop("score_factors", 1.0)
        # A product, as TensorFlow Lite rounds what `tf.where` takes to 8 bits in an int8 file.
        candidates["scores"] = scores * tf.cast(is_chosen, scores.dtype)
        if with_outputs:
            candidates.update(points_px=points_px, point_strides=point_strides, outputs=outputs)
        return candidates

    def _dense_labels(self, images, labels):
        """Public labels to boxes [B, M, 4] (xyxy pixels), classes [B, M] (int32) and own image shapes [B, 2]."""
        dense = keras_cv.bounding_box.to_dense({name: labels[name] for name in ("boxes", "classes")})
        boxes = keras_cv.bounding_box.convert_format(
            dense["boxes"], source=self.bounding_box_format, target="xyxy", images=images, dtype=tf.float32
        )
        canvas_shape = tf.broadcast_to(tf.shape(images)[1:3], [tf.shape(images)[0], 2])
        image_shape = tf.cast(labels.get("image_shape", canvas_shape), tf.int32)
        return boxes, tf.cast(dense["classes"], tf.int32), image_shape

    @property
    def metrics(self):
        return list(self._means.values())

    def get_config(self):
        return {
            "name": self.name,
            "backbone": keras.saving.serialize_keras_object(self.backbone),
            "neck": keras.saving.serialize_keras_object(self.neck),
            "head": keras.saving.serialize_keras_object(self.head),
            "prediction_decoder": keras.saving.serialize_keras_object(self.prediction_decoder),
            "num_classes": self.num_classes,
            "bounding_box_format": self.bounding_box_format,
            "mean": self.mean,
            "std": self.std,
        }

    @classmethod
    def from_config(cls, config):
        def revive(value):
            is_object = isinstance(value, dict) and "class_name" in value
            return keras.saving.deserialize_keras_object(value) if is_object else value

        return cls(**{name: revive(value) for name, value in config.items()})


def unpack(data):
    """(images, labels) of a training batch: that tuple, or KerasCV's {"images": ..., "bounding_boxes": ...}."""
    if isinstance(data, dict):
        return data["images"], data["bounding_boxes"]
    images, labels = data[:2]
    return images, labels
