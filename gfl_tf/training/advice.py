"""What to try next, as far as the evaluations of a run say it."""

import collections.abc
import typing

import ml_collections

from gfl_tf.data.batching import STRIDE

RISEN = 0.01  # AP that the last quarter of the evaluations gained, from which on a longer training is worth a try
FALLEN = 0.02  # AP lost since the best evaluation
BEHIND = 0.5  # of the AP of all: objects and classes below are named
MOST_CLASSES = 3


def advice(
    evaluations: collections.abc.Sequence[dict[str, typing.Any]], config: ml_collections.ConfigDict
) -> list[str]:
    """Sentences.

    Args:
        evaluations: at least one, the contents of the JSON files of a training, by step.
        config: the run's resolved config.
    """
    best = max(evaluations, key=lambda each: (each["metrics"]["AP"], each["step"]))
    if best["metrics"]["AP"] <= 0:
        return ["Nothing was found. Do the boxes of first_batch.jpg lie on the objects? See gfl-check-dataset, too."]
    return [*_of_length(evaluations, best, config), *_of_small_objects(best, config), *_of_classes(best)]


def _of_length(evaluations, best, config):
    last, before = evaluations[-1], evaluations[-1 - len(evaluations) // 4]
    risen, fallen = (last["metrics"]["AP"] - each["metrics"]["AP"] for each in (before, best))
    if best is last and risen > RISEN:
        longer = f"--config.train.epochs={2 * config.train.epochs}"
        return [f"AP rose to the end, by {100 * risen:.1f} since step {before['step']}: train longer, {longer}."]
    if -fallen > FALLEN:
        return [
            f"AP fell by {-100 * fallen:.1f} after step {best['step']}: more images, or stronger augmentation "
            "(docs/augmentation.md)."
        ]
    return []


def _of_small_objects(best, config):
    small = best["metrics"]["APs"]
    if not 0 <= small < BEHIND * best["metrics"]["AP"]:
        return []
    larger = tuple(round(1.5 * side / STRIDE) * STRIDE for side in config.data.scale)
    return [
        f"Objects below 32x32 pixels of the file have an AP of {100 * small:.1f}: train on larger images, "
        f"--config.data.scale={larger}."
    ]


def _of_classes(best):
    scores = {name: score for name, score in best["per_class_AP"].items() if score >= 0}
    weak = sorted((score, name) for name, score in scores.items() if score < BEHIND * best["metrics"]["AP"])
    if not weak:
        return []
    named = ", ".join(f"{name} ({100 * score:.1f})" for score, name in weak[:MOST_CLASSES])
    return [f"The weakest of the {len(scores)} classes that occur: {named}. More images of them help most."]
