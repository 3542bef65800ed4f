"""The training of a run: set-up, the loop over steps, and what happens between them."""

import contextlib
import dataclasses
import functools
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
from gfl_tf.data import images, pipeline, service
from gfl_tf.evaluation.coco import percent
from gfl_tf.training import (
    batch_plan,
    cluster,
    fields,
    final_page,
    finite_step,
    first_batch,
    introduction,
    outputs,
    relations,
    replay,
    run_data,
    summary,
    teacher,
)
from gfl_tf.training import config as configs
from gfl_tf.training import run_dir as run_dirs
from gfl_tf.training.averaging import MovingAverage, WeightAverage
from gfl_tf.training.checkpoint import Checkpoints
from gfl_tf.training.compilation import compile_detector
from gfl_tf.training.divergence import DivergedError, Divergence
from gfl_tf.training.report import StepReport, timed_next
from gfl_tf.training.schedule import LoweredFrom, build_schedule
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
        DivergedError: the loss, a gradient, or a number to be saved, is not finite, and `train.on_divergence` ends the
            training for that.
        WorkerLostError: another worker of the job ended, or is not heard of any more.
    """
    run = run_dirs.RunDirectory(run_dir)
    config = run.read_config() if config is None else config
    strategy = build_strategy(strategy)
    workers = cluster.Workers(strategy)
    if data_service and workers.count > 1:
        raise ValueError("--data_service makes the batches of one worker, and there are several: leave it out")
    with workers.named_errors(f"Start all of them again: {_command(run)}"):
        return _train(config, run, strategy, workers, data_service)


def _train(config, run, strategy, workers, data_service):
    config = configs.complete(config)
    if config.train.deterministic:
        tf.config.experimental.enable_op_determinism()
    check_detector(config)
    check_batch_size(config.train.batch_size, strategy, config.train.micro_batches)
    config, train_data, val_data = configs.load_datasets(config)
    if not run.has_checkpoint():
        relations.check_warmup(config.train, _steps_per_epoch(train_data, config.train))
    remedy = f"Or go on without such images: {_command(run)} --config.data.on_bad_image=skip"
    described = run_data.describe(train_data, val_data, teacher.find(config))
    with contextlib.ExitStack() as opened:
        if workers.is_first:
            opened.enter_context(run.locked())
            run.start(config, described)
            if "val" in fields.held_out(config.data):
                run.list_held_out(val_data)
        progress = opened.enter_context(outputs.opened(run, workers))
        stop = cluster.AgreedStop(opened.enter_context(StopRequest()), workers)
        opened.enter_context(images.named_errors(remedy))
        opened.enter_context(service.named_errors(data_service))
        of_config = configs.fields_of(config, run_dirs.MOVED_FIELDS)
        workers.check_same({f"config.{name}": value for name, value in of_config.items()})
        used = [len(dataset.images) for dataset in (train_data, val_data) if dataset]
        workers.check_same({"the number of images": used, "what the data hold": described})
        return _Training(config, run, strategy, workers, train_data, val_data, progress, stop, data_service).run()


def _command(run):
    """What goes on with a run."""
    return f"gfl-train --run_dir={shlex.quote(str(run.path))}"


def _steps_per_epoch(train_data, train):
    return max(pipeline.steps_per_epoch(train_data, train.batch_size), train.min_steps_per_epoch)


class _Training:
    """One run in the making; `run` once."""

    def __init__(self, config, run, strategy, workers, train_data, val_data, progress, stop, data_service=None):
        self._config = config
        self._run = run
        self._strategy = strategy
        self._workers = workers
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
        self._divergence = Divergence(run, train, progress, workers)
        schedule = build_schedule(train, self._steps_per_epoch)
        schedule = LoweredFrom(schedule, self._divergence.lowered_from, train.go_back_factor)
        keras.utils.set_random_seed(config.seed)
        has_checkpoint = workers.of_first(run.has_checkpoint())
        with strategy.scope():
            self._model = build_detector(config, load_weights=not has_checkpoint, say=progress.say)
            compile_detector(self._model, config, schedule)
            self._variables = variables = weight_file.named_variables(self._model)
            self._average = None
            if train.swa_epochs:
                self._average = WeightAverage(self._model, variables, strategy)
            elif train.ema_momentum:
                self._average = MovingAverage(self._model, variables, train.ema_momentum)
            self._checkpoints = Checkpoints(
                self._model, variables, run.checkpoints, train.keep_checkpoints, self._average, workers
            )
            restored = self._checkpoints.restore_latest()
        if restored is None and has_checkpoint:
            raise ValueError(f"none of the checkpoints in {run.checkpoints} can be read. {run.left()}")
        self._divergence.went_on_from(restored)
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
            self._validation = Validation(
                self._model, val_data, config, run, progress, stop, self._averaged, restored or 0, workers
            )

    def _mend_weights(self):
        """The weights' files become those of the checkpoint that was restored: a training killed after it left others.

        The best ones are not in it: where they are damaged, those of the next evaluation take their place.
        """
        if not self._workers.is_first:
            self._save_weights()
            return
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
        self._workers.check_same({"the checksum of all weights": self._checkpoints.digest()})
        step = self._steps(step)
        best_ap, best_step = self._validation.best() if self._validation else (None, None)
        finished = self._is_done(step) and not self._stop.signal
        if self._workers.is_first:
            self._tell_end(step, finished, best_ap, best_step)
        self._workers.gather(None)  # none ends before the first has written all
        stopped_by = None if finished else self._stop.signal
        return Outcome(self._model, self._config, step, self._total_steps, best_ap, best_step, stopped_by)

    def _tell_end(self, step, finished, best_ap, best_step):
        if finished:
            best = "not evaluated" if best_ap is None else f"best AP {percent(best_ap)} at step {best_step}"
            if step < self._total_steps:
                patience = self._config.train.patience
                self._progress.say(f"It ends here: the last {patience} evaluations were not the best.")
            report = summary.write(self._run, self._config, step)
            self._progress.say(f"{report}\nFinished {step} steps, {best}. Everything lies in {self._run.path}.")
            final_page.write(self._run, self._config, self._val_data, self._progress, self._stop)
        else:
            self._progress.say(
                f"Stopped at step {step} of {self._total_steps} by {signal.Signals(self._stop.signal).name}; saved in "
                f"{self._run.path}. Go on with: {_command(self._run)}"
            )

    def _steps(self, step):
        """From `step` on; returns the step reached."""
        moving_average = self._average if isinstance(self._average, MovingAverage) else None
        train_step = finite_step.build(self._model, self._strategy, moving_average)
        if self._divergence.goes_back and not step:  # somewhere to go back to
            self._save()
        batches, first_step, saved_step = None, step, None
        while not self._stop.look(step):
            try:
                if self._evaluates_at(step) and not self._validation.is_done(step) and not self._evaluate(step):
                    break
                if self._is_done(step):
                    break
                if batches is None:
                    batches = self._batches(step, self._config.data.cache)
                    self._report.restart_timer()
                try:
                    batch, data_seconds = timed_next(batches)
                # A bad image or a data service that fails: the run can go on.
                except (tf.errors.OpError, ValueError):
                    # Of several workers, the others wait for this one to make the step.
                    if step not in (first_step, saved_step) and self._workers.count == 1:
                        self._save()
                    raise
                if self._workers.is_first and (step == 0 or not self._run.first_batch_file.exists()):
                    self._draw_first_batch(batch)
                done = train_step(batch)
                step += 1
                if not done.is_finite:
                    self._leave_out(step, batch, done)
                left, skipped = self._evaluation_seconds_left(step), self._divergence.skipped
                if self._report.step_done(step, done.means, data_seconds, left, skipped):
                    self._model.reset_metrics()
                if self._ends_cycle(step):
                    self._end_cycle(step)
                if self._is_due(step, self._config.train.checkpoint_every):
                    self._save()
                    saved_step = step
            except DivergedError as error:
                batches, step = None, self._go_back(error)
                saved_step = step
        if step not in (first_step, saved_step):
            self._save()
        return step

    def _leave_out(self, step, batch, done):
        """Goes on after a step that made no update, or raises DivergedError."""
        ids = batch_plan.image_ids(self._train_data, self._config, self._main_steps, step)
        found = (*finite_step.read(self._model, self._variables, done), ids)
        if self._workers.is_first:
            replay.keep(self._run.diverged_step, self._model, step, self._whole(batch), *found)
        self._divergence.left_out(step, *found)
        compat.tf_variable(self._model.optimizer.iterations).assign(step)

    def _go_back(self, error):
        """Goes back to the last good checkpoint and returns its step, or raises the DivergedError."""
        self._divergence.check_go_back(error)
        with self._strategy.scope():
            step = self._checkpoints.restore_latest()
        if step is None:
            raise error
        self._divergence.went_back(error, step)
        if self._validation:
            self._validation.go_back(step)
        return step

    def _batches(self, step, cache):
        batches = functools.partial(
            pipeline.training_batches,
            self._train_data,
            self._config.train.batch_size,
            **batch_plan.arguments(self._config, self._main_steps),
            pad_value=self._model.pad_value,
            bounding_box_format=self._model.bounding_box_format,
            start_step=step,
            cache=cache and not self._data_service,
            data_service=self._data_service,
            end_step=self._total_steps,
        )
        batches = iter(self._strategy.distribute_datasets_from_function(lambda own: batches(input_context=own)))
        return service.watched(batches, self._data_service) if self._data_service else batches

    def _whole(self, batch):
        """A distributed batch as one."""
        return tf.nest.map_structure(lambda part: tf.concat(self._strategy.experimental_local_results(part), 0), batch)

    def _draw_first_batch(self, batch):
        picture = first_batch.draw(self._whole(batch), self._model.bounding_box_format, self._config.data.class_names)
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
        self._checkpoints.check_finite()  # before anything is made of the weights that is kept
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
        self._checkpoints.check_finite()
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

    def _save(self):
        self._checkpoints.save()
        self._save_weights()
        self._report.restart_timer()

    def _save_weights(self):
        with self._averaged():
            for which in run_dirs.WEIGHTS if self._val_data is None else ["last"]:
                self._run.save_weights(self._model, which, writes=self._workers.is_first)

    def _introduce(self, step):
        who = self._workers.gather(introduction.host())
        data = self._train_data, self._val_data, self._data_service
        steps = self._steps_per_epoch, self._total_steps
        self._progress.say("\n".join(introduction.lines(self._config, data, steps, self._strategy, who, step)))
