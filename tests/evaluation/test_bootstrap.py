import numpy as np
import pytest

from gfl_tf.evaluation import bootstrap, weighted_numbers
from tests.evaluation import scenes

pytestmark = pytest.mark.one_stack


def test_draws_are_of_all_images_and_the_same_for_the_same_seed():
    drawn = bootstrap.draws(40, 300, seed=1)
    assert drawn.shape == (300, 40) and (drawn.sum(axis=1) == 40).all()
    assert (drawn == bootstrap.draws(40, 300, seed=1)).all() and (drawn != bootstrap.draws(40, 300, seed=2)).any()
    assert (drawn == 0).mean() == pytest.approx((1 - 1 / 40) ** 40, abs=0.01)


def test_interval_holds_the_middle_of_the_differences():
    other = np.arange(1001) / 1000
    found = bootstrap.difference(0.5, 1.0, np.zeros(1001), other)
    assert found == pytest.approx((0.5, 0.025, 0.975)) and found.is_more_than_chance
    assert not bootstrap.difference(0.5, 0.6, np.full(1001, 0.5), other).is_more_than_chance
    assert bootstrap.difference(0.5, 0.4, np.full(1001, 1.5), other).is_more_than_chance
    unknown = np.where(np.arange(1001) % 2, np.nan, other)
    assert bootstrap.difference(0.5, 1.0, np.zeros(1001), unknown)[1:] == pytest.approx((0.025, 0.975))
    assert bootstrap.difference(np.nan, np.nan, np.zeros(3), np.full(3, np.nan)) is None


def test_identical_detectors_have_the_interval_0_to_0():
    rng = np.random.default_rng(0)
    truth = scenes.objects(rng, 20)
    found = scenes.detections(rng, truth, 20)
    one, other = (scenes.resampled(truth, found.copy(), 3, bootstrap.draws(20, 100, 0)) for _ in range(2))
    found = bootstrap.difference(0.3, 0.3, *(weighted_numbers.of_all(each)[:, 0] for each in (one, other)))
    assert found == (0, 0, 0) and not found.is_more_than_chance


def test_interval_of_95_percent_holds_the_true_difference_about_that_often():
    """Data sets of 40 images are drawn from 160, whose own difference is the true one, and resamples from each."""
    rng = np.random.default_rng(0)
    population, size, trials, resamples = 160, 40, 50, 80
    truth = scenes.objects(rng, population, num_classes=1, per_image=2)
    drawn = rng.integers(0, population, [trials, size])
    resampled = drawn[:, rng.integers(0, size, [resamples, size])].reshape(-1, size)
    weights = np.stack([np.bincount(images, minlength=population) for images in resampled])
    weights = np.concatenate([np.ones([1, population], int), weights])
    first, other = (
        scenes.resampled(truth, scenes.detections(rng, truth, population, noise, num_false=2), 1, weights)[:, 0, 0]
        for noise in (0.1, 0.07)
    )
    pairs = zip(first[1:].reshape(trials, resamples), other[1:].reshape(trials, resamples))
    found = [bootstrap.difference(0, 0, *pair) for pair in pairs]
    holds = np.mean([each.low <= other[0] - first[0] <= each.high for each in found])
    assert 0.8 < holds < 1  # of 0.95 in 50 trials the standard error is 0.03
