"""Weights of images in place of repeated images: the numbers are pycocotools'."""

import numpy as np
import pytest

from gfl_tf.evaluation import coco_numbers, weighted_numbers
from tests.evaluation import scenes

pytestmark = pytest.mark.one_stack

NUM_IMAGES, NUM_CLASSES = 25, 3


def same_as_pycocotools(numbers, truth, found):
    stats, per_class = coco_numbers.score(truth, found, NUM_CLASSES)[:2]
    assert np.nan_to_num(weighted_numbers.of_all(numbers[None])[0], nan=-1) == pytest.approx(stats, abs=1e-12)
    assert np.nan_to_num(numbers[:, 0], nan=-1) == pytest.approx(per_class, abs=1e-12)
    return stats


@pytest.mark.parametrize("seed", range(2))
def test_each_image_once_or_as_often_as_its_weight_says(seed):
    rng = np.random.default_rng(seed)
    truth = scenes.objects(rng, NUM_IMAGES)
    found = scenes.detections(rng, truth, NUM_IMAGES)
    weights = np.concatenate([np.ones([1, NUM_IMAGES], int), rng.integers(0, 4, [2, NUM_IMAGES])])
    made = scenes.resampled(truth, found, NUM_CLASSES, weights)
    for numbers, row in zip(made, weights):
        stats = same_as_pycocotools(numbers, scenes.repeated(truth, row), scenes.repeated(found, row))
        assert 0 < min(stats) and max(stats) < 1, "the scene should say something of all numbers"


def test_equal_scores_of_several_images_keep_the_order_of_these():
    rng = np.random.default_rng(0)
    truth = scenes.objects(rng, NUM_IMAGES)
    found = scenes.detections(rng, truth, NUM_IMAGES)
    found["score"] = found["score"].round(1)
    made = scenes.resampled(truth, found, NUM_CLASSES, np.ones([1, NUM_IMAGES], int))
    same_as_pycocotools(made[0], truth, found)


def test_what_no_drawn_image_has_is_not_known():
    """Class 0 is in images 0 to 9 alone, and nothing of it is large; class 1 is nowhere found."""
    rng = np.random.default_rng(0)
    truth = scenes.objects(rng, NUM_IMAGES)
    truth = truth[(truth["category_id"] != 0) | ((truth["image_id"] < 10) & (truth["area"] < 90**2))]
    found = scenes.detections(rng, truth, NUM_IMAGES)
    found = found[found["category_id"] != 1]
    weights = np.ones([2, NUM_IMAGES], int)
    weights[1, :10] = 0
    made = scenes.resampled(truth, found, NUM_CLASSES, weights)
    for numbers, row in zip(made, weights):
        same_as_pycocotools(numbers, scenes.repeated(truth, row), scenes.repeated(found, row))
    assert np.isnan(made[0, 0, 5]) and np.isnan(made[1, 0]).all() and not made[:, 1].any()


def test_the_chunks_make_no_difference(monkeypatch):
    rng = np.random.default_rng(0)
    truth = scenes.objects(rng, NUM_IMAGES)
    found = scenes.detections(rng, truth, NUM_IMAGES)
    weights = rng.integers(0, 3, [7, NUM_IMAGES])
    made = scenes.resampled(truth, found, NUM_CLASSES, weights)
    monkeypatch.setattr(weighted_numbers, "_CHUNK", 200)
    np.testing.assert_allclose(scenes.resampled(truth, found, NUM_CLASSES, weights), made, atol=1e-14)


def test_thresholds_of_the_recall_are_met_as_pycocotools_meets_them():
    """Where a recall is one of them, the last bit decides."""
    recalls = np.linspace(0, 1, 101)
    counts = np.arange(1, 301)
    values = np.arange(301) / counts[:, None]
    values = values[values <= 1]
    assert (weighted_numbers._at_most(recalls, values) == np.searchsorted(recalls, values, "right")).all()
