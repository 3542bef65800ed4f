"""Speed and AP of exported models on the same images (GFL, figure 7; GFLv2, figure 6)."""

import collections.abc
import pathlib
import typing

import numpy as np
import tensorflow as tf

from gfl_tf.data.coco import CocoDataset
from gfl_tf.data.source import ImageSource
from gfl_tf.evaluation import coco
from gfl_tf.serving import agreement, latency, runners

TIMED_IMAGES = 10
REQUESTS = 40  # to each export


def measure(
    paths: collections.abc.Sequence[str], dataset: CocoDataset, requests: int = REQUESTS
) -> list[dict[str, typing.Any]]:
    """Times SavedModels in turn, one image at a time from its encoded bytes, and scores each on all images.

    Args:
        paths: version folders, saved_models/NAME/VERSION.
        dataset: of the exports' classes.
        requests: to each export, after a warm-up.

    Returns, for each path: {"name": NAME/VERSION, "ms": median of a request, "images_per_second", "AP", "AP50",
    "AP75" in 0..1}.

    Raises:
        ValueError: no SavedModel there, one of other classes, or one that fails; says which.
    """
    for path in paths:
        _check(path, dataset)
    source, indices = ImageSource(dataset), np.arange(len(dataset.images))
    if len(indices) > TIMED_IMAGES:
        indices = indices[np.linspace(0, len(indices) - 1, TIMED_IMAGES).astype(int)]
    samples = tf.data.Dataset.from_tensor_slices(indices).enumerate()
    encoded = [sample[-1] for sample in source.read_ahead(samples).as_numpy_iterator()]
    report = latency.benchmark(list(paths), encoded, requests)
    rows = []
    for path in paths:
        timing = report.measurement.timings[path]
        if timing.failures:
            raise ValueError(f"{path} fails: {timing.failures[0]}")
        evaluator, detect = coco.CocoEvaluator(dataset), runners.load(path)
        for record, image in zip(dataset.images, source.images().as_numpy_iterator()):
            evaluator.add(record.id, detect(image))
        metrics = evaluator.result().metrics
        rows.append({
            "name": "/".join(pathlib.Path(path).parts[-2:]),
            "ms": 1000 * timing.percentile(50),
            "images_per_second": timing.images_per_second,
            **{name: metrics[name] for name in ("AP", "AP50", "AP75")},
        })  # fmt: skip
    return rows


def _check(path, dataset):
    if runners.model_file(path).name != "saved_model.pb":
        raise ValueError(f"{path} holds no SavedModel; others are not timed here")
    names = agreement.class_names(path)
    if names is not None and tuple(names) != tuple(dataset.class_names):
        raise ValueError(f"{path} has the classes {', '.join(names)}, the images have {', '.join(dataset.class_names)}")
