"""Evaluations during a run: COCO numbers, sample pictures, the best weights."""

import json
import time

import numpy as np
import tensorflow as tf

from gfl_tf import compat, detections, files
from gfl_tf.data import pipeline
from gfl_tf.evaluation import coco
from gfl_tf.training import cluster, worst_images
from gfl_tf.training.progress import Countdown
from gfl_tf.visualization.detections import draw_detections, legible

# Less sure detections are not drawn.
SAMPLE_SCORE = 0.3


class Stopped(Exception):
    """An evaluation was broken off by a `StopRequest`."""


class Validation:
    """Evaluates a model in training, on demand.

    Which steps were evaluated, and the best AP, is what lies in the run directory's evaluation folder at the start: an
    evaluation that was cut off is so done again. Those of steps that the training makes again are done again, too.

    Args:
        model: compiled detector.
        dataset: `CocoDataset`.
        config: a run's resolved config.
        run: `RunDirectory`.
        progress: `Progress`.
        stop: `AgreedStop`, looked at after each batch.
        averaged: function that returns the context in which the model has the weights to evaluate and keep.
        start_step: the training goes on from; None: from the last evaluation or later.
        workers: `Workers`. Each finds the objects of its share of the images; the first one scores them, and alone
            writes.
    """

    def __init__(self, model, dataset, config, run, progress, stop, averaged, start_step=None, workers=None):
        self._workers = workers or cluster.Workers()
        stored = run.evaluations().values() if self._workers.is_first else ()
        self._scores = self._workers.of_first({each["step"]: each["metrics"]["AP"] for each in stored})
        self._done = {step for step in self._scores if start_step is None or step <= start_step}
        self.seconds = 0.0  # that the last evaluation took
        self._countdown = None  # of the evaluation that goes on
        self._model = model
        self._dataset = dataset
        self._config = config
        self._run = run
        self._progress = progress
        self._stop = stop
        self._averaged = averaged
        alone = self._workers.count == 1
        self._detect = coco.detect_function(model) if alone else cluster.detect_function(model, workers.strategy)
        self._batches = pipeline.evaluation_batches(
            dataset,
            config.train.evaluation_batch_size,
            scale=config.data.scale,
            pad_value=model.pad_value,
            cache=config.data.cache,
            share=(self._workers.index, self._workers.count),
        )
        # The same on all workers: some have one batch more.
        self._fewest_batches = min(self._workers.gather(int(self._batches.cardinality())))
        self._batches_done = 0
        if not dataset.num_boxes:
            progress.say(
                f"{dataset.report.source} has no box to find: there is no AP, and the best weights are the newest."
            )

    def go_back(self, step):
        """The training goes on from an earlier step: evaluations of later ones are done again."""
        self._done = {each for each in self._done if each <= step}

    def is_done(self, step):
        return step in self._done

    def best(self):
        """(AP, step) of the best evaluation, the last of equals; (None, None) before the first.

        An AP of -1: there is no box to find.
        """
        return max(((score, step) for step, score in self._scores.items()), default=(None, None))

    def since_best(self):
        """How many evaluations were made after the best one."""
        _, best_step = self.best()
        return sum(step > best_step for step in self._done)

    def evaluate(self, step):
        """Evaluates, reports, and keeps the weights if they are the best so far. Raises Stopped."""
        start = time.perf_counter()
        self._countdown, self._batches_done = Countdown(), 0
        is_first = self._workers.is_first
        with self._averaged():
            if self._workers.count > 1:
                compat.share_statistics(self._model)
            result = self._result()
            ap = self._workers.of_first(result and result.metrics["AP"])
            self._scores.pop(step, None)  # of before the training went back
            best_ap, _ = self.best()
            is_best = best_ap is None or ap >= best_ap
            if is_first:
                self._draw_samples(step)
            if is_best:
                self._run.save_weights(self._model, "best", writes=is_first)
        # After the weights: best.npz is never older than what is written here.
        if is_first:
            self._write(step, result, is_best)
            self.seconds = time.perf_counter() - start
        self._scores[step] = ap
        self._done.add(step)

    def _result(self):
        """`CocoResult` of all workers' detections, each of its share of the images; None but on the first."""
        evaluator = coco.collect(self._model, self._dataset, self._batches, self._detect, self._on_batch)
        _, *others = self._workers.gather(evaluator.found)
        if not self._workers.is_first:
            return None
        for found in others:
            evaluator.merge(found)
        return evaluator.result()

    def _write(self, step, result, is_best):
        if is_best:
            worst = {"step": step, "images": worst_images.find(self._dataset, result.detections)}
            files.write(self._run.worst_images_file, json.dumps(worst, indent=2) + "\n", synced=True)
        file = self._run.evaluation / f"step-{step:08d}.json"
        files.write(file, json.dumps({"step": step, **result.to_dict()}, indent=2) + "\n", synced=True)
        for name, value in result.metrics.items():
            if value >= 0:  # there is such an object
                tf.summary.scalar(f"evaluation/{name}", value, step=step)
        numbers = "  ".join(f"{name} {coco.percent(result.metrics[name])}" for name in ("AP", "AP50", "AP75"))
        best = " (best so far)" if is_best and self._dataset.num_boxes else ""
        self._progress.say(f"evaluation at step {step}: {numbers}{best}")

    def _on_batch(self, done, total):
        self._progress.draw(done, total, f"images evaluated  {self._countdown.left(done, total)}")
        self._batches_done += 1
        if self._batches_done <= self._fewest_batches and self._stop.look(self._batches_done):
            raise Stopped

    def _draw_samples(self, step):
        count = self._config.train.sample_images
        if not count:
            return
        images, _ = next(iter(self._batches))
        of_batch = self._detect(images)
        pictures = []
        for index, image in enumerate(np.uint8(images[:count])):
            found = detections.of_image(of_batch, index)
            sure = detections.select(found, found["confidence"] >= SAMPLE_SCORE)
            pictures.append(draw_detections(image, sure, self._config.data.class_names, enlarge=legible(image)))
        tf.summary.image("detections", tf.stack(pictures), step=step, max_outputs=count)
