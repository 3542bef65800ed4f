"""What is timed of a detector: functions without arguments, of images of noise."""

import collections.abc
import dataclasses
import typing

import keras
import numpy as np
import tensorflow as tf

from gfl_tf.detectors.detector import Detector
from gfl_tf.evaluation import original_pixels
from gfl_tf.serving import latency

Work = collections.abc.Callable[[], typing.Any]
# Pairs of a place and a class that are candidates, as a trained detector has them in a crowded picture. Of random
# weights nearly none has a score above the papers' threshold, and suppression would have nothing to do.
PAIRS = 1000


@dataclasses.dataclass(frozen=True)
class Case:
    """The images and labels of a batch.

    Attributes:
        height, width: in pixels.
        batch_size: images.
        boxes: of each image, in training.
    """

    height: int
    width: int
    batch_size: int = 1
    boxes: int = 8

    def __str__(self) -> str:
        batch = "" if self.batch_size == 1 else f"{self.batch_size} x "
        return f"{batch}{self.height}x{self.width}"


class Workload:
    """The work of a detector on one `Case`."""

    def __init__(self, model: Detector, case: Case):
        rng = np.random.default_rng(0)
        self.model = model
        self.case = case
        self.images = rng.uniform(0, 255, (case.batch_size, case.height, case.width, 3)).astype(np.float32)
        self.on_device = tf.constant(self.images)
        self.labels = random_labels(rng, case, model.num_classes)

    def forward(self) -> Work:
        """The raw outputs, at inference."""
        return tf.function(lambda: self.model(self.on_device, training=False), autograph=False)

    def train_forward(self) -> Work:
        """The raw outputs, in training."""
        return tf.function(lambda: self.model(self.on_device, training=True), autograph=False)

    def train_step(self) -> Work:
        """A whole step by SGD with momentum, whose rate is 0, so that the weights stay."""
        self.model.compile(optimizer=keras.optimizers.SGD(0.0, momentum=0.9))
        self.model.optimizer.build(self.model.trainable_variables)  # or it is traced a second time
        return tf.function(lambda: self.model.train_step((self.on_device, self.labels)), autograph=False)

    def losses(self) -> Work:
        """Assignment, losses and their gradients at the raw outputs."""
        outputs = {name: tf.constant(value) for name, value in self.model(self.on_device).items()}

        @tf.function(autograph=False)
        def losses():
            with tf.GradientTape() as tape:
                tape.watch(outputs)
                loss = self.model.compute_loss(self.on_device, self.labels, outputs)
            return tape.gradient(loss, outputs)

        return losses

    def predict(self) -> Work:
        """Keras's `predict`, from an array to arrays."""
        return lambda: self.model.predict(self.images, batch_size=self.case.batch_size, verbose=0)

    def detect(self) -> Work:
        """`Detector.detect` as a graph: the forward pass, decoding and suppression."""
        return tf.function(lambda: self.model.detect(self.on_device), autograph=False)

    def decode(self) -> Work:
        """Decoding and suppression of the raw outputs."""
        outputs = {name: tf.constant(value) for name, value in self.model(self.on_device).items()}
        shape = tf.constant(self.images.shape[1:3])
        decoder = self.model.prediction_decoder  # of now, not of when the graph is traced
        return tf.function(
            lambda: decoder.suppress(self.model.candidates(outputs, shape, decoder=decoder)), autograph=False
        )

    def from_jpeg(self) -> Work:
        """From a JPEG of half the height and width to detections in its own pixels, one image."""
        height, width = self.case.height, self.case.width
        (encoded,) = latency.synthetic_jpegs([(height // 2, width // 2)])
        encoded, scale = tf.constant(encoded), (max(height, width), min(height, width))

        @tf.function(autograph=False)
        def from_jpeg():
            image = tf.io.decode_jpeg(encoded, channels=3)[tf.newaxis]
            return original_pixels.detect(self.model, image, scale)

        return from_jpeg

    def crowd(self) -> "Workload":
        """Itself, with a score threshold that makes candidates of `PAIRS` pairs in the first image."""
        model = self.model
        scores = np.sort(model.score.scores(model(self.on_device[:1])).numpy(), axis=None)
        threshold = float(scores[-PAIRS - 1]) if len(scores) > PAIRS else 0.0
        model.prediction_decoder = model.prediction_decoder.changed(score_threshold=threshold)
        return self


def random_labels(rng: np.random.Generator, case: Case, num_classes: int) -> dict[str, tf.Tensor]:
    """{"boxes": [B, M, 4], "classes": [B, M]}, M being `case.boxes` or for none 8 that are padding: xyxy in pixels."""
    if not case.boxes:
        return {"boxes": tf.fill([case.batch_size, 8, 4], -1.0), "classes": tf.fill([case.batch_size, 8], -1.0)}
    limit = np.array([case.width, case.height])
    shape = (case.batch_size, case.boxes, 2)
    centres = rng.uniform(0.1, 0.9, shape) * limit
    sides = np.exp(rng.uniform(np.log(0.03), np.log(0.5), shape)) * limit
    boxes = np.concatenate([centres - sides / 2, centres + sides / 2], axis=-1)
    boxes = np.clip(boxes, 0, np.tile(limit, 2))
    classes = rng.integers(0, num_classes, shape[:2])
    return {"boxes": tf.constant(boxes, tf.float32), "classes": tf.constant(classes, tf.float32)}
