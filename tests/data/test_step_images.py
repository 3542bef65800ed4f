"""The images of a step: those that are in the batch, told by their colours."""

import numpy as np
import pytest
from PIL import Image

from gfl_tf.data import pipeline
from gfl_tf.data.augmentations import from_config
from gfl_tf.data.batching import TrainingPlan
from gfl_tf.data.coco import load_coco
from gfl_tf.data.step_images import step_images

pytestmark = pytest.mark.one_stack

BATCH_SIZE, MIXING_UNTIL = 3, 3
SIZES = [(64, 64), (48, 64), (64, 40)] * 3


def _dataset(folder):
    """Each image has a colour of its own, and a box."""
    entries, annotations = [], []
    for index, (height, width) in enumerate(SIZES):
        Image.fromarray(np.full([height, width, 3], 20 * (index + 1), np.uint8)).save(folder / f"{index}.png")
        entries.append({"id": index, "file_name": f"{index}.png", "height": height, "width": width})
        annotations.append({"id": index, "image_id": index, "category_id": 1, "bbox": [4, 4, 30, 30]})
    content = {"images": entries, "annotations": annotations, "categories": [{"id": 1, "name": "thing"}]}
    return load_coco(content, folder)


def test_mosaics(tmp_path):
    dataset = _dataset(tmp_path)
    arguments = {
        "scale": (64, 64),
        "augmentations": from_config([{"name": "mosaic", "probability": 0.5, "factor": (1.0, 1.0)}]),
        "seed": 5,
        "mixing_until": MIXING_UNTIL,
    }
    mixed = 0
    batches = pipeline.training_batches(dataset, BATCH_SIZE, start_step=1, **arguments)
    for step, (images, _) in zip(range(1, MIXING_UNTIL + 1), batches):
        made_of = step_images(dataset, BATCH_SIZE, step, **arguments)
        for image, indices in zip(images.numpy(), made_of):
            colours = {20 * (index + 1) for index in indices}
            assert {int(round(value)) for value in np.unique(image)} - {0} == colours
        mixed += sum(len(indices) == 4 for indices in made_of)
    assert 0 < mixed < 2 * BATCH_SIZE and all(len(indices) == 1 for indices in made_of)


def test_without_mixing_nothing_is_made_again(tmp_path):
    dataset = _dataset(tmp_path)
    plan = TrainingPlan(SIZES, BATCH_SIZE, [(64, 64)], seed=5)
    expected = plan.epoch(0)[2].indices
    assert step_images(dataset, BATCH_SIZE, 2, seed=5, scale=(64, 64)) == [[index] for index in expected]
