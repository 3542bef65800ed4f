"""The report of a finished run: how good it is, where its weights lie, which commands follow."""

import shlex

import ml_collections

from gfl_tf import files
from gfl_tf.evaluation.coco import CocoResult
from gfl_tf.training import divergence, worst_images
from gfl_tf.training.advice import advice
from gfl_tf.training.run_dir import RunDirectory


def write(run: RunDirectory, config: ml_collections.ConfigDict, step: int) -> str:
    """Writes `text` into the run directory, and returns it."""
    report = text(run, config, step)
    files.write(run.report_file, report, synced=True)
    return report


def text(run: RunDirectory, config: ml_collections.ConfigDict, step: int) -> str:
    """The report as Markdown.

    Args:
        run: its directory.
        config: its resolved config.
        step: how many steps were made.
    """
    best = run.evaluation_of("best")
    best_step = step if best is None else best.get("step", step)
    parts = [
        f"# {config.name}",
        f"{step} steps, in {run.path}.",
        *(["The weights were not evaluated."] if best is None else _scores(best)),
        "## Weights",
        f"- best, of step {best_step}: {run.weights_file('best')}\n- last, of step {step}: {run.weights_file('last')}",
        *_page(run, config),
        "## What next",
        "\n".join(f"    {command}" for command in _commands(run, config)),
        *_advice(run, config),
        *_worst(run, best_step),
        *_diverged(run),
    ]
    return "\n\n".join(parts) + "\n"


def _scores(evaluation):
    result = CocoResult(evaluation["metrics"], evaluation["per_class_AP"], [], evaluation["num_images"])
    return [
        "## Scores",
        f"Of the best weights, in percent, on {result.num_images} images ({evaluation['file']}).",
        result.table(),
    ]


def _page(run, config):
    if not config.train.report_page:
        return []
    return [f"A page with curves, mistakes and pictures, which a browser opens: {run.report_page}"]


def _diverged(run):
    steps = divergence.read_steps(run.diverged_steps)
    if not steps:
        return []
    skipped = sum(each["did"] == "skip" for each in steps)
    about = f"{skipped} steps were skipped, and {len(steps) - skipped} times the run went back to a checkpoint."
    return ["## Steps whose numbers were not finite", about, "\n".join(f"- {each['what']}" for each in steps)]


def _advice(run, config):
    evaluations = list(run.evaluations().values())
    lines = advice(evaluations, config) if evaluations else []
    return ["\n".join(f"- {line}" for line in lines)] if lines else []


def _commands(run, config):
    run_dir = f"--run_dir={shlex.quote(str(run.path))}"
    images = shlex.quote(config.data.val_images or config.data.train_images or "FOLDER")  # YOLO's say it themselves
    return [
        f"gfl-predict {run_dir} --images={images} --output={shlex.quote(str(run.path / 'predictions'))}",
        f"gfl-evaluate {run_dir} --tta",
        f"gfl-export {run_dir}",
        f"tensorboard --logdir={shlex.quote(str(run.logs))}",
    ]


def _worst(run, best_step):
    stored = files.read_good(run.worst_images_file, files.read_json)
    if not stored or stored["step"] != best_step or not stored["images"]:
        return []
    lines = ["| F1 | objects | missed | false | image |", "| ---: | ---: | ---: | ---: | --- |"]
    for image in stored["images"]:
        numbers = " | ".join(str(image[name]) for name in ("objects", "missed", "false"))
        lines.append(f"| {image['f1']:.2f} | {numbers} | {image['file']} |")
    return ["## Validation images with the most mistakes", worst_images.DEFINITION, "\n".join(lines)]
