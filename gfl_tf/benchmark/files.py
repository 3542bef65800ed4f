"""What a benchmark leaves in its folder: benchmark.json, index.html and the limit's plot."""

import collections.abc
import json
import os
import pathlib
import platform
import time
import typing

import tensorflow as tf

from gfl_tf import files, package_versions
from gfl_tf.benchmark import diagrams, text
from gfl_tf.benchmark.bench import Bench
from gfl_tf.benchmark.items import ITEMS
from gfl_tf.benchmark.results import Result
from gfl_tf.visualization import diagrams as drawing
from gfl_tf.visualization import pages

JSON, PAGE = "benchmark.json", "index.html"
DRIFT = "What the machine's 3x3 convolution reached, round by round"


def about() -> dict[str, typing.Any]:
    """Where and when: plain values."""
    gpus = [device.name for device in tf.config.list_physical_devices("GPU")]
    return {
        "date": time.strftime("%Y-%m-%d %H:%M %Z"),
        "processor": _processor(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "gpus": gpus,
        "load": list(os.getloadavg()),  # with that of the benchmark itself
        "versions": package_versions.versions(),
    }


def write(output: str | os.PathLike, bench: Bench, results: dict[str, Result], machine: dict[str, typing.Any]) -> None:
    """Writes the files into a folder that is there.

    Args:
        output: the folder.
        bench: with the limits of all rounds.
        results: {item: `Result`}.
        machine: `about` of the start.

    Raises:
        OSError: a file cannot be written.
    """
    output = pathlib.Path(output)
    content = {
        **machine,
        "detectors": [artifact.name for artifact in bench.detectors],
        "settings": vars(bench.settings),
        "items": {name: {"title": ITEMS[name], **result.content()} for name, result in results.items()},
        "limits": [each._asdict() for each in bench.drift],
    }
    files.write(output / JSON, json.dumps(content, indent=1) + "\n")
    pages.write(
        output / PAGE,
        "benchmark.html",
        title="Benchmark",
        about=_sentence(machine),
        legend=text.LEGEND,
        drift=text.drift(bench.drift).splitlines(),
        drift_figure=_figures([(DRIFT, diagrams.drift(bench.drift))] if bench.drift else []),
        unmet=text.unmet(results),
        items=[
            (ITEMS[name], text.rows(result), result.missing, _figures(result.diagrams))
            for name, result in results.items()
        ],
    )


def _figures(drawn: collections.abc.Iterable):
    return [(caption, drawing.svg(draw, caption)) for caption, draw in drawn]


def _sentence(machine):
    versions = machine["versions"]
    gpus = ", ".join(machine["gpus"]) or "no GPU"
    return (
        f"{machine['date']}, {machine['processor']}, {machine['cores']} cores, {gpus}; TensorFlow "
        f"{versions['tensorflow']}, Keras {versions['keras']}, gfl_tf {versions['gfl_tf']}. The load was "
        f"{machine['load'][0]:.1f} when it began."
    )


def _processor():
    """Its name, where Linux tells."""
    try:
        lines = pathlib.Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()
