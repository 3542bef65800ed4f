"""Learning rates against values computed by hand."""

import keras
import ml_collections
import numpy as np
import pytest
import tensorflow as tf

from gfl_tf.training import schedule as schedules
from gfl_tf.training.config import default_train


def _train(**fields):
    train = default_train()
    train.update(ml_collections.ConfigDict(fields))
    return train


def _rates(schedule, steps):
    return [float(schedule(tf.constant(step, tf.int64))) for step in steps]


def test_warmup_and_steps():
    train = _train(learning_rate=0.02, batch_size=8, warmup_steps=4, warmup_factor=0.1, milestones=(2, 3))
    schedule = schedules.build_schedule(train, steps_per_epoch=5)
    # Batch 8 of 16: half of 0.02. Milestones at the first steps of epochs 2 and 3, that is steps 10 and 15.
    table = {0: 0.001, 1: 0.00325, 2: 0.0055, 3: 0.00775, 4: 0.01, 9: 0.01, 10: 0.001, 14: 0.001, 15: 1e-4, 99: 1e-4}
    np.testing.assert_allclose(_rates(schedule, table), list(table.values()), rtol=1e-6)


def test_warmup_is_at_most_its_share():
    train = _train(epochs=4, warmup_steps=500, warmup_share=0.1)
    assert schedules.warmup_steps(train, steps_per_epoch=30) == 12
    assert schedules.warmup_steps(train, steps_per_epoch=3000) == 500
    rates = _rates(schedules.build_schedule(train, steps_per_epoch=30), [0, 6, 12])
    np.testing.assert_allclose(rates, [1e-5, 0.005005, 0.01], rtol=1e-4)


def test_a_rate_that_is_lowered():
    starts = tf.Variable(tf.zeros([0], tf.int64), shape=[None])
    schedule = schedules.build_schedule(_train(milestones=(), warmup_steps=2, warmup_factor=0.5), steps_per_epoch=5)
    lowered = schedules.LoweredFrom(schedule, starts, 0.5)
    assert _rates(lowered, range(9)) == _rates(schedule, range(9))
    starts.assign([4, 1, 4])
    again = schedules.LoweredFrom.from_config(lowered.get_config())
    for each in (lowered, again):
        np.testing.assert_allclose(
            _rates(each, [0, 1, 2, 3, 4, 9]), 0.01 * np.array([0.5, 0.375, 0.5, 0.5, 0.125, 0.125])
        )


def test_without_milestones_the_rate_stays():
    schedule = schedules.build_schedule(_train(milestones=(), warmup_steps=0), steps_per_epoch=5)
    np.testing.assert_allclose(_rates(schedule, [0, 1, 60]), 0.01, rtol=1e-6)


def test_cosine():
    train = _train(learning_rate=0.5, base_batch_size=16, schedule="cosine", epochs=4, warmup_steps=0)
    schedule = schedules.build_schedule(train, steps_per_epoch=2)
    expected = [0.5, 0.5 * (1 + np.cos(np.pi / 4)) / 2, 0.25, 0.0]
    np.testing.assert_allclose(_rates(schedule, [0, 2, 4, 8]), expected, atol=1e-7)


def test_cosine_falls_during_the_warmup():
    train = _train(learning_rate=1.0, schedule="cosine", epochs=1, warmup_steps=4, warmup_factor=0.0)
    schedule = schedules.build_schedule(train, steps_per_epoch=4)
    np.testing.assert_allclose(_rates(schedule, [0, 2]), [0.0, 0.25], atol=1e-7)


def test_cycles_after_the_main_schedule():
    averaging = dict(swa_epochs=4, swa_cycle_epochs=2, swa_learning_rate=0.2, swa_final_factor=0.1)
    train = _train(batch_size=8, epochs=3, milestones=(2,), warmup_steps=2, warmup_factor=0.0, **averaging)
    schedule = schedules.build_schedule(train, steps_per_epoch=2)
    # Batch 8 of 16: peak 0.1, final 0.01. Cycles of 4 steps from step 6 on; a half cosine has lost a share of
    # (1 - cos(pi / 4)) / 2 = 0.14645 after a quarter. No warm-up again, and the final rate itself is never reached.
    cycle = [0.1, 0.01 + 0.09 * 0.85355339, 0.055, 0.01 + 0.09 * 0.14644661]
    before = [0.0, 0.0025, 0.005, 0.005, 0.0005, 0.0005]
    np.testing.assert_allclose(_rates(schedule, range(14)), [*before, *cycle, *cycle], rtol=1e-6)


@pytest.mark.parametrize("fields", [{}, {"swa_epochs": 2}])
def test_is_float32_and_serializable(fields):
    train = _train(warmup_steps=10, **fields)
    schedule = schedules.build_schedule(train, steps_per_epoch=7)
    assert schedule(3).dtype == tf.float32
    again = keras.optimizers.schedules.deserialize(keras.optimizers.schedules.serialize(schedule))
    steps = [0, 5, 10, 55, 56, 80, 84, 93]
    assert _rates(again, steps) == _rates(schedule, steps)


def test_a_warm_up_of_impossible_values():
    with pytest.raises(ValueError, match="warm-up of 3 steps from factor 2.0"):
        schedules.LinearWarmup(schedules.build_schedule(_train(), steps_per_epoch=5), steps=3, factor=2.0)
