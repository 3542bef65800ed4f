"""Training steps in numbers: lines, the bar, TensorBoard."""

import time

import tensorflow as tf

from gfl_tf.training.progress import StepTimer, duration

# Steps after which a time left can be told.
STEADY_STEPS = 3


class StepReport:
    """Reports on the steps of a run; reads their metrics at logged steps alone.

    Args:
        progress: `Progress`.
        total_steps, steps_per_epoch, batch_size, log_every: of the run.
        schedule: step -> learning rate.
    """

    def __init__(self, progress, total_steps, steps_per_epoch, batch_size, log_every, schedule):
        self._progress = progress
        self._total_steps = total_steps
        self._steps_per_epoch = steps_per_epoch
        self._batch_size = batch_size
        self._log_every = log_every
        self._schedule = schedule
        self._timer = StepTimer()
        self._seconds_per_step = None  # known from the second logged step on: the first one compiles
        self._text = ""

    def step_done(self, step, metrics, data_seconds, other_seconds=0.0, skipped=0):
        """Takes in one step; returns whether metrics are to start anew.

        Args:
            step: steps made, this one included.
            metrics: dict of scalars, means since they last started anew, "loss" among them.
            data_seconds: how long this step waited for its batch.
            other_seconds: what is expected to be still spent beside the steps, in evaluations; None: not known yet.
            skipped: how many of the steps made no update, as their numbers were not finite.
        """
        self._timer.add(data_seconds)
        interval_ends = step % self._log_every == 0 or step == self._total_steps
        is_first = not self._text
        if interval_ends or is_first:
            self._log(step, {name: float(value) for name, value in metrics.items()}, other_seconds, skipped)
            if not is_first:
                self._seconds_per_step = self._timer.seconds_per_step
            self.restart_timer()
        self._progress.draw(step, self._total_steps, f"{self._time_left(step, other_seconds)}  {self._text}")
        return interval_ends

    def restart_timer(self):
        """Leaves what came after the last step out of the times."""
        self._timer.restart()

    def _log(self, step, metrics, other_seconds, skipped):
        seconds, data_seconds = self._timer.seconds_per_step, self._timer.data_seconds_per_step
        learning_rate = float(self._schedule(step - 1))
        images_per_second = self._batch_size / seconds
        losses = {name.removesuffix("_loss"): value for name, value in metrics.items() if name.endswith("_loss")}
        others = {name: value for name, value in metrics.items() if name != "loss" and not name.endswith("_loss")}
        self._text = f"loss {metrics['loss']:.4g} ({_listed(losses)})  lr {learning_rate:.3g}"
        self._progress.say(
            f"step {step}/{self._total_steps}  epoch {step / self._steps_per_epoch:.2f}  {self._text}  "
            f"{_listed(others)}  {images_per_second:.1f} images/s  data wait {data_seconds / seconds:.0%}  "
            f"{self._time_left(step, other_seconds)}" + (f"  {skipped} skipped" if skipped else "")
        )
        scalars = {f"train/{name}": value for name, value in metrics.items()}
        scalars["train/learning_rate"] = learning_rate
        scalars["train/skipped_steps"] = skipped
        scalars["time/step_ms"] = 1000 * (seconds - data_seconds)
        scalars["time/data_wait_ms"] = 1000 * data_seconds
        scalars["time/images_per_second"] = images_per_second
        for name, value in scalars.items():
            tf.summary.scalar(name, value, step=step)

    def _time_left(self, step, other_seconds):
        seconds = self._seconds_per_step
        if seconds is None and self._timer.steps >= STEADY_STEPS:
            seconds = self._timer.seconds_per_step
        if seconds is None:
            return "time left not known yet"
        left = f"{duration((self._total_steps - step) * seconds + (other_seconds or 0.0))} left"
        return left if other_seconds is not None else f"{left}, evaluations not counted"


def _listed(values):
    return ", ".join(f"{name} {value:.4g}" for name, value in values.items())


def timed_next(iterator):
    """(next element, seconds waited for it)."""
    start = time.perf_counter()
    element = next(iterator)
    return element, time.perf_counter() - start
