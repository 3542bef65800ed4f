"""How long a detector takes, part by part, measured side by side."""

import time
import typing

import keras
import numpy as np
import tensorflow as tf

if typing.TYPE_CHECKING:
    from gfl_tf.detectors.detector import Detector


def measure(
    model: "Detector",
    image_shape: tuple[int, int],
    batch_size: int = 1,
    num_boxes: int = 8,
    repeats: int = 10,
    seed: int = 0,
) -> dict[str, list[float]]:
    """Seconds of the parts of prediction and of a training step, on noise images.

    The parts take turns, so that a machine whose speed drifts slows them alike: compare the medians with each other.

    Args:
        model: a detector; it is compiled anew and trained on noise.
        image_shape: (height, width) in pixels.
        batch_size: images at a time.
        num_boxes: random boxes of every image, in training.

    Returns:
        {part: list of `repeats` seconds}: "forward" (raw outputs), "predict" (Keras's `predict` of the same images),
        "train_forward", "train_step", and "losses" (assignment, losses and their gradients at the raw outputs).
    """
    rng = np.random.default_rng(seed)
    images = rng.uniform(0, 255, (batch_size, *image_shape, 3)).astype(np.float32)
    labels = _random_labels(rng, batch_size, image_shape, num_boxes, model.num_classes)
    on_device = tf.constant(images)
    outputs = {name: tf.constant(value) for name, value in model(on_device).items()}
    model.compile(optimizer=keras.optimizers.SGD(1e-4, momentum=0.9))

    @tf.function
    def losses():
        with tf.GradientTape() as tape:
            tape.watch(outputs)
            loss = model.compute_loss(on_device, labels, outputs)
        return tape.gradient(loss, outputs)

    forward = tf.function(lambda: model(on_device, training=False))
    train_forward = tf.function(lambda: model(on_device, training=True))
    train_step = tf.function(lambda: model.train_step((on_device, labels)))
    parts = {
        "forward": lambda: tf.nest.map_structure(lambda t: t.numpy(), forward()),
        "predict": lambda: model.predict(images, batch_size=batch_size, verbose=0),
        "train_forward": lambda: tf.nest.map_structure(lambda t: t.numpy(), train_forward()),
        "train_step": lambda: tf.nest.map_structure(lambda t: t.numpy(), train_step()),
        "losses": lambda: tf.nest.map_structure(lambda t: t.numpy(), losses()),
    }
    seconds = {name: [] for name in parts}
    for part in parts.values():  # traces and warms up
        part()
    for _ in range(repeats):
        for name, part in parts.items():
            start = time.perf_counter()
            part()
            seconds[name].append(time.perf_counter() - start)
    return seconds


def table(seconds: dict[str, list[float]]) -> str:
    """The measurement as text: medians, and the ratios that tell where the time goes."""
    median = {name: float(np.median(values)) for name, values in seconds.items()}

    def ratio(one, other, factor=1.0):
        return float(np.median(np.array(seconds[one]) / (factor * np.array(seconds[other]))))

    lines = [f"{name:14} {value:8.3f} s" for name, value in median.items()]
    lines += [
        "",
        f"predict / forward                 {ratio('predict', 'forward'):.3f}",
        f"train_step / (3 x train_forward)  {ratio('train_step', 'train_forward', 3.0):.3f}",
        f"losses / train_step               {ratio('losses', 'train_step'):.3f}",
    ]
    return "\n".join(lines)


def _random_labels(rng, batch_size, image_shape, num_boxes, num_classes):
    limit = np.array(image_shape)[::-1]
    centres = rng.uniform(0.1, 0.9, (batch_size, num_boxes, 2)) * limit
    sizes = np.exp(rng.uniform(np.log(0.03), np.log(0.5), (batch_size, num_boxes, 2))) * limit
    boxes = np.concatenate([centres - sizes / 2, centres + sizes / 2], axis=-1)
    boxes = np.clip(boxes, 0, np.tile(limit, 2))
    classes = rng.integers(0, num_classes, (batch_size, num_boxes))
    return {"boxes": tf.constant(boxes, tf.float32), "classes": tf.constant(classes, tf.float32)}
