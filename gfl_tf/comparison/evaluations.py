"""The evaluations that are compared: those that are there, and those that have to be made."""

import collections.abc
import pathlib
import typing

import ml_collections

from gfl_tf import files
from gfl_tf.comparison import names
from gfl_tf.data.coco import CocoDataset
from gfl_tf.training import config as configs
from gfl_tf.training import evaluate_run, provenance, run_data, run_images
from gfl_tf.training.run_dir import RunDirectory


class Evaluation(typing.NamedTuple):
    """One of those that are compared.

    Attributes:
        name: what it is called.
        folder: with metrics.json and detections.json.
        metrics: the content of the former.
        run: of which it is; None: it was given as a folder.
    """

    name: str
    folder: pathlib.Path
    metrics: dict
    run: RunDirectory | None


class _Source(typing.NamedTuple):
    """What may become an `Evaluation`; without metrics, it is yet to be made."""

    path: str
    config: ml_collections.ConfigDict  # whose "val" is the data
    folder: pathlib.Path
    metrics: dict | None
    run: RunDirectory | None


def collect(
    paths: collections.abc.Sequence[str],
    which: str = "best",
    annotations: str | None = None,
    images: str | None = None,
    on_bad_image: str | None = None,
    say: collections.abc.Callable[[str], None] = print,
) -> tuple[CocoDataset, list[Evaluation]]:
    """Evaluates runs, where it was not done before, and finds the data on which they all are evaluated.

    An evaluation in a run directory is taken where its metrics.json tells of the same weights, calibration and data. A
    new one is written there, as gfl-evaluate does.

    Args:
        paths: of run directories, and of folders that gfl-evaluate wrote; see `names.check`.
        which: "best" or "last" weights of the runs.
        annotations, images, on_bad_image: as for `evaluate_run`; of folders they say where their data are now.
        say: told of what is done.

    Raises:
        ValueError, FileNotFoundError: no such run, weights or data, or other data than the first one's; says which.
    """
    sources = [_source(path, which, annotations, images, on_bad_image) for path in paths]
    dataset = configs.load_split(sources[0].config, "val")
    made = []
    for name, source in zip(names.short(paths), _of_same_data(sources, dataset)):
        metrics = source.metrics
        if metrics is None:
            say(f"{source.path} is evaluated on {dataset.report.source}.")
            _, metrics, _ = evaluate_run.evaluate_run(
                source.path,
                which,
                annotations=annotations,
                images=images,
                output=source.folder,
                on_bad_image=on_bad_image,
            )
        elif source.run:
            say(f"{source.path} was evaluated before: {source.folder}")
        made.append(Evaluation(name, source.folder, metrics, source.run))
    return dataset, made


def _source(path, which, annotations, images, on_bad_image):
    if not names.is_run(path):
        return _of_folder(pathlib.Path(path), annotations, images, on_bad_image)
    run = RunDirectory(path)
    config = run.read_config()
    data_name = run_images.choose(config.data, "val", annotations, images, on_bad_image)
    folder = run.evaluation / f"{which}-{data_name}"
    return _Source(path, config, folder, _made_before(folder, run, which), run)


def _made_before(folder, run, which):
    """The metrics of an evaluation of the run's weights as they are, if there is one."""
    if not all((folder / name).is_file() for name in (names.METRICS_FILE, names.DETECTIONS_FILE)):
        return None
    for _, metrics in files.good([folder], _read_metrics):
        is_plain = not {"tta", "settings"} & metrics.keys()
        if is_plain and provenance.of_weights(run, which).items() <= metrics["evaluated"].items():
            return metrics
    return None


def _of_folder(path, annotations, images, on_bad_image):
    metrics = _read_metrics(path)
    config = provenance.config_of(metrics["evaluated"])
    run_images.choose(config.data, "val", annotations, images, on_bad_image)
    return _Source(str(path), config, path, metrics, None)


def _read_metrics(folder):
    """The content of metrics.json; ValueError: it is damaged, or of a version that did not say on which data it is."""
    file = folder / names.METRICS_FILE
    metrics = files.read_json(file)
    try:
        metrics["metrics"]["AP"], metrics["per_class_AP"], metrics["num_images"]
        metrics["evaluated"]["data"], metrics["evaluated"]["config"]
    except (KeyError, TypeError) as error:
        raise ValueError(f"{file} has no {error}, as of an earlier version: gfl-evaluate anew") from error
    return metrics


def _of_same_data(sources, dataset):
    """The sources, with the metrics that are of the data set; refuses those that are evaluated on another."""
    expected = run_data.of_data_set(dataset)
    made, others = [], []
    for source in sources:
        if source.run and source.metrics and _other_data(expected, len(dataset.images), source.metrics):
            source = source._replace(metrics=None)
        if source.metrics:
            differences = _other_data(expected, len(dataset.images), source.metrics)
        elif source is sources[0]:
            differences = []  # the data set is its own
        else:
            differences = _differences(expected, run_data.of_data_set(configs.load_split(source.config, "val")))
        others += [f"  {source.path}: {text}" for text in differences]
        made.append(source)
    if others:
        raise ValueError(
            "\n".join([f"other data than those of {sources[0].path} ({dataset.report.source}):", *others])
            + "\nCompare runs on the same data: --annotations=PATH --images=FOLDER"
        )
    return made


def _other_data(expected, num_images, metrics):
    differences = _differences(expected, metrics["evaluated"]["data"])
    if not differences and metrics["num_images"] != num_images:  # bad images were skipped in one alone
        differences = [f"{metrics['num_images']} images were evaluated, {num_images} can be read"]
    return differences


def _differences(expected, known):
    """What differs in the data, in words."""
    texts = {
        "num_images": "{} images in place of {}",
        "class_names": "{} as classes in place of {}",
        **run_data.HASHED,
    }
    return [texts[name].format(known[name], expected[name]) for name in run_data.differing(expected, known)]
