"""Which images a training batch is made of: the plan of `pipeline.training_batches` once more, without reading them."""

import collections.abc

import numpy as np
import tensorflow as tf

from gfl_tf.data import batching
from gfl_tf.data.augmentations import Augmentations, Operation, Sample
from gfl_tf.data.coco import CocoDataset


def step_images(
    dataset: CocoDataset,
    batch_size: int,
    step: int,
    *,
    seed: int,
    scale: tuple[int, int],
    short_side_range: tuple[int, int] | None = None,
    long_side_range: tuple[int, int] | None = None,
    num_sides: int = 6,
    augmentations: collections.abc.Sequence[Operation] = (),
    mixing_until: int | None = None,
) -> list[list[int]]:
    """For each image of a batch the indices of what it was made of: its own, then those that were mixed in.

    Args:
        step: of the batch, counted from 0.
        Others: as given to `training_batches`, from whose start the batch comes or would come.
    """
    sizes = np.asarray([(record.height, record.width) for record in dataset.images])
    scales = batching.training_scales(scale, short_side_range, long_side_range, num_sides)
    _, batch = next(batching.TrainingPlan(sizes, batch_size, scales, seed=seed).batches(step))
    images = [[int(index)] for index in batch.indices]
    if not any(operation.num_others for operation in augmentations):
        return images

    def read(index):
        """Of the image's size and boxes alone hangs what is drawn, not of its pixels."""
        record = dataset.images[int(index)]
        pixels = tf.zeros([record.height, record.width, 3], tf.uint8)
        return Sample(pixels, tf.constant(record.boxes), tf.constant(record.classes, tf.float32))

    for row, found in enumerate(images):

        def noted(index, found=found):  # called only where the image is mixed in: nothing is a graph here
            found.append(int(index))
            return read(index)

        last_mixed = None if mixing_until is None else mixing_until * batch_size
        augment = Augmentations(augmentations, read=noted, num_images=len(dataset.images), mixing_until=last_mixed)
        number = tf.constant(step * batch_size + row, tf.int64)
        seeds = tf.stack([tf.constant(seed, tf.int64), number])
        augment(*read(found[0]), tf.constant(batch.scale), tf.constant(batch.canvas), seeds)
    return images
