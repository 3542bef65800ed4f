"""The learning rate over a run: linear warm-up, then steps or a cosine, then the cycles of weight averaging."""

import math

import keras
import numpy as np
import tensorflow as tf


@keras.saving.register_keras_serializable(package="gfl_tf")
class LinearWarmup(keras.optimizers.schedules.LearningRateSchedule):
    """Another schedule, times a factor that rises linearly from `factor` to 1 over the first `steps` steps.

    Args:
        schedule: the `LearningRateSchedule` after the warm-up; during it, it runs already.
        steps: length of the warm-up; 0 for none.
        factor: share of the learning rate at step 0.
    """

    def __init__(self, schedule, steps, factor):
        super().__init__()
        if steps < 0 or not 0.0 <= factor <= 1.0:
            raise ValueError(f"warm-up of {steps} steps from factor {factor}: needs steps >= 0 and 0 <= factor <= 1")
        self.schedule = schedule
        self.steps = steps
        self.factor = factor

    def __call__(self, step):
        """The float32 learning rate of the update after `step` updates."""
        done = tf.minimum(tf.cast(step, tf.float32) / max(self.steps, 1), 1.0) if self.steps else 1.0
        return tf.cast(self.schedule(step), tf.float32) * (self.factor + (1.0 - self.factor) * done)

    def get_config(self):
        return {
            "schedule": keras.optimizers.schedules.serialize(self.schedule),
            "steps": self.steps,
            "factor": self.factor,
        }

    @classmethod
    def from_config(cls, config):
        return cls(**{**config, "schedule": keras.optimizers.schedules.deserialize(config["schedule"])})


@keras.saving.register_keras_serializable(package="gfl_tf")
class CyclesAfter(keras.optimizers.schedules.LearningRateSchedule):
    """Another schedule for `start` steps, then cycles that each fall by a half cosine, anew from the peak.

    Step i of N in a cycle has final + (peak - final) * (1 + cos(pi * i / N)) / 2: the final rate would be step N's.

    Args:
        schedule: the `LearningRateSchedule` before the cycles.
        start: number of the first step of the first cycle.
        cycle_steps: N.
        peak: learning rate of each cycle's first step.
        final_factor: final / peak.
    """

    def __init__(self, schedule, start, cycle_steps, peak, final_factor):
        super().__init__()
        self.schedule = schedule
        self.start = start
        self.cycle_steps = cycle_steps
        self.peak = peak
        self.final_factor = final_factor

    def __call__(self, step):
        """The float32 learning rate of the update after `step` updates."""
        since = tf.cast(step, tf.int64) - self.start
        done = tf.cast(since % self.cycle_steps, tf.float32) / self.cycle_steps
        factor = self.final_factor + (1.0 - self.final_factor) * (1.0 + tf.cos(math.pi * done)) / 2.0
        return tf.where(since < 0, tf.cast(self.schedule(step), tf.float32), self.peak * factor)

    def get_config(self):
        return {
            "schedule": keras.optimizers.schedules.serialize(self.schedule),
            "start": self.start,
            "cycle_steps": self.cycle_steps,
            "peak": self.peak,
            "final_factor": self.final_factor,
        }

    @classmethod
    def from_config(cls, config):
        return cls(**{**config, "schedule": keras.optimizers.schedules.deserialize(config["schedule"])})


@keras.saving.register_keras_serializable(package="gfl_tf")
class LoweredFrom(keras.optimizers.schedules.LearningRateSchedule):
    """Another schedule, times `factor` from each of some steps on.

    Args:
        schedule: the `LearningRateSchedule`.
        starts: int64 [N], those steps; a `tf.Variable` where they change.
        factor: what each of them multiplies by.
    """

    def __init__(self, schedule, starts, factor):
        super().__init__()
        self.schedule = schedule
        self.starts = starts
        self.factor = factor

    def __call__(self, step):
        """The float32 learning rate of the update after `step` updates."""
        times = tf.math.count_nonzero(tf.cast(step, tf.int64) >= self.starts, dtype=tf.float32)
        return tf.cast(self.schedule(step), tf.float32) * self.factor**times

    def get_config(self):
        return {
            "schedule": keras.optimizers.schedules.serialize(self.schedule),
            "starts": np.array(self.starts).tolist(),
            "factor": self.factor,
        }

    @classmethod
    def from_config(cls, config):
        return cls(**{**config, "schedule": keras.optimizers.schedules.deserialize(config["schedule"])})


def scaled_learning_rate(train, learning_rate=None):
    """A learning rate meant for `train.base_batch_size` images in a batch, by default `train.learning_rate`, for the
    batch that is used."""
    learning_rate = train.learning_rate if learning_rate is None else learning_rate
    return learning_rate * train.batch_size / train.base_batch_size


def warmup_steps(train, steps_per_epoch):
    """Steps of the warm-up: `train.warmup_steps`, or `train.warmup_share` of `train.epochs` where that is less."""
    return min(train.warmup_steps, int(train.warmup_share * train.epochs * steps_per_epoch))


def build_schedule(train, steps_per_epoch):
    """The schedule that `config.train`, checked, describes, over the number of updates made so far.

    "step" multiplies by `gamma` from the first step of each epoch (counted from 0) in `milestones` on. "cosine" falls
    from the first step to 0 after the last of `epochs`. With `swa_epochs`, `CyclesAfter` those.
    """
    peak = scaled_learning_rate(train)
    if train.schedule == "step":
        decayed = _steps(peak, train.milestones, train.gamma, steps_per_epoch)
    else:
        decayed = keras.optimizers.schedules.CosineDecay(peak, train.epochs * steps_per_epoch)
    schedule = LinearWarmup(decayed, warmup_steps(train, steps_per_epoch), train.warmup_factor)
    if not train.swa_epochs:
        return schedule
    peak = scaled_learning_rate(train, train.swa_learning_rate)
    cycle_steps = train.swa_cycle_epochs * steps_per_epoch
    return CyclesAfter(schedule, train.epochs * steps_per_epoch, cycle_steps, peak, train.swa_final_factor)


def _steps(peak, milestones, gamma, steps_per_epoch):
    # Keras holds a value up to and including its boundary.
    boundaries = [int(epoch * steps_per_epoch) - 1 for epoch in milestones]
    values = [peak * gamma**index for index in range(len(milestones) + 1)]
    if not milestones:
        boundaries, values = [0], [peak, peak]  # Keras's schedule needs a boundary
    return keras.optimizers.schedules.PiecewiseConstantDecay(boundaries, values)
