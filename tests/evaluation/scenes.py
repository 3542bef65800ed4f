"""Objects of synthetic images and what a detector finds of them, as rows that `coco_numbers` scores."""

import numpy as np

from gfl_tf.evaluation import coco_numbers, weighted_numbers


def objects(rng, num_images, num_classes=3, per_image=4.0):
    """Of sides from 3 to 148 pixels: small, medium and large; one in ten is a crowd."""
    image = np.repeat(np.arange(num_images), rng.poisson(per_image, num_images))
    boxes = np.concatenate([rng.uniform(0, 300, [len(image), 2]), np.exp(rng.uniform(1, 5, [len(image), 2]))], axis=1)
    return coco_numbers.rows(
        coco_numbers.TRUTH,
        image_id=image,
        category_id=rng.integers(0, num_classes, len(image)),
        bbox=boxes,
        area=boxes[:, 2:].prod(axis=1),
        iscrowd=rng.random(len(image)) < 0.1,
    )


def detections(rng, truth, num_images, noise=0.1, num_false=6):
    """Most objects twice, the boxes off by a share `noise` of their sides, and false ones; no two scores are equal."""
    near = np.repeat(truth[rng.random(len(truth)) < 0.9], 2)
    boxes = near["bbox"] + rng.normal(0, noise, [len(near), 4]) * np.tile(near["bbox"][:, 2:], 2)
    boxes[:, 2:] = np.maximum(boxes[:, 2:], 1)
    image = np.repeat(np.arange(num_images), num_false)
    false = np.concatenate([rng.uniform(0, 300, [len(image), 2]), np.exp(rng.uniform(1, 5, [len(image), 2]))], axis=1)
    boxes = np.concatenate([boxes, false])
    found = coco_numbers.rows(
        coco_numbers.FOUND,
        image_id=np.concatenate([near["image_id"], image]),
        category_id=np.concatenate([near["category_id"], rng.integers(0, 3, len(image))]),
        bbox=boxes,
        area=boxes[:, 2:].prod(axis=1),
        score=np.concatenate([rng.beta(4, 2, len(near)), rng.beta(1, 3, len(image))]),
    )
    return found[np.argsort(found["image_id"], kind="stable")]


def repeated(rows, weights):
    """The rows with each image as often as its weight says, under new ids."""
    copies = np.repeat(np.arange(len(weights)), weights)
    parts = [rows[:0]]
    for new, image in enumerate(copies):
        parts.append(rows[rows["image_id"] == image])
        parts[-1]["image_id"] = new
    return np.concatenate(parts)


def resampled(truth, found, num_classes, weights):
    """[S, C, 12] of `weighted_numbers.of_class`."""
    scorers = [coco_numbers.matched(truth, found, label) for label in range(num_classes)]
    return np.stack([weighted_numbers.of_class(scorer, weights) for scorer in scorers], axis=1)
