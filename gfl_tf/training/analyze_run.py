"""The papers' analyses of a run's model, as pictures, as JSON and as one page."""

import collections.abc
import functools
import json
import os
import pathlib
import typing

from gfl_tf import files
from gfl_tf.data.coco import CocoDataset
from gfl_tf.evaluation import coco, observation
from gfl_tf.evaluation.analyses import NAMES, check_names
from gfl_tf.training import config as configs
from gfl_tf.training import run_dir as run_dirs
from gfl_tf.training import run_images
from gfl_tf.training.analyses import TABLE, Numbers
from gfl_tf.visualization import diagrams, pages

PAGE = "index.html"
NO_EXPORTS = "no exports are named: --exports=saved_models/NAME/VERSION,..."


def analyze_run(
    run_dir: str | os.PathLike,
    output: str | os.PathLike,
    which: str = "best",
    *,
    annotations: str | os.PathLike | None = None,
    images: str | os.PathLike | None = None,
    only: collections.abc.Collection[str] = (),
    exports: collections.abc.Sequence[str] = (),
    measure_exports: collections.abc.Callable[[collections.abc.Sequence[str], CocoDataset], list[dict]] | None = None,
    on_bad_image: str | None = None,
) -> tuple[dict[str, Numbers], dict[str, str]]:
    """Makes the analyses of `gfl_tf.training.analyses.TABLE`, and writes NAME.png and NAME.json of each and index.html.

    Args:
        run_dir: path.
        output: folder, made if need be.
        which: "best" or "last" weights.
        annotations, images: as for `evaluate_run`.
        only: names of `NAMES`; () for all.
        exports: version folders of SavedModels, for "speed_accuracy".
        measure_exports: `gfl_tf.serving.speed_accuracy.measure`, as training knows nothing of serving.
        on_bad_image: "error" or "skip"; default the config's.

    Returns:
        ({name: numbers}, {name: why it was left out}).

    Raises:
        ValueError, FileNotFoundError: no such run, weights, data, export or analysis, or nothing to see; says which.
    """
    check_names(only)
    config = run_dirs.RunDirectory(run_dir).read_config()
    data_name = run_images.choose(config.data, "val", annotations, images, on_bad_image)
    dataset = configs.load_split(config, "val")
    model, _ = run_dirs.load_run(run_dir, which)
    coco.check_classes(model, dataset)
    names = [name for name in NAMES if name in (only or NAMES)]
    left_out = {name: TABLE[name].missing(model) for name in names}
    if not exports and "speed_accuracy" in names:
        left_out["speed_accuracy"] = NO_EXPORTS
    left_out = {name: reason for name, reason in left_out.items() if reason}
    names = [name for name in names if name not in left_out]
    output = pathlib.Path(output)
    output.mkdir(parents=True, exist_ok=True)

    parts = {TABLE[name].part for name in names}
    with run_images.named_errors():
        rows = measure_exports(exports, dataset) if observation.EXPORTS in parts else []
        if parts - {observation.EXPORTS}:
            seen = observation.observe(
                model, dataset, config.train.evaluation_batch_size, config.data.scale, parts - {observation.EXPORTS}
            )
        else:
            seen = observation.Observation(dataset)
    seen.exports = rows
    found = {name: TABLE[name].measure(seen) for name in names}
    counts = f"{len(dataset.images)} images of {data_name} with {dataset.num_boxes} objects"
    lead = f"Run {run_dir}, {which} weights, on {counts}"
    _write(output, lead, found, left_out)
    return found, left_out


def _write(output, lead, found, left_out):
    sections = []
    for name, numbers in found.items():
        analysis = TABLE[name]
        draw = functools.partial(analysis.draw, numbers=numbers)
        # Pixels are the only values that are not plain.
        text = json.dumps(numbers, indent=1, default=lambda pixels: f"in {name}.png")
        files.write(output / f"{name}.json", text + "\n", synced=True)
        diagrams.write_png(output / f"{name}.png", draw, *analysis.size)
        svg = diagrams.svg(draw, analysis.title, *analysis.size)
        sections.append({"name": name, "analysis": analysis, "svg": svg, "tables": _tables(numbers)})
    left_out = {TABLE[name].title: reason for name, reason in left_out.items()}
    pages.write(output / PAGE, "analyses.html", title="Analyses", lead=lead, sections=sections, left_out=left_out)


def scalars(numbers: Numbers) -> dict[str, str]:
    """{what: its value} as text, of the numbers that are neither lists nor dicts."""
    single = {name: value for name, value in numbers.items() if not isinstance(value, list | dict)}
    return {name.replace("_", " "): text(value) for name, value in single.items()}


def _tables(numbers):
    """Tables of text, the header first: of the single numbers, and of the "rows"."""
    tables = []
    found = scalars(numbers)
    if found:
        tables.append([["", ""], *found.items()])
    if "rows" in numbers:
        rows = numbers["rows"]
        tables.append([list(rows[0]), *([text(value) for value in row.values()] for row in rows)])
    return tables


def text(value: typing.Any) -> str:
    """A number as text, with three digits after the point; "-" of None."""
    if value is None:
        return "-"
    return f"{value:.3f}" if isinstance(value, float) else str(value)
