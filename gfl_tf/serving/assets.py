"""What an exported model says of itself: JSON files in its folder assets.extra, which TensorFlow leaves alone.

class_names.json   list; `detection_classes` is an index into it
config.json        the resolved config of the run
evaluation.json    the evaluation of these weights; null: they were never evaluated
uncertainty.json   whether the edges' uncertainty is calibrated, and for which levels there are intervals
build.json         what the export was made with: source, versions, time, options
"""

import datetime
import json
import pathlib
import subprocess

from gfl_tf.package_versions import versions

DIRECTORY = "assets.extra"


def write(version_dir, class_names, config, evaluation, options, calibration=None):
    """Writes the five files.

    Args:
        version_dir: folder of the SavedModel.
        class_names: list of str.
        config: dict of plain values, or None.
        evaluation: dict of plain values, or None.
        options: dict of plain values: how this export was asked for.
        calibration: the model's `EdgeCalibration`, or None.
    """
    build = {
        "exported_at": datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "source": source_revision(),
        "versions": versions(),
        "options": options,
    }
    directory = pathlib.Path(version_dir) / DIRECTORY
    directory.mkdir(exist_ok=True)
    uncertainty = {"calibrated": calibration is not None, "levels": list(calibration.levels) if calibration else []}
    contents = {
        "class_names": list(class_names),
        "config": config,
        "evaluation": evaluation,
        "uncertainty": uncertainty,
        "build": build,
    }
    for name, content in contents.items():
        text = json.dumps(content, indent=2, sort_keys=name == "config", ensure_ascii=False)
        (directory / f"{name}.json").write_text(text + "\n", encoding="utf-8")


def source_revision(directory=None):
    """The git revision that a package's source is from.

    Args:
        directory: folder of the package's `__init__.py`; default gfl_tf's.

    Returns:
        {"git_revision": str, "dirty": whether files in the folder differ from it}; both None where git does not know
        the package: no checkout, no git, or an installation that only lies inside the checkout of something else.
    """
    directory = pathlib.Path(directory or pathlib.Path(__file__).parents[1])

    def git(*arguments):
        command = ["git", "-C", str(directory), *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()

    try:
        git("ls-files", "--error-unmatch", "__init__.py")
        return {"git_revision": git("rev-parse", "HEAD"), "dirty": bool(git("status", "--porcelain", "--", "."))}
    except (OSError, subprocess.CalledProcessError):
        return {"git_revision": None, "dirty": None}
