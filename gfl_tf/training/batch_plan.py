"""Which images a run has in which batch, by its config."""

import typing

import ml_collections

from gfl_tf.data import augmentations
from gfl_tf.data.coco import CocoDataset
from gfl_tf.data.step_images import step_images


def arguments(config: ml_collections.ConfigDict, main_steps: int) -> dict[str, typing.Any]:
    """The arguments of `pipeline.training_batches` that decide it.

    Args:
        config: a run's resolved config.
        main_steps: steps of `config.train.epochs`.
    """
    data = config.data
    return {
        "scale": data.scale,
        "short_side_range": data.short_side_range or None,
        "long_side_range": data.long_side_range or None,
        "num_sides": data.num_sides,
        "augmentations": augmentations.from_config(data.augmentations, "config.data.augmentations"),
        "seed": config.seed,
        "mixing_until": int(data.mixing_until * main_steps),
    }


def image_ids(dataset: CocoDataset, config: ml_collections.ConfigDict, main_steps: int, step: int) -> list[str]:
    """Texts with the id of each image in the batch of a step, counted from 1, and of what was mixed into it."""
    images = step_images(dataset, config.train.batch_size, step - 1, **arguments(config, main_steps))
    ids = [[str(dataset.images[index].id) for index in made_of] for made_of in images]
    return [own + (f" with {', '.join(mixed)}" if mixed else "") for own, *mixed in ids]
