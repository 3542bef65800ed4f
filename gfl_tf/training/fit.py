"""The training of a run: set-up, the loop over steps, and what happens between them."""

import contextlib
import dataclasses
import os
import shlex
import signal

import keras
import ml_collections
import tensorflow as tf
from absl import logging

from gfl_tf import compat, files
from gfl_tf.build import build_detector, check_detector
from gfl_tf.checkpoints import weight_file
from gfl_tf.data import augmentations, images, pipeline, service
from gfl_tf.dataset_check.check import summary_lines
from gfl_tf.evaluation.coco import percent
from gfl_tf.training import config as configs
from gfl_tf.training import first_batch, relations, run_data, summary
from gfl_tf.training import run_dir as run_dirs
from gfl_tf.training.averaging import MovingAverage, WeightAverage
from gfl_tf.training.checkpoint import Checkpoints
from gfl_tf.training.optimizers import build_optimizer
from gfl_tf.training.progress import Progress
from gfl_tf.training.report import StepReport, timed_next
from gfl_tf.training.schedule import build_schedule, scaled_learning_rate, warmup_steps
from gfl_tf.training.stop import StopRequest
from gfl_tf.training.strategy import build_strategy, check_batch_size
from gfl_tf.training.validation import Stopped, Validation


@dataclasses.dataclass(frozen=True)
class Outcome:
    """How a training ended.

    Attributes:
        model: the trained model, with the weights of its last step.
        config: the resolved config.
        step, total_steps: steps made and to make.
        best_ap, best_step: of the best evaluation, as `Validation.best` has them.
        stopped_by: number of the signal that stopped it, or None: it is finished.
    """

    model: keras.Model
    config: object
    step: int
    total_steps: int
    best_ap: float | None
    best_step: int | None
    stopped_by: int | None


def train(
    config: ml_collections.ConfigDict | None,
    run_dir: str | os.PathLike,
    strategy: str = "auto",
    data_service: str | None = None,
) -> Outcome:
    """Trains a detector, or goes on with a training that was stopped.

    Args:
        config: ConfigDict; None where the run directory holds a run.
        run_dir: path; what it holds afterwards: see `gfl_tf.training.run_dir`.
        strategy: see `build_strategy`.
        data_service: HOST:PORT of a tf.data service that makes the training batches, see `gfl_tf.data.service`; None:
            this process makes them.

    Returns:
        `Outcome`.

    Raises:
        ValueError, FileNotFoundError: the config, the data or the run directory cannot be used; says how to mend it.
        OSError: a file cannot be written, as where the disk is full.
        DivergedError: the loss, or a number to be saved, is not finite.
    """
    run = run_dirs.RunDirectory(run_dir)
    config = run.read_config() if config is None else config
    strategy = build_strategy(strategy)
    config = configs.complete(config)
    check_detector(config)
    check_batch_size(config.train.batch_size, strategy)
    config, train_data, val_data = configs.load_datasets(config)
    if not run.has_checkpoint():
        relations.check_warmup(config.train, _steps_per_epoch(train_data, config.train))
    remedy = f"Or go on without such images: {_command(run)} --config.data.on_bad_image=skip"
    with run.locked(), contextlib.ExitStack() as opened:
        run.start(config, run_data.describe(config, train_data, val_data))
        progress = opened.enter_context(contextlib.closing(Progress(run.log_file)))
        opened.enter_context(_tensorboard(run.logs))
        stop = opened.enter_context(StopRequest())
        opened.enter_context(images.named_errors(remedy))
        opened.enter_context(service.named_errors(data_service))
        return _Training(config, run, strategy, train_data, val_data, progress, stop, data_service).run()


def _command(run):
    """What goes on with a run."""
    return f"gfl-train --run_dir={shlex.quote(str(run.path))}"


@contextlib.contextmanager
def _tensorboard(folder):
    """Context in which summaries are written to a folder; OSError: they cannot be."""
    try:
        with contextlib.closing(tf.summary.create_file_writer(str(folder))) as writer, writer.as_default():
            yield
    except tf.errors.OpError as error:
        if "tfevents" not in error.message:
            raise
        raise OSError(f"{folder} cannot be written: {error.message.splitlines()[0]}") from error


def _steps_per_epoch(train_data, train):
    return max(pipeline.steps_per_epoch(train_data, train.batch_size), train.min_steps_per_epoch)


class _Training:
    """One run in the making; `run` once."""

    def __init__(self, config, run, strategy, train_data, val_data, progress, stop, data_service=None):
        self._config = config
        self._run = run
        self._strategy = strategy
        self._train_data = train_data
        self._progress = progress
        self._stop = stop
        self._data_service = data_service
        train = config.train
        self._steps_per_epoch = _steps_per_epoch(train_data, train)
        # Weight averaging goes on from the last weights, as VarifocalNet's section 5.3 has it, and their momentum. Its
        # code begins with the best checkpoint and no momentum: the result would then depend on the validation data,
        # and a momentum of 0.9 is forgotten after some tens of steps.
        self._main_steps = train.epochs * self._steps_per_epoch
        self._cycle_steps = train.swa_cycle_epochs * self._steps_per_epoch
        self._num_cycles = train.swa_epochs // train.swa_cycle_epochs
        self._total_steps = self._main_steps + self._num_cycles * self._cycle_steps
        schedule = build_schedule(train, self._steps_per_epoch)
        keras.utils.set_random_seed(config.seed)
        with strategy.scope():
            self._model = build_detector(config, load_weights=not run.has_checkpoint(), say=progress.say)
            optimizer = build_optimizer(train, schedule, self._model, config.precision)
            self._model.compile(optimizer=optimizer)
            variables = weight_file.named_variables(self._model)
            self._average = None
            if train.swa_epochs:
                self._average = WeightAverage(self._model, variables, strategy)
            elif train.ema_momentum:
                self._average = MovingAverage(self._model, variables, train.ema_momentum)
            self._checkpoints = Checkpoints(
                self._model, variables, run.checkpoints, train.keep_checkpoints, self._average
            )
            restored = self._checkpoints.restore_latest()
        if restored is None and run.has_checkpoint():
            raise ValueError(f"none of the checkpoints in {run.checkpoints} can be read. {run.left()}")
        self._report = StepReport(
            progress, self._total_steps, self._steps_per_epoch, train.batch_size, train.log_every, schedule
        )
        # The context in which the model has the weights that are evaluated and kept.
        self._averaged = self._average.applied if self._average else contextlib.nullcontext
        self._val_data = val_data
        if restored is not None:
            self._mend_weights()
        self._validation = None
        if val_data is not None:
            start_step = restored or 0
            self._validation = Validation(
                self._model, val_data, config, run, progress, stop, self._averaged, start_step
            )

    def _mend_weights(self):
        """The weights' files become those of the checkpoint that was restored: a training killed after it left others.

        The best ones are not in it: where they are damaged, those of the next evaluation take their place.
        """
        expected = run_dirs.WEIGHTS if self._val_data is None or self._run.has_evaluation() else ["last"]
        paths = {which: self._run.weights_file(which) for which in expected}
        whole = dict(files.good(paths.values(), weight_file.read))
        self._save_weights()
        if self._val_data is not None and "best" in paths and paths["best"] not in whole:
            logging.warning("%s is taken anew from the next evaluation.", paths["best"])
            self._run.lose_evaluations()

    def run(self):
        """Trains to the end, or to where it is stopped."""
        step = int(self._model.optimizer.iterations.numpy())
        self._introduce(step)
        step = self._steps(step)
        best_ap, best_step = self._validation.best() if self._validation else (None, None)
        finished = self._is_done(step) and not self._stop.signal
        if finished:
            best = "not evaluated" if best_ap is None else f"best AP {percent(best_ap)} at step {best_step}"
            if step < self._total_steps:
                patience = self._config.train.patience
                self._progress.say(f"It ends here: the last {patience} evaluations were not the best.")
            report = summary.text(self._run, self._config, step)
            run_dirs.write_whole(self._run.report_file, report)
            self._progress.say(
                f"{report}\nFinished {step} steps, {best}. Everything lies in {self._run.path}, this report too."
            )
        else:
            self._progress.say(
                f"Stopped at step {step} of {self._total_steps} by {signal.Signals(self._stop.signal).name}; saved in "
                f"{self._run.path}. Go on with: {_command(self._run)}"
            )
        stopped_by = None if finished else self._stop.signal
        return Outcome(self._model, self._config, step, self._total_steps, best_ap, best_step, stopped_by)

    def _steps(self, step):
        """From `step` on; returns the step reached."""
        train_step = self._distributed_step()
        batches, first_step, saved_step = None, step, None
        while not self._stop.signal:
            if self._evaluates_at(step) and not self._validation.is_done(step) and not self._evaluate(step):
                break
            if self._is_done(step):
                break
            if batches is None:
                batches = self._batches(step, self._config.data.cache)
                self._report.restart_timer()
            try:
                batch, data_seconds = timed_next(batches)
            except (tf.errors.OpError, ValueError):  # a bad image or a data service that fails: the run can go on
                if step not in (first_step, saved_step):
                    self._save()
                raise
            if step == 0 or not self._run.first_batch_file.exists():
                self._draw_first_batch(batch)
            metrics = train_step(batch)
            step += 1
            if self._report.step_done(step, metrics, data_seconds, self._evaluation_seconds_left(step)):
                self._model.reset_metrics()
            if self._ends_cycle(step):
                self._end_cycle(step)
            if self._is_due(step, self._config.train.checkpoint_every):
                self._save()
                saved_step = step
        if step not in (first_step, saved_step):
            self._save()
        return step

    def _distributed_step(self):
        iterations = compat.tf_variable(self._model.optimizer.iterations)
        moving_average = self._average if isinstance(self._average, MovingAverage) else None

        @tf.function(autograph=False)  # converting the model's Python takes longer than tracing it, and is not needed
        def train_step(batch):
            before = tf.identity(iterations)
            metrics = self._strategy.run(self._model.train_step, args=(batch,))
            if moving_average:
                moving_average.update(before, iterations)
            # Keras metrics are the mean over replicas on each of them.
            return {name: self._strategy.experimental_local_results(value)[0] for name, value in metrics.items()}

        return train_step

    def _batches(self, step, cache):
        data = self._config.data
        batches = pipeline.training_batches(
            self._train_data,
            self._config.train.batch_size,
            scale=data.scale,
            short_side_range=data.short_side_range or None,
            long_side_range=data.long_side_range or None,
            num_sides=data.num_sides,
            augmentations=augmentations.from_config(data.augmentations, "config.data.augmentations"),
            pad_value=self._model.pad_value,
            bounding_box_format=self._model.bounding_box_format,
            seed=self._config.seed,
            start_step=step,
            mixing_until=int(data.mixing_until * self._main_steps),
            cache=cache and not self._data_service,
            data_service=self._data_service,
            end_step=self._total_steps,
        )
        batches = iter(self._strategy.experimental_distribute_dataset(batches))
        return service.watched(batches, self._data_service) if self._data_service else batches

    def _draw_first_batch(self, batch):
        whole = tf.nest.map_structure(lambda part: tf.concat(self._strategy.experimental_local_results(part), 0), batch)
        picture = first_batch.draw(whole, self._model.bounding_box_format, self._config.data.class_names)
        first_batch.write(self._run.first_batch_file, picture)
        self._progress.say(f"images and boxes as the model gets them: {self._run.first_batch_file}")
        self._report.restart_timer()

    def _is_done(self, step):
        return step == self._total_steps or self._lost_patience()

    def _lost_patience(self):
        """Whether as many evaluations as `train.patience` went by since the best one."""
        patience = self._config.train.patience
        return bool(patience and self._validation and self._validation.since_best() >= patience)

    def _is_due(self, step, epochs):
        return step % (epochs * self._steps_per_epoch) == 0 or step in (self._main_steps, self._total_steps)

    def _ends_cycle(self, step):
        since = step - self._main_steps
        return since > 0 and since % self._cycle_steps == 0

    def _end_cycle(self, step):
        self._check_finite()
        num_batches = min(self._config.train.swa_bn_batches, self._steps_per_epoch)
        # The same batches each time, so that a training that goes on after a stop measures as it would have without;
        # those of the first cycle, as earlier ones can mix images.
        self._average.end_cycle(lambda: self._batches(self._main_steps, cache=False), num_batches)
        self._progress.say(f"weights averaged at step {step}: {self._average.count} of {self._num_cycles}")
        self._report.restart_timer()

    def _evaluates_at(self, step):
        """Whether there is an evaluation after `step` steps; during weight averaging only where the average changed."""
        if self._validation is None or step == 0:
            return False
        is_new = step <= self._main_steps or self._ends_cycle(step)
        return is_new and self._is_due(step, self._config.train.evaluate_every)

    def _evaluate(self, step):
        """Returns whether the evaluation came to its end."""
        self._check_finite()
        try:
            self._validation.evaluate(step)
        except Stopped:
            return False
        self._report.restart_timer()
        return True

    def _evaluation_seconds_left(self, step):
        """None: no evaluation has shown yet how long they take."""
        next_epoch_ends = range(step - step % self._steps_per_epoch, self._total_steps + 1, self._steps_per_epoch)[1:]
        evaluations = sum(self._evaluates_at(end) for end in next_epoch_ends)
        if not evaluations:
            return 0.0
        return self._validation.seconds * evaluations or None

    def _check_finite(self):
        """Raises DivergedError; before anything is made of the weights that is kept."""
        self._report.check_finite()
        self._checkpoints.check_finite()

    def _save(self):
        self._report.check_finite()
        self._checkpoints.save()
        self._save_weights()
        self._report.restart_timer()

    def _save_weights(self):
        with self._averaged():
            for which in run_dirs.WEIGHTS if self._val_data is None else ["last"]:
                self._run.save_weights(self._model, which)

    def _introduce(self, step):
        scale = self._config.data.scale
        if self._data_service:
            uncached = "; config.data.cache has no effect" if self._config.data.cache else ""
            self._progress.say(f"batches come from the tf.data service at {self._data_service}{uncached}")
        if not step:
            self._progress.say("\n".join(summary_lines(self._train_data, scale)))
        train, replicas = self._config.train, self._strategy.num_replicas_in_sync
        kind = "GPU" if tf.config.list_logical_devices("GPU") else "CPU"
        classes = self._config.data.class_names
        epochs = f"{train.epochs} + {train.swa_epochs}" if train.swa_epochs else train.epochs
        warm_up = warmup_steps(train, self._steps_per_epoch)
        listed = ", ".join(classes[:8]) + (", ..." if len(classes) > 8 else "")
        self._progress.say(
            f"{self._config.name}: {len(self._train_data.images)} training images, {len(classes)} classes ({listed})\n"
            f"images resized to at most {max(scale)} x {min(scale)} pixels\n"
            f"{self._total_steps} steps: {epochs} epochs of {self._steps_per_epoch}, batch {train.batch_size} "
            f"on {replicas} {kind} {'device' if replicas == 1 else 'devices'}, {self._config.precision}\n"
            f"learning rate {scaled_learning_rate(train):.4g} = {train.learning_rate:.4g} x {train.batch_size} / "
            f"{train.base_batch_size} (batch / base_batch_size), after a warm-up of {warm_up} steps\n"
            + (self._about_averaging() if train.swa_epochs else "")
            + (f"Going on from step {step}." if step else "The first step of each image size takes long: it compiles.")
        )

    def _about_averaging(self):
        train = self._config.train
        peak = scaled_learning_rate(train, train.swa_learning_rate)
        return (
            f"weight averaging in the last {train.swa_epochs} epochs: {self._num_cycles} times a learning rate from "
            f"{peak:.4g} to {train.swa_final_factor * peak:.4g}\n"
        )
