"""What is compared, as the command line names it; without TensorFlow."""

import collections.abc
import pathlib

from gfl_tf import config_files

METRICS_FILE, DETECTIONS_FILE = "metrics.json", "detections.json"  # of a folder that gfl-evaluate wrote


def check(paths: collections.abc.Sequence[str]) -> None:
    """Raises ValueError where there are fewer than two, or one is given twice, or is no run and no evaluation."""
    if len(paths) < 2:
        raise ValueError(
            f"--runs has {', '.join(paths) or 'no run'}, and nothing to compare with: name two runs or more"
        )
    twice = [path for path in paths if paths.count(path) > 1]
    if twice:
        raise ValueError(f"--runs has {twice[0]} twice")
    for path in paths:
        if not is_run(path) and not (pathlib.Path(path) / METRICS_FILE).is_file():
            raise ValueError(
                f"--runs: {path} is neither a run directory, with {config_files.RUN_FILE}, nor a folder that "
                f"gfl-evaluate wrote, with {METRICS_FILE}"
            )


def is_run(path: str) -> bool:
    return (pathlib.Path(path) / config_files.RUN_FILE).is_file()


def short(paths: collections.abc.Sequence[str]) -> list[str]:
    """What the runs are called: the names of their folders; where two are the same, all of their paths."""
    names = [pathlib.Path(path).resolve().name for path in paths]
    return names if len(set(names)) == len(names) else list(paths)
