"""Two small images with their labels, and raw outputs of any detector on them."""

import numpy as np
import tensorflow as tf

HEIGHT, WIDTH = CANVAS = (64, 96)
NUM_POINTS = 8 * 12 + 4 * 6 + 2 * 3 + 1 * 2 + 1
BOXES = np.float32([[[10, 4, 50, 44], [40, 8, 72, 56]], [[20, 6, 60, 60], [-1, -1, -1, -1]]])  # xyxy
CLASSES = np.float32([[0, 2], [1, -1]])


def bright_boxes():
    """Two images, noise with a bright rectangle per box, and their labels."""
    images = np.random.default_rng(0).uniform(0, 60, (2, *CANVAS, 3)).astype(np.float32)
    for image in range(2):
        for (x1, y1, x2, y2), label in zip(BOXES[image].astype(int), CLASSES[image].astype(int)):
            if label >= 0:
                images[image, y1:y2, x1:x2, label] = 255
    return images, {"boxes": BOXES, "classes": CLASSES}


def random_outputs(model, seed=0):
    """Raw outputs as wide as the model's; boxes that are distances in pixels are above 0."""
    rng = np.random.default_rng(seed)
    places = NUM_POINTS * model.grid.anchors_per_point
    outputs = {}
    for name, output in model.output.items():
        shape = (2, places, output.shape[-1])
        in_pixels = "box" in name and getattr(model.boxes, "unit", "") == "pixel"
        value = rng.uniform(5, 40, shape) if in_pixels else rng.normal(0, 1, shape)
        outputs[name] = tf.constant(value.astype(np.float32))
    return outputs


def parts_of(model, outputs, boxes=BOXES, classes=CLASSES, image_shape=(CANVAS, CANVAS), **options):
    """`detection_losses` of labels given as numpy arrays."""
    return model.detection_losses(
        outputs,
        tf.constant(boxes),
        tf.constant(classes, tf.int32),
        tf.constant(image_shape),
        tf.constant(CANVAS),
        **options,
    )
