"""The page about a run's model: what it finds, what it misses, how it was trained."""

import os
import pathlib
import typing

import ml_collections

from gfl_tf.data.coco import CocoDataset
from gfl_tf.evaluation import mistakes, sure_detections
from gfl_tf.evaluation.coco import CocoResult
from gfl_tf.package_versions import versions
from gfl_tf.training import config as configs
from gfl_tf.training import curves, worst_images
from gfl_tf.training.run_dir import RunDirectory
from gfl_tf.visualization import evaluation_page, page_pictures
from gfl_tf.visualization.page_pictures import Wanted

if typing.TYPE_CHECKING:
    from gfl_tf.detectors.detector import Detector

FILE = "index.html"
COUNT = 20  # worst images, and mistakes


class Evaluated(typing.NamedTuple):
    """An evaluation of a run's weights.

    Attributes:
        which: "best" or "last".
        model: with these weights.
        dataset: `CocoDataset`, at least one image.
        result: `CocoResult` of it.
        metrics: what metrics.json has of it.
    """

    which: str
    model: "Detector"
    dataset: CocoDataset
    result: CocoResult
    metrics: dict[str, typing.Any]


def write(
    folder: str | os.PathLike, run: RunDirectory, config: ml_collections.ConfigDict, evaluated: Evaluated | None
) -> pathlib.Path:
    """Writes the page into a folder, made if need be, and returns its path.

    The model runs again on the images that are shown, for the distributions of their edges; not where they were found
    with test-time augmentation.

    Args:
        folder: path.
        run: its directory.
        config: its resolved config, with the size at which it was evaluated.
        evaluated: None: it has no validation data.

    Raises:
        OSError: the page cannot be written.
    """
    folder = pathlib.Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    has_boxes = evaluated is not None and evaluated.dataset.num_boxes > 0
    evaluation_page.write(
        folder / FILE,
        config.name,
        _facts(run, config, evaluated),
        configs.to_json(config),
        curves.read(run),
        _scored(config, evaluated) if has_boxes else None,
    )
    return folder / FILE


def _facts(run, config, evaluated):
    facts = [("run", str(run.path.absolute()))]
    if evaluated is None:
        facts.append(("scores", "none: the run has no validation data"))
    else:
        facts += _facts_of_evaluation(config, evaluated)
    return [*facts, ("versions", ", ".join(f"{name} {version}" for name, version in versions().items()))]


def _facts_of_evaluation(config, evaluated):
    dataset, metrics = evaluated.dataset, evaluated.metrics
    facts = [
        ("weights", evaluated.which),
        ("data", str(dataset.report.source)),
        ("images", f"{len(dataset.images)}, resized to at most {max(config.data.scale)} x {min(config.data.scale)}"),
        ("objects", f"{dataset.num_boxes} of {dataset.num_classes} classes"),
    ]
    if not dataset.num_boxes:
        facts.append(("scores", "none: the data have no box to find"))
    if "tta" in metrics:
        facts.append(("test-time augmentation", str(metrics["tta"])))
    if "settings" in metrics:
        facts.append(("other settings than the run's", str(metrics["settings"])))
    if "edges" in metrics:
        calibrated = metrics["edges"]["calibrated"]
        facts.append(("edges", "calibrated" if calibrated else "as the network states them (see gfl-calibrate)"))
    return facts


def _scored(config, evaluated):
    images = sure_detections.matched_images(evaluated.dataset, evaluated.result.detections)
    worst = [Wanted(image, _mistakes(image)) for image in worst_images.rank(images, COUNT)]
    confident = [
        Wanted(each.image, f"{_name(evaluated, each)}; of the image: {_mistakes(each.image)}", each.row)
        for each in mistakes.most_confident(images, COUNT)
    ]
    model = None if "tta" in evaluated.metrics else evaluated.model
    pictures = page_pictures.make([*worst, *confident], evaluated.dataset, model, config.data.scale)
    return evaluation_page.Scored(
        evaluated.result,
        evaluated.metrics,
        images,
        evaluated.dataset.class_names,
        pictures[: len(worst)],
        pictures[len(worst) :],
        worst_images.DEFINITION,
    )


def _mistakes(image):
    found = worst_images.mistakes(image)
    return f"F1 {found.f1:.2f}; objects: {found.objects}, missed: {found.missed}, false detections: {found.false}"


def _name(evaluated, mistake):
    found = mistake.image.found
    name = evaluated.dataset.class_names[found["classes"][mistake.row]]
    return f"{name} {found['confidence'][mistake.row]:.2f}"
